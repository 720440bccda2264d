//! The rest of what a program expects of a running host: controllers, loopback,
//! a name, device nodes, limits, and kernel modules that load when asked for.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::plan::Plan;

const HOST_NAME: &str = "agentguard-vm";
const MODPROBE: &str = "/run/agentguard-vm/modprobe";
/// Devices whose drivers load when they are first opened: name, major, minor.
const NODES: &[(&str, u64, u64)] =
    &[("net/tun", 10, 200), ("fuse", 10, 229), ("loop-control", 10, 237)];

/// Configures the VM; returns what did not work and is not worth giving up for.
pub(crate) fn configure(plan: &Plan) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    let mut attempt = |what: &str, result: Result<()>| {
        if let Err(error) = result {
            notes.push(format!("{what}: {error:#}"));
        }
    };
    attempt("cgroup controllers", controllers());
    attempt("loopback", loopback());
    attempt("host name", host_name());
    attempt("resolv.conf", resolver());
    attempt("device nodes", nodes());
    if let Some(base) = &plan.module_base {
        attempt("kernel modules", on_demand_modules(base));
    }
    // As systemd sets them: a soft limit that select(2) survives, a high hard one.
    setrlimit(Resource::RLIMIT_NOFILE, 1024, 1 << 20).context("set the limit of open files")?;
    setrlimit(Resource::RLIMIT_CORE, 0, libc::RLIM_INFINITY).context("set the core limit")?;
    Ok(notes)
}

fn controllers() -> Result<()> {
    let available =
        fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").context("read the controllers")?;
    for name in available.split_whitespace() {
        fs::write("/sys/fs/cgroup/cgroup.subtree_control", format!("+{name}"))
            .with_context(|| format!("enable {name}"))?;
    }
    Ok(())
}

fn loopback() -> Result<()> {
    let status = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .status()
        .context("run ip (package iproute2)")?;
    anyhow::ensure!(status.success(), "ip link set lo up: {status}");
    Ok(())
}

fn host_name() -> Result<()> {
    nix::unistd::sethostname(HOST_NAME).context("set it")?;
    let mut hosts = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open("/etc/hosts")
        .context("open /etc/hosts")?;
    writeln!(hosts, "127.0.1.1 {HOST_NAME}").context("write /etc/hosts")
}

/// A link into the host's `/run` leads nowhere here; a plain file can be edited.
fn resolver() -> Result<()> {
    let path = Path::new("/etc/resolv.conf");
    if path.is_symlink() && !path.exists() {
        fs::remove_file(path).context("remove the dangling link")?;
        fs::write(path, "").context("create the file")?;
    }
    Ok(())
}

fn nodes() -> Result<()> {
    fs::create_dir_all("/dev/net").context("create /dev/net")?;
    for (name, major, minor) in NODES {
        let path = Path::new("/dev").join(name);
        if !path.exists() {
            let mode = Mode::from_bits_truncate(0o666);
            mknod(&path, SFlag::S_IFCHR, mode, makedev(*major, *minor))
                .with_context(|| format!("create {}", path.display()))?;
        }
    }
    Ok(())
}

/// Lets the kernel and people load modules of this kernel, which the host's
/// `/lib/modules` need not have: a wrapper that knows where they are.
fn on_demand_modules(base: &str) -> Result<()> {
    let dir = Path::new(MODPROBE).parent().context("the wrapper has a folder")?;
    fs::create_dir_all(dir).context("create the wrapper's folder")?;
    let script = format!("#!/bin/sh\nexec /sbin/modprobe -d '{base}' \"$@\"\n");
    fs::write(MODPROBE, script).context("write the wrapper")?;
    fs::set_permissions(MODPROBE, fs::Permissions::from_mode(0o755)).context("set its mode")?;
    symlink(format!("{base}/lib/modules"), dir.join("modules")).context("link the modules")?;
    fs::write("/proc/sys/kernel/modprobe", MODPROBE).context("tell the kernel")
}

/// How many inodes the kernel may remember. The host's file server keeps a descriptor for
/// each of its files, and may have no more than its limit, 20,000 on some hosts.
const INODES: u64 = 12_000;
/// How often that is looked at.
const PAUSE: Duration = Duration::from_millis(500);

/// Keeps the number of remembered files small, for as long as the VM runs.
pub(crate) fn forget_files() -> Result<()> {
    // A thread that lets signals in would take those of ended processes away from the
    // descriptor by which PID 1 learns of them.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK).context("block signals")?;
    std::thread::spawn(|| {
        loop {
            let known = fs::read_to_string("/proc/sys/fs/inode-nr").unwrap_or_default();
            let known = known.split_whitespace().next().and_then(|word| word.parse().ok());
            if known.is_some_and(|known: u64| known > INODES) {
                // Fails where a test has made it read-only; then there are more for a while.
                drop(fs::write("/proc/sys/vm/drop_caches", "3"));
            }
            std::thread::sleep(PAUSE);
        }
    });
    before.thread_set_mask().context("let signals in again")
}
