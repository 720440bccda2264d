//! The VM's file systems: the host's root, read-only, as `/`; writable layers that
//! vanish with the VM where programs expect to write; the kernel's own file systems.
//!
//! `/` stays one plain file system, and few folders are mounts of their own, because
//! that is what a real host looks like to a guard whose rules speak of paths.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot};

use crate::plan::Plan;

const NEW_ROOT: &str = "/new";
/// The same file system once more, for what a fresh `/tmp` or `/run` would hide.
const HOST: &str = "/host";
/// The writable halves of the overlays; out of sight once `/` is switched.
const LAYERS: &str = "/layers";

/// Folders that show the host's content and can be written; the writes vanish.
const OVERLAID: &[&str] = &["etc", "root", "home", "var", "srv", "opt", "mnt", "media"];
/// Folders that start empty, with their modes.
const EMPTY: &[(&str, &str)] = &[("tmp", "1777"), ("run", "0755"), ("run/lock", "1777")];
/// Mounts the kernel offers: type, place, options, and whether the VM needs it.
const KERNEL: &[(&str, &str, &str, bool)] = &[
    ("proc", "proc", "", true),
    ("sysfs", "sys", "", true),
    ("devtmpfs", "dev", "mode=0755", true),
    ("devpts", "dev/pts", "mode=0620,gid=5,ptmxmode=0666", true),
    ("tmpfs", "dev/shm", "mode=1777", true),
    ("mqueue", "dev/mqueue", "", false),
    ("cgroup2", "sys/fs/cgroup", "nsdelegate", true),
    ("bpf", "sys/fs/bpf", "mode=0700", true),
    ("securityfs", "sys/kernel/security", "", false),
    ("debugfs", "sys/kernel/debug", "", false),
    ("tracefs", "sys/kernel/tracing", "", false),
];

/// What the rest of the set-up needs to see devices and modules.
pub(crate) fn early() -> Result<()> {
    for (kind, place) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")] {
        fs::create_dir_all(place).with_context(|| format!("create {place}"))?;
        attach(kind, kind, Path::new(place), MsFlags::empty(), "")?;
    }
    Ok(())
}

/// Mounts everything and makes the host's root `/`.
pub(crate) fn host_root(plan: &Plan) -> Result<()> {
    for place in [NEW_ROOT, HOST, LAYERS] {
        fs::create_dir_all(place).with_context(|| format!("create {place}"))?;
    }
    let root = Path::new(NEW_ROOT);
    attach("host", "virtiofs", root, MsFlags::MS_RDONLY, "")?;
    bind(root, Path::new(HOST))?;
    attach("tmpfs", "tmpfs", Path::new(LAYERS), MsFlags::empty(), "mode=0755")?;
    for name in OVERLAID {
        overlay(root, name)?;
    }
    for (name, mode) in EMPTY {
        let place = root.join(name);
        // What is not on the host is in a folder mounted just before.
        drop(fs::create_dir(&place));
        if place.is_dir() {
            let options = format!("mode={mode}");
            attach("tmpfs", "tmpfs", &place, MsFlags::empty(), &options)?;
        }
    }
    for path in &plan.keep {
        keep(root, Path::new(path))?;
    }
    kernel(root)?;
    if plan.share {
        attach("share", "virtiofs", &root.join("share"), MsFlags::empty(), "")?;
    }
    chdir(root).context("enter the new root")?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .context("move the new root to /")?;
    chroot(".").context("chroot to the new root")?;
    chdir("/").context("enter /")
}

fn kernel(root: &Path) -> Result<()> {
    for (kind, place, options, needed) in KERNEL {
        let place = root.join(place);
        // On /dev the folders must be made; on /proc and /sys they exist or the kernel
        // has no such feature.
        drop(fs::create_dir(&place));
        match attach(kind, kind, &place, MsFlags::MS_NOSUID, options) {
            Err(error) if *needed => return Err(error),
            _ => {}
        }
    }
    for (name, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        symlink(format!("/proc/self/fd{target}"), root.join("dev").join(name))
            .with_context(|| format!("create /dev/{name}"))?;
    }
    Ok(())
}

fn overlay(root: &Path, name: &str) -> Result<()> {
    let lower = root.join(name);
    // A symlink leads to a folder that is handled under its own name.
    if lower.is_symlink() || !lower.is_dir() {
        return Ok(());
    }
    let (upper, work) = (format!("{LAYERS}/{name}"), format!("{LAYERS}/.work-{name}"));
    for dir in [&upper, &work] {
        fs::create_dir(dir).with_context(|| format!("create {dir}"))?;
    }
    // The upper folder's own mode and owner are what the merged folder shows.
    let like = fs::metadata(&lower).with_context(|| format!("look at {}", lower.display()))?;
    fs::set_permissions(&upper, fs::Permissions::from_mode(like.permissions().mode()))
        .with_context(|| format!("set the mode of {upper}"))?;
    let options = format!("lowerdir={},upperdir={upper},workdir={work}", lower.display());
    attach("overlay", "overlay", &lower, MsFlags::empty(), &options)
}

/// Shows a host path again where an empty folder was mounted over its parent.
fn keep(root: &Path, path: &Path) -> Result<()> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    let (from, to) = (Path::new(HOST).join(relative), root.join(relative));
    if to.exists() || !from.exists() {
        return Ok(());
    }
    if from.is_dir() {
        fs::create_dir_all(&to).with_context(|| format!("create {}", to.display()))?;
    } else {
        let parent = to.parent().context("a file has a folder")?;
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        fs::write(&to, "").with_context(|| format!("create {}", to.display()))?;
    }
    bind(&from, &to)
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("show {} at {}", from.display(), to.display()))
}

fn attach(source: &str, kind: &str, place: &Path, flags: MsFlags, options: &str) -> Result<()> {
    mount(Some(source), place, Some(kind), flags, Some(options))
        .with_context(|| format!("mount {kind} ({options}) on {}", place.display()))
}
