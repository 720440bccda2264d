//! What the figures were measured on, and where this process stands.

use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The calling thread.
const ME: Pid = Pid::from_raw(0);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A line for the head of a table: processor, cores, kernel, date.
pub(crate) fn describe() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let of =
            |line: &str| Some(line.strip_prefix(name)?.trim().strip_prefix(':')?.trim().to_owned());
        cpus.lines().find_map(of)
    };
    let model = field("model name").unwrap_or_else(|| "unknown processor".into());
    let (family, number) = (field("cpu family"), field("model"));
    let kind = match (family, number) {
        (Some(family), Some(number)) => format!(" (family {family}, model {number})"),
        _ => String::new(),
    };
    let virtual_machine = match cpus.contains(" hypervisor ") {
        true => ", virtual machine",
        false => "",
    };
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.trim();
    format!("{model}{kind}, {cores} cores{virtual_machine}, Linux {kernel}, {}", today())
}

/// The date, as `date` writes it.
fn today() -> String {
    let told = Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).output();
    told.map(|told| String::from_utf8_lossy(&told.stdout).trim().to_owned()).unwrap_or_default()
}

/// The load of the last minute: a figure from a busy machine says little.
pub(crate) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

/// While this lives, this process stays on one CPU.
pub(crate) struct Pinned {
    /// Which one.
    pub(crate) cpu: usize,
    before: CpuSet,
}

impl Pinned {
    /// Stays on the last of the CPUs that this process may use.
    pub(crate) fn to_last() -> Result<Self> {
        let before = sched_getaffinity(ME)?;
        let mut last = None;
        for cpu in 0..CpuSet::count() {
            if before.is_set(cpu)? {
                last = Some(cpu);
            }
        }
        let cpu = last.ok_or("this process may run nowhere")?;
        let mut only = CpuSet::new();
        only.set(cpu)?;
        sched_setaffinity(ME, &only)?;
        Ok(Self { cpu, before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // Where it fails, what comes next has one CPU, and is slower for it.
        let _ = sched_setaffinity(ME, &self.before);
    }
}

/// Where cgroup v2 is mounted.
pub(crate) fn cgroup_mount() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let of = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let (path, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(path))
    };
    mounts.lines().find_map(of).ok_or_else(|| "cgroup v2 is not mounted".into())
}

/// The id of this process's cgroup, as `bpf_get_current_cgroup_id` gives it.
pub(crate) fn own_cgroup() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/cgroup")?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).ok_or("no cgroup v2")?;
    Ok(fs::metadata(cgroup_mount()?.join(path))?.ino())
}

/// The memory of a process that is resident, in bytes.
pub(crate) fn resident(process: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/statm"))?;
    let pages: u64 = text.split(' ').nth(1).ok_or("no resident memory")?.parse()?;
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?.ok_or("no page size")?;
    Ok(pages * u64::try_from(size)?)
}

/// The processor time that the threads of a process have used, system calls included.
pub(crate) fn processor_time(process: &str) -> Result<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        nanoseconds += text.split(' ').next().ok_or("no processor time")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}
