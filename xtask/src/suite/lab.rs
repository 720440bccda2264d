//! End-to-end tests in VMs, two kernels at a time: one VM keeps about one core busy.
//! Each is an `xtask vm` of its own, so that one in trouble takes no other with it.

use std::io::{BufRead as _, BufReader, Write as _, stdout};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::tally::{Counts, Tally};
use crate::vm::kernel::Kernel;

/// VMs at a time.
const AT_ONCE: usize = 2;
/// Seconds for one test program in one VM; the lab is an emulation, and slow.
const TIME_LIMIT: u32 = 1200;

/// What came of a kernel: the counts, whether all went well, and how long it took.
pub(super) type Ran = Result<(Counts, bool, Duration)>;

/// Runs the programs on every kernel; the results are in the order of the kernels.
pub(super) fn run(kernels: &[Kernel], programs: &[PathBuf], filter: Option<&str>) -> Vec<Ran> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Ran>>> = kernels.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(at) = Some(next.fetch_add(1, Ordering::Relaxed))
                    && let (Some(kernel), Some(result)) = (kernels.get(at), results.get(at))
                {
                    let ran = on_kernel(kernel, programs, filter);
                    if let Ok(mut result) = result.lock() {
                        *result = Some(ran);
                    }
                }
            });
        }
    });
    let missing = || Err(anyhow::anyhow!("the thread that ran this kernel ended early"));
    let taken = results.into_iter().map(|result| result.into_inner().ok().flatten());
    taken.map(|ran| ran.unwrap_or_else(missing)).collect()
}

fn on_kernel(kernel: &Kernel, programs: &[PathBuf], filter: Option<&str>) -> Ran {
    let start = Instant::now();
    let (mut counts, mut sound) = (Counts::default(), true);
    for program in programs {
        let (counted, well) = in_vm(kernel, program, filter)?;
        counts.add(counted);
        sound &= well;
    }
    Ok((counts, sound, start.elapsed()))
}

fn in_vm(kernel: &Kernel, program: &Path, filter: Option<&str>) -> Result<(Counts, bool)> {
    let me = std::env::current_exe().context("find xtask itself")?;
    let mut command = Command::new(me);
    command.args(["vm", "--no-build", "--timeout", &TIME_LIMIT.to_string()]);
    command.arg("--kernel").arg(&kernel.image);
    command.arg("--").arg(program).arg("--test-threads=1").args(filter);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    // A VM ends with us, however we end.
    // SAFETY: between fork and exec, one system call that takes numbers.
    unsafe {
        command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(nix::sys::signal::SIGTERM)?));
    }
    let mut child = command.spawn().context("start a VM")?;
    let mut tally = Tally::default();
    let mut reader = BufReader::new(child.stdout.take().context("the VM's output")?);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).context("read the VM's output")? > 0 {
        tally.push(&line);
        // Whole lines, so that two VMs' lines do not mix.
        let mut out = stdout().lock();
        write!(out, "[{}] ", kernel.name)
            .and_then(|()| out.write_all(&line))
            .context("pass on output")?;
        line.clear();
    }
    let status = child.wait().context("wait for a VM")?;
    Ok((tally.close(status.success()), status.success()))
}
