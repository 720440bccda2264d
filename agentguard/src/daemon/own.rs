//! agentguard's own files, told to the kernel, so that no session changes them whatever its
//! policy says: see `agentguard_common::own`.
//!
//! Directories that are ours are kept with all that stands in them; of others, only the file
//! that is ours. Files come and go (logs are rotated, policies added), so this is looked at
//! again with each sweep.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use agentguard_common::own::{HIDDEN, InodeKey, KEPT, MAX_OWN, WAY};

use super::Config;
use crate::error::{Error, Result};
use crate::kernel::{Pins, Tables};

/// Where systemd has units from, and settings beside them.
const UNITS: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/lib/systemd/system",
    "/usr/lib/systemd/system",
];
/// The names there that are ours.
const UNIT_NAMES: [&str; 2] = ["agentguard.service", "agentguard.service.d"];
/// The directory of what sessions are told, see [`crate::session::Notices`].
const NOTICES: &str = "notices";
/// How deep our directories are.
const DEPTH: usize = 4;

/// Keeps the kernel's table in step.
pub(super) struct Own {
    paths: Vec<(PathBuf, u32)>,
    known: BTreeMap<InodeKey, u32>,
}

impl Own {
    /// Finds out which files are ours, and tells the kernel.
    ///
    /// # Errors
    ///
    /// Where the table cannot be written.
    pub(super) fn new(config: &Config, tables: &Tables) -> Result<Self> {
        let mut own = Self { paths: paths(config), known: tables.own_files()? };
        own.refresh(tables)?;
        Ok(own)
    }

    /// Looks again, and tells the kernel what has changed: what is new before what is old goes.
    ///
    /// # Errors
    ///
    /// As for [`Own::new`].
    pub(super) fn refresh(&mut self, tables: &Tables) -> Result<()> {
        let found = self.look()?;
        if found != self.known {
            tables.set_own_files(&found, &self.known)?;
            self.known = found;
        }
        Ok(())
    }

    fn look(&self) -> Result<BTreeMap<InodeKey, u32>> {
        let mut marks = Marks { devices: devices()?, found: BTreeMap::new() };
        for (path, flags) in &self.paths {
            // What is not there yet comes with a later sweep.
            let Ok(real) = std::fs::canonicalize(path) else { continue };
            marks.add_all(&real, *flags, DEPTH);
            for above in real.ancestors().skip(1) {
                marks.add(above, WAY);
            }
        }
        Ok(marks.found)
    }
}

/// Our files and directories, and what holds for each.
fn paths(config: &Config) -> Vec<(PathBuf, u32)> {
    let mut all = vec![(config.policies.clone(), KEPT), (config.state.clone(), KEPT | HIDDEN)];
    let (settings, log) = (&config.settings, config.log_path());
    let audit = settings.audit.path(&log);
    let full = settings.log.unredacted.iter().map(|full| (full.file.clone(), KEPT | HIDDEN));
    let files = [
        (log, KEPT | HIDDEN),
        (audit, KEPT | HIDDEN),
        (settings.audit.key.clone(), KEPT | HIDDEN),
        (config.socket.clone(), KEPT),
        (config.policies.clone(), KEPT),
    ];
    for (path, flags) in files.into_iter().chain(full) {
        all.extend(directory_of_ours(&path).map(|directory| (directory, flags)));
        all.push((path, flags));
    }
    all.extend(std::env::current_exe().ok().map(|program| (program, KEPT)));
    for directory in UNITS {
        all.extend(UNIT_NAMES.map(|name| (Path::new(directory).join(name), KEPT)));
    }
    all
}

/// The directory that a file stands in, where its name says that it is ours: others may hold
/// anything.
fn directory_of_ours(path: &Path) -> Option<PathBuf> {
    let directory = path.parent()?;
    let name = directory.file_name()?;
    name.as_bytes().starts_with(b"agentguard").then(|| directory.to_owned())
}

struct Marks {
    /// The numbers of file systems as the kernel has them, by the numbers of mounts.
    devices: BTreeMap<u64, u32>,
    found: BTreeMap<InodeKey, u32>,
}

impl Marks {
    /// A file, or a directory with all that is in it.
    fn add_all(&mut self, path: &Path, flags: u32, depth: usize) {
        // What sessions are told about themselves, they may read.
        let told = path.file_name().is_some_and(|name| name == NOTICES);
        let flags = if told { flags & !HIDDEN } else { flags };
        self.add(path, flags);
        if depth == 0 {
            return;
        }
        let Ok(entries) = std::fs::read_dir(path) else { return };
        let mut inside: Vec<std::fs::DirEntry> =
            entries.filter_map(std::result::Result::ok).collect();
        // Directories first: files are also known by the directory that they stand in.
        inside.sort_by_key(|entry| !entry.file_type().is_ok_and(|kind| kind.is_dir()));
        for entry in inside {
            self.add_all(&entry.path(), flags, depth - 1);
        }
    }

    fn add(&mut self, path: &Path, flags: u32) {
        if let Some((mount, inode)) = look_at(path)
            && let Some(device) = self.devices.get(&mount)
            && self.found.len() < MAX_OWN as usize
        {
            let key = InodeKey { device: *device, reserved: 0, inode };
            *self.found.entry(key).or_default() |= flags;
        }
    }
}

/// The number of the mount that a file is on, and its own.
fn look_at(path: &Path) -> Option<(u64, u64)> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut found = std::mem::MaybeUninit::<libc::statx>::zeroed();
    let wanted = libc::STATX_INO | libc::STATX_MNT_ID;
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_STATX_DONT_SYNC;
    // SAFETY: the path ends with a NUL, and the structure has room for what is written.
    let failed =
        unsafe { libc::statx(libc::AT_FDCWD, path.as_ptr(), flags, wanted, found.as_mut_ptr()) };
    if failed != 0 {
        return None;
    }
    // SAFETY: zeros are a value of it, and the kernel has filled it.
    let found = unsafe { found.assume_init() };
    (found.stx_mask & wanted == wanted).then_some((found.stx_mnt_id, found.stx_ino))
}

/// The file systems that we see, by the numbers of their mounts.
fn devices() -> Result<BTreeMap<u64, u32>> {
    let path = "/proc/self/mountinfo";
    let text = std::fs::read(path).map_err(Error::io("read", path))?;
    Ok(text.split(|byte| *byte == b'\n').filter_map(device).collect())
}

/// A line of that list: number, parent, major:minor.
fn device(line: &[u8]) -> Option<(u64, u32)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut word = |skip| std::str::from_utf8(fields.nth(skip)?).ok();
    let mount = word(0)?.parse().ok()?;
    let (major, minor) = word(1)?.split_once(':')?;
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    // As the kernel has device numbers for itself (`linux/kdev_t.h`).
    Some((mount, major << 20 | minor))
}

/// The directories of files that are agentguard's own.
pub(super) fn own_directories(config: &Config) -> Vec<PathBuf> {
    let beside = |path: &Path| path.parent().map(Path::to_owned);
    let pins = Pins::default().root().to_owned();
    let all = [Some(config.state.clone()), Some(config.policies.clone()), Some(pins)];
    let (settings, log) = (&config.settings, config.log_path());
    let full = settings.log.unredacted.as_ref().and_then(|full| beside(&full.file));
    let audit = [beside(&settings.audit.path(&log)), beside(&settings.audit.key)];
    let more = [beside(&config.socket), beside(&log), full].into_iter().chain(audit);
    let all = all.into_iter().chain(more).flatten();
    let all = all.chain(settings.spools().map(Path::to_owned));
    let real = all.map(|path| std::fs::canonicalize(&path).unwrap_or(path));
    // A log beside others in a directory of everybody's makes that no directory of ours.
    real.filter(|path| path.components().count() > 2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn config(root: &Path) -> Config {
        Config {
            socket: root.join("agentguard/daemon.sock"),
            policies: root.join("agentguard.d/policies"),
            state: root.join("state"),
            log: Some(root.join("log/events.jsonl")),
            watch: false,
            log_activity: false,
            settings: crate::config::Settings::default(),
        }
    }

    #[test]
    fn directories_are_ours_by_name_and_others_only_hold_our_files() {
        let root = tempfile::tempdir().unwrap();
        for directory in ["agentguard", "agentguard.d/policies/more", "state/deep", "log"] {
            std::fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        std::fs::write(root.path().join("log/events.jsonl"), "").unwrap();
        std::fs::write(root.path().join("state/session"), "").unwrap();
        let own = Own { paths: paths(&config(root.path())), known: BTreeMap::new() };
        let found = own.look().unwrap();
        let flags = |name: &str| {
            let number = std::fs::metadata(root.path().join(name)).unwrap().ino();
            found.iter().find(|(key, _)| key.inode == number).map_or(0, |(_, flags)| *flags)
        };
        assert_eq!(flags("agentguard"), KEPT);
        assert_eq!(flags("agentguard.d") & KEPT, KEPT, "with the configuration beside them");
        assert_eq!(flags("agentguard.d/policies/more"), KEPT);
        assert_eq!(flags("state") & (KEPT | HIDDEN), KEPT | HIDDEN);
        assert_eq!(flags("state/deep"), KEPT | HIDDEN);
        assert_eq!(flags("log"), WAY, "may hold what is not ours");
        assert_eq!(flags("log/events.jsonl"), KEPT | HIDDEN);
        assert_eq!(flags(""), WAY);
        assert_eq!(flags("state/session") & (KEPT | HIDDEN), KEPT | HIDDEN);
    }

    #[test]
    fn lines_of_mounts_are_read_and_others_left_out() {
        let line = b"36 35 98:3 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(device(line), Some((36, 98 << 20 | 3)));
        for line in [b"".as_slice(), b"36 35", b"36 35 98 /", b"x 35 98:3 /"] {
            assert_eq!(device(line), None);
        }
    }
}
