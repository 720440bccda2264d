//! Finding the processes of sessions: by number, by label, by cgroup.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::sys::signal::Signal;

use crate::error::{Error, Result};
use crate::kernel::Tables;

/// A label can be put on one task only, so the process must not have more yet.
pub(super) fn check_single(pid: i32) -> Result<()> {
    let threads = procfs::process::Process::new(pid)
        .and_then(|process| process.stat())
        .map(|stat| stat.num_threads)
        .map_err(|_| Error::Refused("the process ended before it was enrolled".into()))?;
    if threads == 1 {
        return Ok(());
    }
    Err(Error::Refused(format!("the process has {threads} threads, and only one can be enrolled")))
}

pub(super) fn in_cgroup(pid: i32, cgroup: &str) -> bool {
    procfs::process::Process::new(pid).and_then(|process| process.cgroups()).is_ok_and(|cgroups| {
        cgroups.0.iter().any(|entry| entry.hierarchy == 0 && entry.pathname == cgroup)
    })
}

/// A process that has a label.
pub(super) struct Labelled {
    /// Its number.
    pub pid: i32,
    /// Its session.
    pub session: u64,
    /// What it can be killed by.
    pub pidfd: OwnedFd,
}

/// All processes that have a label and are alive. Those that ended and wait for
/// their parent do not count.
pub(super) fn all_labelled(tables: &Tables) -> Result<Vec<Labelled>> {
    let mut found = Vec::new();
    for pid in all_pids() {
        let Some(pidfd) = pidfd_open(pid) else { continue };
        if let Some(label) = tables.label(pidfd.as_fd())?
            && threads(pid) > 0
        {
            found.push(Labelled { pid, session: label.session, pidfd });
        }
    }
    Ok(found)
}

/// How many threads each session has, by the sessions' numbers; those without are
/// left out.
///
/// # Errors
///
/// Where the kernel's tables cannot be read.
pub fn tasks(tables: &Tables) -> Result<BTreeMap<u64, u64>> {
    let mut tasks = BTreeMap::new();
    for process in all_labelled(tables)? {
        *tasks.entry(process.session).or_default() += threads(process.pid);
    }
    Ok(tasks)
}

/// The processes of a session, by their labels.
pub(super) fn labelled(number: u64, tables: &Tables) -> Result<Vec<Labelled>> {
    let mut found = all_labelled(tables)?;
    found.retain(|process| process.session == number);
    Ok(found)
}

/// `PF_EXITING` of `linux/sched.h`: the task ends, and runs nothing of its program any more.
const EXITING: u32 = 4;

/// How many threads of a process run; 0 for one that is gone, ends or waits for its parent.
/// A first thread that ended before the others is a zombie too.
pub(super) fn threads(pid: i32) -> u64 {
    let stat = procfs::process::Process::new(pid).and_then(|process| process.stat());
    let Ok(stat) = stat else { return 0 };
    let ended = matches!(stat.state, 'Z' | 'X') || stat.flags & EXITING != 0;
    u64::try_from(stat.num_threads).unwrap_or(0).saturating_sub(u64::from(ended))
}

fn all_pids() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A descriptor for a process, which no other process can come to stand behind.
#[must_use]
pub fn pidfd_open(pid: i32) -> Option<OwnedFd> {
    use std::os::fd::FromRawFd as _;
    // SAFETY: the call takes two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(super) fn pidfd_kill(pidfd: BorrowedFd<'_>) {
    use std::os::fd::AsRawFd as _;
    let none: *const libc::siginfo_t = std::ptr::null();
    let signal = Signal::SIGKILL as i32;
    // SAFETY: the descriptor is open; no further information is given. It fails
    // only when the process is gone, which is what is wanted.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) };
}
