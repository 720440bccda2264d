//! Runs the tests: unit and property tests here, and those of parts against other
//! programs; end-to-end tests in the VM on each kernel; and adds up what they reported.

mod lab;
mod tally;

use std::io::{Read, Write, stdout};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::compile;
use crate::process;
use crate::vm::kernel::{self, Kernel};
use crate::workspace;
use tally::{Counts, Tally};

/// The package of the end-to-end tests.
const PACKAGE: &str = "agentguard-tests";
/// The one of its test programs that needs no VM.
const HOST: &str = "host";

/// Which tests to run.
pub(crate) struct Choice {
    /// Unit and property tests.
    pub(crate) unit: bool,
    /// End-to-end tests.
    pub(crate) e2e: bool,
    /// Kernels for the latter.
    pub(crate) kernels: Vec<String>,
    /// Part of a test's name.
    pub(crate) filter: Option<String>,
}

/// Runs the chosen tests; says whether all passed.
pub(crate) fn run(choice: &Choice) -> Result<bool> {
    compile::kernel_object()?;
    let mut total = Counts::default();
    let mut lines = Vec::new();
    let mut sound = true;
    if choice.unit {
        let start = Instant::now();
        let (mut counts, mut well) = unit(choice.filter.as_deref())?;
        let (more, as_well) = host(choice.filter.as_deref())?;
        counts.add(more);
        well &= as_well;
        lines.push(format!("unit: {counts} in {} s", start.elapsed().as_secs()));
        total.add(counts);
        sound &= well;
    }
    if choice.e2e {
        let programs = programs()?;
        // Fetched one after another: apt does not share its lists.
        let resolved = choice.kernels.iter().map(|name| kernel::resolve(name, false));
        let kernels = resolved.collect::<Result<Vec<Kernel>>>()?;
        for (kernel, ran) in
            kernels.iter().zip(lab::run(&kernels, &programs, choice.filter.as_deref()))
        {
            let (counts, well, time) = ran?;
            lines.push(format!("kernel {}: {counts} in {} s", kernel.name, time.as_secs()));
            total.add(counts);
            sound &= well;
        }
    }
    println!();
    for line in lines {
        println!("{line}");
    }
    println!("{total}");
    if total.ran() == 0 {
        eprintln!("no test ran: that is not a success");
    }
    Ok(sound && total.failed == 0 && total.ran() > 0)
}

fn unit(filter: Option<&str>) -> Result<(Counts, bool)> {
    native(&["--workspace", "--exclude", "agentguard-ebpf", "--exclude", PACKAGE], filter)
}

/// Tests of parts against the programs that they work with.
fn host(filter: Option<&str>) -> Result<(Counts, bool)> {
    native(&["--release", "--package", PACKAGE, "--test", HOST], filter)
}

/// Runs tests here.
fn native(which: &[&str], filter: Option<&str>) -> Result<(Counts, bool)> {
    let mut cargo = workspace::cargo_with_bpf();
    cargo.args(["test", "--no-fail-fast"]).args(which).args(filter);
    let mut child =
        cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("start cargo test")?;
    let mut tally = Tally::default();
    let mut out = child.stdout.take().context("cargo test's output")?;
    let mut bytes = vec![0; 8192];
    loop {
        let count = out.read(&mut bytes).context("read cargo test's output")?;
        let Some(piece) = bytes.get(..count).filter(|piece| !piece.is_empty()) else { break };
        stdout().write_all(piece).context("pass on cargo test's output")?;
        tally.push(piece);
    }
    let status = child.wait().context("wait for cargo test")?;
    Ok((tally.close(status.success()), status.success()))
}

/// Builds the end-to-end tests and finds their programs.
fn programs() -> Result<Vec<PathBuf>> {
    // The daemon they try is the one on the VM's PATH.
    compile::all(false)?;
    let mut cargo = workspace::cargo_with_bpf();
    cargo.args(["test", "--release", "--no-run", "--package", PACKAGE]);
    cargo.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let told = process::output(&mut cargo).context("build the end-to-end tests")?;
    let mut programs: Vec<PathBuf> = told.lines().filter_map(test_program).collect();
    programs.sort();
    if programs.is_empty() {
        bail!("package {PACKAGE} has no test programs (files in tests/tests/)");
    }
    Ok(programs)
}

/// One of cargo's messages, if it announces an integration test.
fn test_program(line: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let target = message.get("target")?;
    let kinds = target.get("kind")?.as_array()?;
    if !kinds.iter().any(|kind| kind == "test") || target.get("name")? == HOST {
        return None;
    }
    Some(PathBuf::from(message.get("executable")?.as_str()?))
}
