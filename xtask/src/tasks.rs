//! Puts each task together from the parts: what must be there, what is built, what runs.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cli::{Task, TestArgs, VmArgs};
use crate::setup::{self, Scope};
use crate::vm::kernel;
use crate::vm::{self, Job, PassOn, VmOptions};
use crate::{compile, fuzz, lint, process, suite, workspace};

/// What CMD may take in the VM when the person does not say.
const TIME_LIMIT: u64 = 300;
/// The benchmark's program.
const BENCH: &str = "agentguard-bench";

/// Does the task; the result is the exit code.
pub(crate) fn run(task: Task) -> Result<i32> {
    match task {
        Task::Setup { check } => setup::run(check).map(|()| 0),
        Task::Build { debug, release: _ } => build(debug).map(|()| 0),
        Task::Load { matrix: true, .. } => load_in_vm("all"),
        Task::Load { kernel: Some(kernel), .. } => load_in_vm(&kernel),
        Task::Load { .. } => agentguard(&["load".to_owned()]),
        Task::Run { args } => agentguard(&args),
        Task::Lint { install } => {
            setup::ensure(Scope::Build)?;
            lint::run(install).map(|()| 0)
        }
        Task::Test(args) => test(args),
        Task::Fuzz { seconds, target } => fuzz::run(target.as_deref(), seconds).map(|()| 0),
        Task::Demo { kernel } => demo(&kernel),
        Task::Vm(args) => in_vm(args),
        Task::Bench { args } => bench(&args),
        Task::ServeFs { fd, dir } => vm::become_server(fd, dir.as_deref()).map(|()| 0),
    }
}

fn build(debug: bool) -> Result<()> {
    setup::ensure(Scope::Build)?;
    compile::all(debug)
}

/// Becomes the daemon's program; comes back only if that fails.
fn agentguard(args: &[String]) -> Result<i32> {
    build(false)?;
    let program = workspace::bin_dir(false).join("agentguard");
    let error = Command::new(&program).args(args).exec();
    Err(error).with_context(|| format!("run {}", program.display()))
}

fn load_in_vm(kernel: &str) -> Result<i32> {
    let command = ["agentguard", "load"].map(str::to_owned).to_vec();
    boot(kernel, command)
}

fn demo(kernel: &str) -> Result<i32> {
    let script = workspace::root().join("tests/demo.sh");
    boot(kernel, vec!["bash".to_owned(), script.display().to_string()])
}

/// Builds, and runs a command of the project's own in the VM.
fn boot(kernel: &str, command: Vec<String>) -> Result<i32> {
    in_vm(VmArgs {
        kernel: kernel.to_owned(),
        timeout: None,
        shell: false,
        refresh: false,
        no_build: false,
        options: VmOptions::default(),
        command,
    })
}

fn test(args: TestArgs) -> Result<i32> {
    // Without a choice, everything.
    let (unit, e2e) = if args.unit || args.e2e { (args.unit, args.e2e) } else { (true, true) };
    setup::ensure(if e2e { Scope::Everything } else { Scope::Tests })?;
    let kernels = kernel::names(&args.kernel);
    let passed = suite::run(&suite::Choice { unit, e2e, kernels, filter: args.filter })?;
    Ok(i32::from(!passed))
}

fn in_vm(args: VmArgs) -> Result<i32> {
    setup::ensure(Scope::Everything)?;
    if !args.no_build {
        compile::all(false)?;
    }
    let mut command = args.command;
    if command.is_empty() {
        command = ["bash", "-i"].map(str::to_owned).to_vec();
    }
    let limit = args.timeout.or((!args.shell).then_some(TIME_LIMIT)).map(Duration::from_secs);
    let job = Job { command, shell: args.shell, timeout: limit };
    let names = kernel::names(&args.kernel);
    let mut results = Vec::new();
    for name in &names {
        let kernel = kernel::resolve(name, args.refresh)?;
        if names.len() > 1 {
            println!("== kernel {}", kernel.name);
        }
        let ending = vm::run(&args.options, &kernel, &job, &mut PassOn)?;
        results.push((kernel.name, ending.code()));
        if matches!(ending, vm::Ending::Interrupted(_)) {
            break;
        }
    }
    if names.len() > 1 {
        println!("== summary");
        for (kernel, code) in &results {
            println!("kernel {kernel}: exit code {code}");
        }
    }
    Ok(results.iter().map(|(_, code)| *code).max().unwrap_or(vm::EXIT_NO_START))
}

fn bench(args: &[String]) -> Result<i32> {
    build(false)?;
    let object = compile::bench_object()?;
    let mut cargo = workspace::cargo_with_bpf();
    cargo.args(["build", "--release", "--package", "agentguard-tests", "--bin", BENCH]);
    process::run(&mut cargo).context("build the benchmark")?;
    // Its exit code says whether the goals were met.
    let program = workspace::bin_dir(false).join(BENCH);
    let error = Command::new(&program).args(args).env("AGENTGUARD_BENCH_OBJECT", object).exec();
    Err(error).with_context(|| format!("run {}", program.display()))
}
