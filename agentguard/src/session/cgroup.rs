//! The cgroups of sessions: one leaf each, under `agentguard` at the root of the
//! cgroup v2 hierarchy. Limits, freezing and killing work on them; what a session
//! may do does not depend on them, as a label on every task decides that.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Where sessions have their cgroups.
#[derive(Clone, Debug)]
pub struct Cgroups {
    mount: PathBuf,
    root: PathBuf,
}

/// A session's cgroup.
#[derive(Clone, Debug)]
pub struct Cgroup {
    path: PathBuf,
}

/// Where a session's threads are that are held, below its own.
const HELD: &str = "held";

impl Cgroups {
    /// Finds cgroup v2 and makes the root of all sessions there.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where cgroup v2 is not mounted.
    pub fn new() -> Result<Self> {
        let mount = cgroup_mount()?;
        let root = mount.join("agentguard");
        match std::fs::create_dir(&root) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::io("create", &root)(error));
            }
            _ => {}
        }
        Ok(Self { mount, root })
    }

    /// Makes a session's cgroup.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the kernel refuses.
    pub fn create(&self, id: &str) -> Result<Cgroup> {
        let path = self.root.join(id);
        std::fs::create_dir(&path).map_err(Error::io("create", &path))?;
        Ok(Cgroup { path })
    }

    /// The cgroup of a session that was started earlier.
    #[must_use]
    pub fn existing(&self, id: &str) -> Cgroup {
        Cgroup { path: self.root.join(id) }
    }

    /// The cgroup that holds those of all sessions.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where cgroup v2 is mounted.
    #[must_use]
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// Removes the root of all sessions, with what is empty below it.
    pub fn remove_all(&self) {
        for id in self.ids().unwrap_or_default() {
            let _ = self.existing(&id).remove();
        }
        // Busy while a session lives.
        let _ = std::fs::remove_dir(&self.root);
    }

    /// The path of a session's cgroup as `/proc/PID/cgroup` shows it.
    #[must_use]
    pub fn name(&self, cgroup: &Cgroup) -> String {
        let path = cgroup.path.strip_prefix(&self.mount).unwrap_or(&cgroup.path);
        format!("/{}", path.display())
    }

    /// The cgroups that are there, by their sessions' ids.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where they cannot be listed.
    pub fn ids(&self) -> Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.root).map_err(Error::io("list", &self.root))?;
        Ok(entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect())
    }
}

impl Cgroup {
    /// The cgroup's id, which `bpf_get_current_cgroup_id` gives: its inode number.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where it is gone.
    pub fn id(&self) -> Result<u64> {
        Ok(std::fs::metadata(&self.path).map_err(Error::io("look at", &self.path))?.ino())
    }

    /// A descriptor into which `clone3` can make a process (`CLONE_INTO_CGROUP`).
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where it is gone.
    pub fn open(&self) -> Result<File> {
        File::open(&self.path).map_err(Error::io("open", &self.path))
    }

    /// Moves a process in. Takes milliseconds: the kernel waits for all CPUs.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the kernel refuses.
    pub fn add(&self, pid: i32) -> Result<()> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// Makes every process in it and below it stand still, or go on (`cgroup.freeze`).
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the kernel refuses.
    pub fn freeze(&self, still: bool) -> Result<()> {
        self.write("cgroup.freeze", if still { "1" } else { "0" })
    }

    /// Whether all of them stand still (`cgroup.events`).
    #[must_use]
    pub fn frozen(&self) -> bool {
        self.read("cgroup.events").is_some_and(|text| text.lines().any(|line| line == "frozen 1"))
    }

    /// Makes one thread of it stand still, the others of its process not: in a cgroup below,
    /// which is frozen for good and takes threads (`cgroup.type`).
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the kernel refuses, or the thread is gone.
    pub fn hold(&self, thread: u32) -> Result<()> {
        let held = self.held();
        if !held.path.exists() {
            std::fs::create_dir(&held.path).map_err(Error::io("create", &held.path))?;
            held.write("cgroup.type", "threaded")?;
        }
        held.freeze(true)?;
        held.write("cgroup.threads", &thread.to_string())
    }

    /// Lets a thread go on that was held. One that is gone needs it not.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the kernel refuses.
    pub fn let_go(&self, thread: u32) -> Result<()> {
        match write_once(&self.path.join("cgroup.threads"), &thread.to_string()) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                Err(Error::io("write", self.path.join("cgroup.threads"))(error))
            }
            _ => Ok(()),
        }
    }

    /// The threads that are held.
    #[must_use]
    pub fn held_threads(&self) -> BTreeSet<u32> {
        let threads = self.held().read("cgroup.threads").unwrap_or_default();
        threads.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Lets all of them go on, wherever they are.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the kernel refuses.
    pub fn thaw(&self) -> Result<()> {
        let held = self.held();
        if held.path.exists() { held.freeze(false) } else { Ok(()) }
    }

    fn held(&self) -> Self {
        Self { path: self.path.join(HELD) }
    }

    /// Kills every process in it, those being forked included (`cgroup.kill`).
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the kernel refuses.
    pub fn kill(&self) -> Result<()> {
        self.write("cgroup.kill", "1")
    }

    /// Removes it; true when it is gone. It can stay busy for a moment after its
    /// last process ended, and for longer when a session made cgroups of its own.
    #[must_use]
    pub fn remove(&self) -> bool {
        // Not there as a rule.
        let _ = std::fs::remove_dir(self.held().path);
        match std::fs::remove_dir(&self.path) {
            Ok(()) => true,
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        }
    }

    /// Whether processes are in it, or in a cgroup below it (`cgroup.events`).
    #[must_use]
    pub fn populated(&self) -> bool {
        let events = std::fs::read_to_string(self.path.join("cgroup.events"));
        events.is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
    }

    /// The cgroup at a path, whether there is one or not.
    #[must_use]
    pub const fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The files that the kernel marks as changed when a limit is reached.
    #[must_use]
    pub fn told_limits(&self) -> [PathBuf; 2] {
        ["memory.events", "pids.events"].map(|file| self.path.join(file))
    }

    /// Whether it has a control file: those of controllers that are off are missing.
    pub(super) fn has(&self, file: &str) -> bool {
        self.path.join(file).exists()
    }

    /// The text of a control file.
    pub(super) fn read(&self, file: &str) -> Option<String> {
        std::fs::read_to_string(self.path.join(file)).ok()
    }

    pub(super) fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.path.join(file);
        write_once(&path, text).map_err(Error::io("write", path))
    }
}

/// Where cgroup v2 is mounted.
///
/// # Errors
///
/// [`Error::System`] where it is not.
pub fn cgroup_mount() -> Result<PathBuf> {
    let mounts = procfs::process::Process::myself()
        .and_then(|me| me.mountinfo())
        .map_err(|error| system("read the mounts", error))?;
    let mut mounts = mounts.into_iter();
    let mount = mounts.find(|mount| mount.fs_type == "cgroup2" && mount.root == "/");
    let mount = mount.ok_or_else(|| {
        system("find cgroup v2", "it is not mounted: mount -t cgroup2 none /sys/fs/cgroup")
    })?;
    Ok(mount.mount_point)
}

/// Control files take one `write`, and must not be created.
pub(super) fn write_once(path: &Path, text: &str) -> std::io::Result<()> {
    File::options().write(true).open(path)?.write_all(text.as_bytes())
}

fn system(action: &str, error: impl ToString) -> Error {
    Error::System { action: action.into(), source: std::io::Error::other(error.to_string()) }
}
