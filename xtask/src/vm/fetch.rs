//! Gets a kernel from Debian, unpacked and not installed, through an apt
//! configuration of our own: the machine's packages, lists and sources stay as they are.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process;
use crate::progress;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// How the folder of a fetch under way is called.
const PARTIAL: &str = "partial-";
const FLAVOUR: &str = "-cloud-amd64";
/// Where to look when the machine itself has no Debian source (Ubuntu, say).
const ARCHIVE: &str = "http://deb.debian.org/debian";
const SECURITY: &str = "http://deb.debian.org/debian-security";

/// Fetches the newest kernel of `series` into `folder/<version>`; returns the version.
pub(super) fn newest(series: &str, folder: &Path) -> Result<String> {
    for tool in ["apt-get", "dpkg-deb", "depmod"] {
        if process::find(tool).is_none() {
            bail!("fetching a kernel needs {tool}; without it, give --kernel a path to a vmlinuz");
        }
    }
    let bar = progress::spinner(&format!("kernel {series}: reading the package lists"));
    // In the same folder, so that the finished kernel moves into place in one step.
    sweep(folder);
    let work = tempfile::Builder::new()
        .prefix(PARTIAL)
        .tempdir_in(folder)
        .context("make a folder to work in")?;
    let apt = Apt::new(work.path(), series)?;
    process::output(apt.command("apt-get").arg("update"))
        .context("read the package lists (is the network there?)")?;
    let names = process::output(apt.command("apt-cache").args(["pkgnames", "linux-"]))?;
    let choice = choose(&names, series)
        .with_context(|| format!("no kernel of series {series} in the package lists"))?;
    let place = folder.join(&choice.version);
    if !place.is_dir() {
        bar.set_message(format!("kernel {series}: fetching {}", choice.version));
        let unpacked = work.path().join("unpacked");
        fs::create_dir(&unpacked).context("make a folder to unpack in")?;
        apt.download(&choice.packages, work.path())?;
        unpack(work.path(), &unpacked)?;
        let ready = arrange(&unpacked, work.path())?;
        fs::rename(&ready, &place).with_context(|| format!("move to {}", place.display()))?;
    }
    bar.finish_and_clear();
    eprintln!("kernel {series}: {}", choice.version);
    Ok(choice.version)
}

/// Removes what a fetch that was killed left; the caller holds the folder's lock.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn new(work: &Path, series: &str) -> Result<Self> {
        for dir in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(work.join(dir)).with_context(|| format!("create {dir}"))?;
        }
        let sources = work.join("sources.list");
        fs::write(&sources, source_list(series)).context("write the sources")?;
        let options = [
            format!("Dir::Etc::SourceList={}", sources.display()),
            "Dir::Etc::SourceParts=-".to_owned(),
            format!("Dir::State::Lists={}", work.join("lists").display()),
            format!("Dir::Cache={}", work.join("cache").display()),
            "APT::Architecture=amd64".to_owned(),
            "APT::Architectures=amd64".to_owned(),
            // The folder need not be one that apt's own user may enter.
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=3".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ];
        Ok(Self { options: options.into_iter().collect() })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).args(self.options.iter().flat_map(|o| ["-o", o]));
        command
    }

    fn download(&self, packages: &[String], to: &Path) -> Result<()> {
        let mut command = self.command("apt-get");
        command.current_dir(to).arg("download").args(packages);
        process::output(&mut command).map(drop).context("fetch the kernel's packages")
    }
}

/// The suites to look in, at the mirror the machine itself uses.
fn source_list(series: &str) -> String {
    let mut own = Command::new("apt-get");
    own.args(["update", "--print-uris"]).stdin(Stdio::null());
    let uris = process::output(&mut own).unwrap_or_default();
    let mirror = |security: bool| mirror_in(&uris, security);
    let archive = mirror(false).unwrap_or(ARCHIVE);
    let security = mirror(true).unwrap_or(SECURITY);
    let suites: &[(&str, &str)] = match series {
        "newest" => &[(archive, "trixie"), (archive, "trixie-backports"), (archive, "sid")],
        _ => &[(archive, "bookworm"), (security, "bookworm-security")],
    };
    suites
        .iter()
        .map(|(uri, suite)| format!("deb [signed-by={KEYRING}] {uri} {suite} main\n"))
        .collect()
}

/// Lines look like `'http://host/debian/dists/bookworm/InRelease' host_debian_… 0`.
fn mirror_in(uris: &str, security: bool) -> Option<&str> {
    uris.lines().find_map(|line| {
        let (uri, rest) = line.trim_start_matches('\'').split_once("/dists/")?;
        let suite = rest.split('/').next()?;
        let wanted = if security { "bookworm-security" } else { "bookworm" };
        (suite == wanted).then_some(uri)
    })
}

/// A version and the packages that make it up.
#[derive(Debug, PartialEq, Eq)]
struct Choice {
    version: String,
    packages: Vec<String>,
}

/// The newest version of the series; a release candidate only when there is nothing else.
fn choose(names: &str, series: &str) -> Option<Choice> {
    let names: Vec<&str> = names.lines().collect();
    let version = names
        .iter()
        .filter_map(|name| version_of(name))
        .filter(|version| series == "newest" || version.starts_with(&format!("{series}.")))
        .max_by_key(|version| (!version.contains("rc"), numbers(version)))?;
    let has = |name: &String| names.contains(&name.as_str());
    let full = format!("{version}{FLAVOUR}");
    // From 6.19 on the image, the modules and the list of built-in ones are packages of
    // their own.
    let split = ["binary", "modules", "base"].map(|part| format!("linux-{part}-{full}"));
    let packages = if split.iter().take(2).all(has) {
        split.into_iter().filter(has).collect()
    } else {
        let unsigned = format!("linux-image-{full}-unsigned");
        vec![if has(&unsigned) { unsigned } else { format!("linux-image-{full}") }]
    };
    Some(Choice { version: version.to_owned(), packages })
}

fn version_of(package: &str) -> Option<&str> {
    let rest = package.strip_prefix("linux-image-").or(package.strip_prefix("linux-binary-"))?;
    let version = rest.strip_suffix("-unsigned").unwrap_or(rest).strip_suffix(FLAVOUR)?;
    version.starts_with(|c: char| c.is_ascii_digit()).then_some(version)
}

fn numbers(version: &str) -> Vec<u32> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

fn unpack(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).context("list the packages")?.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|ext| ext == "deb") {
            process::output(Command::new("dpkg-deb").arg("-x").arg(&path).arg(to))?;
        }
    }
    Ok(())
}

/// Brings both package layouts into one: `vmlinuz` and `lib/modules/<version>`.
fn arrange(unpacked: &Path, work: &Path) -> Result<std::path::PathBuf> {
    let ready = work.join("ready");
    fs::create_dir_all(ready.join("lib")).context("make the kernel's folder")?;
    let modules = ["lib/modules", "usr/lib/modules"]
        .map(|dir| unpacked.join(dir))
        .into_iter()
        .find(|dir| dir.is_dir())
        .context("the kernel's packages hold no modules")?;
    let release = fs::read_dir(&modules)
        .context("list the modules")?
        .flatten()
        .next()
        .context("the kernel's packages hold no modules")?
        .file_name();
    let name = format!("vmlinuz-{}", release.to_string_lossy());
    let image = [unpacked.join("boot").join(name), modules.join(&release).join("vmlinuz")]
        .into_iter()
        .find(|file| file.is_file())
        .context("the kernel's packages hold no image")?;
    fs::rename(&image, ready.join("vmlinuz")).context("take the image")?;
    fs::rename(&modules, ready.join("lib/modules")).context("take the modules")?;
    let depmod = process::find("depmod").context("depmod is missing")?;
    process::output(Command::new(depmod).arg("-b").arg(&ready).arg(&release))?;
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_wins_by_number_not_by_letter() {
        let names = "linux-image-6.1.0-9-cloud-amd64-unsigned\n\
                     linux-image-6.1.0-56-cloud-amd64-unsigned\n\
                     linux-image-6.12.117+deb12-cloud-amd64-unsigned\n";
        let choice = choose(names, "6.1").unwrap();
        assert_eq!(choice.version, "6.1.0-56");
        assert_eq!(choice.packages, ["linux-image-6.1.0-56-cloud-amd64-unsigned"]);
    }

    #[test]
    fn a_release_beats_a_candidate_and_split_packages_are_known() {
        let names = "linux-binary-7.4~rc1-cloud-amd64\n\
                     linux-image-7.3.4+deb13-cloud-amd64\n\
                     linux-binary-7.3.4+deb13-cloud-amd64\n\
                     linux-modules-7.3.4+deb13-cloud-amd64\n\
                     linux-image-cloud-amd64\n";
        let choice = choose(names, "newest").unwrap();
        assert_eq!(choice.version, "7.3.4+deb13");
        assert_eq!(choice.packages.len(), 2);
    }

    #[test]
    fn the_machines_own_mirror_is_used() {
        let uris = "'http://a/debian/dists/bookworm/InRelease' a_debian 0 \n\
                    'http://a/sec/dists/bookworm-security/InRelease' a_sec 0 \n";
        assert_eq!(mirror_in(uris, false), Some("http://a/debian"));
        assert_eq!(mirror_in(uris, true), Some("http://a/sec"));
    }
}
