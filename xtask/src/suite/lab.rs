//! End-to-end tests in VMs, two at a time: one VM keeps about one core busy. The tests are
//! dealt out to two VMs for each kernel, so that no core is idle when the kernels are odd in
//! number. Each VM is an `xtask vm` of its own, so that one in trouble takes no other with it.

use std::io::{BufRead as _, BufReader, Write as _, stdout};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::tally::{Counts, Tally};
use crate::process;
use crate::vm::kernel::Kernel;

/// VMs at a time.
const AT_ONCE: usize = 2;
/// Seconds for one test program in one VM; the lab is an emulation, and slow.
const TIME_LIMIT: u32 = 2400;

/// Where a distribution keeps its programs.
const SYSTEM: &str = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What came of a kernel: the counts, whether all went well, and how long its VMs took.
pub(super) type Ran = Result<(Counts, bool, Duration)>;

/// Parts that the tests of one kernel are dealt out to, and from how many tests on.
const PARTS: usize = 2;
const WORTH_PARTS: usize = 8;

/// Runs the tests on every kernel; the results are in the order of the kernels.
pub(super) fn run(kernels: &[Kernel], programs: &[PathBuf], filter: Option<&str>) -> Vec<Ran> {
    let mut jobs = Vec::new();
    for kernel in 0..kernels.len() {
        match deal(programs, filter, (kernel, kernels.len())) {
            Ok(parts) => jobs.extend(parts.into_iter().map(|part| (kernel, part))),
            Err(error) => return vec![Err(error)],
        }
    }
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Ran>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(at) = Some(next.fetch_add(1, Ordering::Relaxed))
                    && let (Some((kernel, part)), Some(result)) = (jobs.get(at), results.get(at))
                {
                    let ran = kernels.get(*kernel).map(|kernel| timed(kernel, part));
                    if let Ok(mut result) = result.lock() {
                        *result = ran;
                    }
                }
            });
        }
    });
    let mut of_kernels: Vec<Ran> = kernels.iter().map(|_| Ok(none())).collect();
    for ((kernel, _), result) in jobs.iter().zip(results) {
        let missing = || Err(anyhow::anyhow!("the thread that ran this kernel ended early"));
        let ran = result.into_inner().ok().flatten().unwrap_or_else(missing);
        if let Some(sum) = of_kernels.get_mut(*kernel) {
            *sum = join(std::mem::replace(sum, Ok(none())), ran);
        }
    }
    of_kernels
}

/// Before anything ran.
fn none() -> (Counts, bool, Duration) {
    (Counts::default(), true, Duration::ZERO)
}

/// Adds what came of a part to that of others.
fn join(one: Ran, other: Ran) -> Ran {
    let ((mut counts, well, time), (more, as_well, longer)) = (one?, other?);
    counts.add(more);
    Ok((counts, well && as_well, time + longer))
}

/// A test program, and which of its tests to run.
struct Part {
    program: PathBuf,
    tests: Vec<String>,
}

/// Where the tests are that are run on one kernel each.
const ANYWHERE: &str = "anywhere::";

/// Deals the tests of one kernel out, one to each part in turn: neighbours are alike, and take
/// alike long. `turn` is which of how many kernels it is.
fn deal(programs: &[PathBuf], filter: Option<&str>, turn: (usize, usize)) -> Result<Vec<Part>> {
    let (kernel, kernels) = turn;
    let mut parts = Vec::new();
    for program in programs {
        let mut list = Command::new(program);
        list.args(["--list", "--format=terse"]).args(filter).stdin(Stdio::null());
        let told = process::output(&mut list).context("list the end-to-end tests")?;
        let all = told.lines().filter_map(|line| line.strip_suffix(": test"));
        let (anywhere, each): (Vec<&str>, Vec<&str>) = all.partition(|t| t.starts_with(ANYWHERE));
        let its_own = anywhere.into_iter().skip(kernel).step_by(kernels);
        let tests: Vec<&str> = each.into_iter().chain(its_own).collect();
        let count = if tests.len() < WORTH_PARTS { 1 } else { PARTS };
        for part in 0..count {
            let tests = tests.iter().skip(part).step_by(count).map(|&test| test.to_owned());
            parts.push(Part { program: program.clone(), tests: tests.collect() });
        }
    }
    parts.retain(|part| !part.tests.is_empty());
    Ok(parts)
}

fn timed(kernel: &Kernel, part: &Part) -> Ran {
    let start = Instant::now();
    let (counts, well) = in_vm(kernel, part)?;
    Ok((counts, well, start.elapsed()))
}

fn in_vm(kernel: &Kernel, part: &Part) -> Result<(Counts, bool)> {
    let me = std::env::current_exe().context("find xtask itself")?;
    let mut command = Command::new(me);
    command.args(["vm", "--no-build", "--timeout", &TIME_LIMIT.to_string()]);
    command.arg("--kernel").arg(&kernel.image);
    command.arg("--").arg(&part.program).args(["--test-threads=1", "--exact"]).args(&part.tests);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    // The system's programs, and not the start scripts that version managers put before them:
    // of those, one takes an emulation seconds.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{SYSTEM}:{path}"));
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
