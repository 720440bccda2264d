//! Puts limits into force: in a session's cgroup, and on its processes where the kernel has
//! no cgroup for it (open files).
//!
//! A controller has to be switched on from the root of the hierarchy down. Whether that
//! worked is seen by its file being there, not by what the kernel says it could do.

use std::path::Path;

use nix::sys::resource::Resource;

use super::cgroup::{Cgroup, Cgroups};
use super::disk::{Disk, disk_of};
use crate::error::{Error, Result};
use crate::policy::{Limits, NotHere};

/// How long a span is in which a session gets its share of the CPUs, in microseconds: the
/// kernel's own choice.
const PERIOD: u64 = 100_000;
/// What a throttled session gets of one CPU, in percent.
pub(super) const THROTTLED: u32 = 10;
/// What takes a limit off in a cgroup.
const MAX: &str = "max";

/// Each limit that a cgroup enforces: its key in policies, the controller, its file.
const ENFORCED_BY: [(&str, &str, &str); 4] = [
    ("memory", "memory", "memory.max"),
    ("cpu", "cpu", "cpu.max"),
    ("pids", "pids", "pids.max"),
    ("io", "io", "io.max"),
];
/// What to do where a controller is missing.
const NO_CONTROLLER: &str = "mount cgroup v2 with this controller (cgroup v1 must not have it: systemd.unified_cgroup_hierarchy=1 on the kernel's command line), or leave the limit out";

/// The limits of one session, with what they stand for on this host.
#[derive(Clone, Debug, Default)]
pub struct InForce<'l> {
    /// The limits.
    pub limits: Option<&'l Limits>,
    /// The disk of its workspace.
    pub disk: Option<Disk>,
    /// Whether it is slowed down, whatever else its limits say.
    pub throttled: bool,
}

impl Cgroups {
    /// Which of the limits cannot be enforced here. Switches on what they need.
    #[must_use]
    pub fn cannot(&self, limits: &Limits) -> Vec<NotHere> {
        let missing = |(key, controller, file): &(&'static str, &str, &str)| {
            self.switch_on(controller);
            (!self.root().join(file).exists()).then(|| NotHere {
                key,
                why: format!("the controller {controller} of cgroup v2 is not to be had"),
                mend: NO_CONTROLLER,
            })
        };
        needed(limits).filter_map(|entry| missing(&entry)).collect()
    }

    /// Whether sessions can be slowed down here.
    #[must_use]
    pub fn can_throttle(&self) -> bool {
        self.cannot(&Limits { cpu: Some(THROTTLED), ..Limits::default() }).is_empty()
    }

    /// Switches a controller on for the cgroups of sessions, as far as that goes.
    fn switch_on(&self, controller: &str) {
        for directory in [self.mount(), self.root()] {
            let path = directory.join("cgroup.subtree_control");
            let on = std::fs::read_to_string(&path).unwrap_or_default();
            if !on.split_whitespace().any(|one| one == controller) {
                // What comes of it is seen by the files that are there, or not.
                let _ = super::cgroup::write_once(&path, &format!("+{controller}"));
            }
        }
    }

    /// Switches on for sessions what the host has switched on anyway: then what they use
    /// can be told.
    pub fn switch_on_for_free(&self) {
        let path = self.mount().join("cgroup.subtree_control");
        let on = std::fs::read_to_string(path).unwrap_or_default();
        for (_, controller, _) in ENFORCED_BY {
            if on.split_whitespace().any(|one| one == controller) {
                self.switch_on(controller);
            }
        }
    }

    /// Puts limits into force in a session's cgroup, and takes off what is not limited.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses one.
    pub fn limit(&self, cgroup: &Cgroup, force: &InForce<'_>) -> Result<()> {
        let none = Limits::default();
        let limits = force.limits.unwrap_or(&none);
        for (_, controller, _) in needed(limits) {
            self.switch_on(controller);
        }
        set(cgroup, "memory.max", limits.memory.map(|bytes| bytes.to_string()))?;
        set(cgroup, "memory.swap.max", limits.memory.map(|_| "0".to_owned()))?;
        let group = cgroup.has("memory.oom.group");
        if group {
            cgroup.write("memory.oom.group", if limits.memory.is_some() { "1" } else { "0" })?;
        }
        set(cgroup, "pids.max", limits.pids.map(|count| count.to_string()))?;
        let cpu = match (limits.cpu, force.throttled) {
            (Some(percent), true) => Some(percent.min(THROTTLED)),
            (percent, false) => percent,
            (None, true) => Some(THROTTLED),
        };
        if cpu.is_some() {
            self.switch_on("cpu");
        }
        set(cgroup, "cpu.max", cpu.map(quota))?;
        if let Some(disk) = force.disk {
            set_io(cgroup, disk, limits)?;
        }
        Ok(())
    }
}

/// Those of the limits that a cgroup enforces.
fn needed(limits: &Limits) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let wanted =
        [limits.memory.is_some(), limits.cpu.is_some(), limits.pids.is_some(), limits.has_io()];
    ENFORCED_BY.into_iter().zip(wanted).filter(|(_, wanted)| *wanted).map(|(entry, _)| entry)
}

/// `cpu.max`: microseconds of CPU time in each span, and the span.
fn quota(percent: u32) -> String {
    let mut period = PERIOD;
    let mut quota = u64::from(percent) * period / 100;
    // The kernel's least quota is a millisecond.
    while quota < 1000 && period < 1_000_000 {
        (quota, period) = (quota * 10, period * 10);
    }
    format!("{quota} {period}")
}

/// Sets one limit. Without its file there is no such limit to take off.
fn set(cgroup: &Cgroup, file: &str, value: Option<String>) -> Result<()> {
    match value {
        // Hosts without swap have no file for it, and nothing to swap to.
        Some(_) if file == "memory.swap.max" && !cgroup.has(file) => Ok(()),
        Some(value) => cgroup.write(file, &value),
        None if cgroup.has(file) => cgroup.write(file, MAX),
        None => Ok(()),
    }
}

fn set_io(cgroup: &Cgroup, disk: Disk, limits: &Limits) -> Result<()> {
    if !limits.has_io() && !cgroup.has("io.max") {
        return Ok(());
    }
    let rate = |rate: Option<u64>| rate.map_or_else(|| MAX.to_owned(), |rate| rate.to_string());
    let (read, write) = (rate(limits.io_read), rate(limits.io_write));
    cgroup.write("io.max", &format!("{disk} rbps={read} wbps={write}"))
}

/// The disk of a workspace, where limits need to know it.
///
/// # Errors
///
/// [`Error::Limit`] where no disk stands behind it.
pub fn disk_for(limits: &Limits, workspace: &Path) -> Result<Option<Disk>> {
    if !limits.has_io() {
        return Ok(None);
    }
    disk_of(workspace).map(Some).ok_or_else(|| Error::Limit {
        key: "io",
        why: format!("no disk stands behind the workspace {}", workspace.display()),
        mend: "give it a workspace on a disk, or leave the limit out",
    })
}

/// Limits the open files of a process, and of all that it will make.
///
/// # Errors
///
/// [`Error::System`] where the kernel refuses, or the process is gone.
pub fn limit_files(pid: i32, most: u32) -> Result<()> {
    let limit = libc::rlimit { rlim_cur: most.into(), rlim_max: most.into() };
    // SAFETY: the structure lives through the call, and nothing is asked for.
    let failed = unsafe {
        libc::prlimit(pid, Resource::RLIMIT_NOFILE as _, &raw const limit, std::ptr::null_mut())
    };
    match failed {
        0 => Ok(()),
        _ => Err(Error::system("limit open files")(std::io::Error::last_os_error())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_cpus_is_time_per_span() {
        assert_eq!(quota(200), "200000 100000");
        assert_eq!(quota(50), "50000 100000");
        assert_eq!(quota(1), "1000 100000");
        assert_eq!(quota(100_000), "100000000 100000");
    }

    #[test]
    fn only_what_is_limited_needs_a_controller() {
        let keys = |limits: &Limits| needed(limits).map(|(key, ..)| key).collect::<Vec<_>>();
        assert!(
            keys(&Limits { runtime: Some(1), open_files: Some(9), ..Limits::default() }).is_empty()
        );
        let limits = Limits { memory: Some(1), io_write: Some(1), ..Limits::default() };
        assert_eq!(keys(&limits), ["memory", "io"]);
    }

    #[test]
    fn open_files_of_a_process_are_limited() {
        // A child of ours, so that the tests beside this one keep theirs.
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        limit_files(pid, 17).unwrap();
        let limits = procfs::process::Process::new(pid).unwrap().limits().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let seventeen =
            |limit| matches!(limit, procfs::process::LimitValue::Value(most) if most == 17);
        assert!(seventeen(limits.max_open_files.soft_limit));
        assert!(seventeen(limits.max_open_files.hard_limit));
        assert!(limit_files(i32::MAX, 17).is_err());
    }
}
