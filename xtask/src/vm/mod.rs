//! The VM lab: boots a throw-away VM on a real Debian kernel over this host's root and
//! runs one command in it.
//!
//! The host's root is read-only, by the host's own kernel; what the command writes goes
//! to layers in the VM's memory. Nothing is left behind.

mod export;
mod fetch;
mod initramfs;
pub(crate) mod kernel;
mod qemu;
mod session;
mod terminal;
mod watch;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::unistd::geteuid;

pub(crate) use export::{become_server, find as find_file_server};
pub(crate) use session::{Ending, Output, PassOn};

use crate::plan::Plan;
use crate::workspace;
use kernel::Kernel;

/// The kernel was in trouble.
const EXIT_TROUBLE: i32 = 123;
/// The command took too long, as timeout(1) says it.
const EXIT_TIMEOUT: i32 = 124;
/// The VM did not start.
pub(crate) const EXIT_NO_START: i32 = 125;

/// What can be chosen about a VM.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct VmOptions {
    /// Show DIR of this host, writable, at /share in the VM
    #[arg(long, value_name = "DIR")]
    pub(crate) share: Option<PathBuf>,
    /// Memory, in MiB
    #[arg(long, value_name = "MB", default_value_t = 2048)]
    pub(crate) mem: u32,
    /// Processors
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) cpus: u8,
    /// Security modules, in their order
    #[arg(long, value_name = "LIST", default_value = "landlock,lockdown,bpf")]
    pub(crate) lsm: String,
    /// More words for the kernel's command line
    #[arg(long, value_name = "STR")]
    pub(crate) append: Option<String>,
}

impl Default for VmOptions {
    fn default() -> Self {
        let lsm = "landlock,lockdown,bpf".to_owned();
        Self { share: None, mem: 2048, cpus: 2, lsm, append: None }
    }
}

/// What to run in a VM.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// The command and its arguments.
    pub(crate) command: Vec<String>,
    /// Give the command the person's terminal.
    pub(crate) shell: bool,
    /// How long it may take; no limit when there is none.
    pub(crate) timeout: Option<Duration>,
}

impl Ending {
    /// The code that xtask ends with.
    pub(crate) fn code(&self) -> i32 {
        match self {
            Self::Exit(code) => *code,
            Self::Trouble(_) => EXIT_TROUBLE,
            Self::TimedOut => EXIT_TIMEOUT,
            Self::NoStart(_) => EXIT_NO_START,
            Self::Interrupted(signal) => 128 + signal,
        }
    }

    /// What to tell the person, when it was not the command that ended the VM.
    pub(crate) fn complaint(&self) -> Option<String> {
        match self {
            Self::Exit(_) => None,
            Self::Trouble(line) => Some(format!("kernel trouble: {line}")),
            Self::TimedOut => Some("the command took longer than --timeout allows".to_owned()),
            Self::NoStart(why) => Some(format!("the VM could not start: {why}")),
            Self::Interrupted(signal) => Some(format!("ended by signal {signal}")),
        }
    }
}

/// Boots `kernel`, runs the job, and tells how it ended.
pub(crate) fn run(
    options: &VmOptions,
    kernel: &Kernel,
    job: &Job,
    output: &mut dyn Output,
) -> Result<Ending> {
    ensure!(geteuid().is_root(), "the VM lab shows this host's files, which needs root: use sudo");
    let mut options = options.clone();
    if let Some(dir) = &options.share {
        let dir = fs::canonicalize(dir).with_context(|| format!("share {}", dir.display()))?;
        ensure!(dir.is_dir(), "--share {}: not a folder", dir.display());
        options.share = Some(dir);
    }
    let mut vm = qemu::start(&options, kernel, plan(&options, kernel, job)?)?;
    let ending = session::run(&mut vm, output, job.timeout, job.shell)?;
    if let Some(text) = ending.complaint() {
        eprintln!("xtask vm [{}]: {text}", kernel.name);
    }
    Ok(ending)
}

fn plan(options: &VmOptions, kernel: &Kernel, job: &Job) -> Result<Plan> {
    let cwd = env::current_dir().context("find the current directory")?;
    let shown = [workspace::root(), workspace::target(), cwd.clone(), kernel.base.clone()];
    let text = |path: &Path| path.to_string_lossy().into_owned();
    Ok(Plan {
        modules: Vec::new(),
        module_base: Some(text(&kernel.base)),
        keep: shown.iter().map(|path| text(path)).collect(),
        share: options.share.is_some(),
        terminal: job.shell.then(terminal::size),
        command: job.command.clone(),
        env: environment(&kernel.base),
        cwd: text(&cwd),
    })
}

/// A clean login's environment, with the built agentguard and the person's own tools on
/// PATH, and what is meant for agentguard and its tests.
fn environment(kernel_base: &Path) -> Vec<(String, String)> {
    let system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let path = env::var("PATH").unwrap_or_default();
    let built = workspace::bin_dir(false);
    let mut list: Vec<(String, String)> = [
        ("PATH", format!("{}:{path}:{system}", built.display())),
        ("HOME", "/root".to_owned()),
        ("USER", "root".to_owned()),
        ("LOGNAME", "root".to_owned()),
        ("SHELL", "/bin/bash".to_owned()),
        ("LANG", env::var("LANG").unwrap_or_else(|_| "C.UTF-8".to_owned())),
        ("TERM", env::var("TERM").unwrap_or_else(|_| "linux".to_owned())),
        ("MODPROBE_OPTIONS", format!("-d {}", kernel_base.display())),
        ("AGENTGUARD_VM", "1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let passed = |name: &str| {
        name.starts_with("AGENTGUARD_") || ["CI", "RUST_LOG", "RUST_BACKTRACE"].contains(&name)
    };
    list.extend(env::vars().filter(|(name, _)| passed(name) && name != "AGENTGUARD_VM"));
    list
}

/// Builds PID 1: linked statically, because the VM's first file system has no libraries.
fn init_binary() -> Result<PathBuf> {
    let name = "agentguard-vm-init";
    let mut cargo = workspace::cargo();
    cargo.args(["rustc", "--quiet", "--package", "xtask", "--bin", name, "--"]);
    cargo.args(["-C", "target-feature=+crt-static", "-C", "strip=debuginfo"]);
    crate::process::run(&mut cargo)
        .context("build the VM's PID 1 (elsewhere than on Debian: install the static libc)")?;
    Ok(workspace::bin_dir(true).join(name))
}
