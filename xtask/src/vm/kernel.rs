//! Which kernel to boot: a series (`6.1`, `6.12`, `newest`) from the cache, fetched
//! when it is not there yet, or a path of the person's own.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::fetch;

/// The kernels the project promises to work on.
pub(crate) const MATRIX: &[&str] = &["6.1", "6.12", "newest"];

/// A kernel that can be booted.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// What to call it: series and version, or the path.
    pub(crate) name: String,
    pub(crate) image: PathBuf,
    /// A folder with `lib/modules/<version>` in it.
    pub(super) base: PathBuf,
    version: String,
}

impl Kernel {
    /// The folder of this kernel's modules.
    pub(super) fn module_dir(&self) -> Result<PathBuf> {
        let dir = self.base.join("lib/modules").join(&self.version);
        if !dir.is_dir() {
            bail!("{} has no modules at {}", self.name, dir.display());
        }
        Ok(dir)
    }
}

/// The names that `--kernel` stands for: `all` is the whole matrix.
pub(crate) fn names(choice: &str) -> Vec<String> {
    match choice {
        "all" => MATRIX.iter().map(ToString::to_string).collect(),
        one => vec![one.to_owned()],
    }
}

/// Finds the kernel, and fetches it when `refresh` is set or the cache has none.
pub(crate) fn resolve(name: &str, refresh: bool) -> Result<Kernel> {
    if MATRIX.contains(&name) {
        return from_series(name, refresh);
    }
    let path = Path::new(name);
    if !path.exists() {
        bail!("no kernel {name:?}: give {}, all, or a path to a vmlinuz", MATRIX.join(", "));
    }
    from_path(&fs::canonicalize(path).with_context(|| format!("follow {name}"))?)
}

fn from_series(series: &str, refresh: bool) -> Result<Kernel> {
    let folder = cache()?.join("kernels").join(series);
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    // Two runs at once fetch a kernel once.
    let lock = folder.join("lock");
    let lock = File::create(&lock).with_context(|| format!("create {}", lock.display()))?;
    lock.lock().context("wait for another xtask that fetches this kernel")?;
    let current = folder.join("current");
    let known = fs::read_to_string(&current).ok().filter(|v| folder.join(v).is_dir());
    let version = match known {
        Some(version) if !refresh => version,
        _ => {
            let version = fetch::newest(series, &folder)?;
            fs::write(&current, &version).context("remember the version")?;
            version
        }
    };
    let base = folder.join(&version);
    let image = base.join("vmlinuz");
    let named = if series == "newest" { format!("newest ({version})") } else { version.clone() };
    Ok(Kernel { name: named, image, version: only_entry(&base.join("lib/modules"))?, base })
}

/// The cache: `$AGENTGUARD_CACHE`, else `~/.cache/agentguard`.
fn cache() -> Result<PathBuf> {
    if let Some(dir) = env::var_os("AGENTGUARD_CACHE") {
        return std::path::absolute(&dir).context("make $AGENTGUARD_CACHE absolute");
    }
    let home = env::home_dir().context("no home directory: set AGENTGUARD_CACHE to a folder")?;
    Ok(home.join(".cache/agentguard"))
}

/// `vmlinuz` with the modules beside it, `boot/vmlinuz-V` with `lib/modules/V` in the
/// folder above, or `lib/modules/V/vmlinuz`, as packages of all ages unpack.
fn from_path(path: &Path) -> Result<Kernel> {
    let image = if path.is_dir() { image_in(path)? } else { path.to_path_buf() };
    let file = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let suffix = file.split_once('-').map(|(_, version)| version.to_owned());
    for base in image.ancestors().skip(1) {
        let modules = base.join("lib/modules");
        if !modules.is_dir() {
            continue;
        }
        let inside = image.strip_prefix(&modules).ok().and_then(|rest| rest.components().next());
        let version = match (inside, &suffix) {
            (Some(first), _) => first.as_os_str().to_string_lossy().into_owned(),
            (None, Some(version)) => version.clone(),
            (None, None) => only_entry(&modules)?,
        };
        let name = image.display().to_string();
        let base = base.to_path_buf();
        return Ok(Kernel { name, image: image.clone(), base, version });
    }
    bail!("no lib/modules/<version> beside or above {}", image.display())
}

fn image_in(folder: &Path) -> Result<PathBuf> {
    let places = [folder.to_path_buf(), folder.join("boot")];
    places
        .iter()
        .filter_map(|dir| fs::read_dir(dir).ok())
        .flat_map(|entries| entries.flatten())
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("vmlinuz")))
        .with_context(|| format!("no vmlinuz in {}", folder.display()))
}

fn only_entry(folder: &Path) -> Result<String> {
    let mut entries = fs::read_dir(folder)
        .with_context(|| format!("list {}", folder.display()))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    match (entries.next(), entries.next()) {
        (Some(one), None) => Ok(one),
        _ => bail!("{} should hold the modules of one kernel", folder.display()),
    }
}
