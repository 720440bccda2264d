//! Runs the fuzzer's targets (`tests/fuzz`), each for a bounded time.
//!
//! The fuzzer is LLVM's libFuzzer, which the crate libfuzzer-sys compiles and which looks
//! for bytes that lead to code not seen before. It needs the counters that LLVM can put into
//! the code, and nothing of a nightly: there is no sanitizer beside it, for the code under
//! test is safe Rust, built with checks for overflow.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::progress;
use crate::toolchain;
use crate::workspace;

/// What cargo-fuzz passes to the compiler, without a sanitizer.
const FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];
/// Seconds that one input may take.
const TIME_LIMIT: u32 = 5;

/// Tries the target, or each of them, for so many seconds. The first that finds something
/// ends it.
pub(crate) fn run(target: Option<&str>, seconds: u32) -> Result<()> {
    let all = targets()?;
    let chosen: Vec<&String> =
        all.iter().filter(|name| target.is_none_or(|target| target == *name)).collect();
    if chosen.is_empty() {
        bail!("no such target; there are: {}", all.join(", "));
    }
    if process::find("c++").is_none() {
        bail!("a C++ compiler, for libFuzzer, is missing; `apt-get install g++` gets one");
    }
    let programs = build()?;
    for name in chosen {
        try_out(name, &programs.join(name), seconds)?;
    }
    Ok(())
}

/// The folder of the targets' crate.
fn folder() -> PathBuf {
    workspace::root().join("tests/fuzz")
}

/// The folder of its build, and of what the fuzzer finds.
fn output() -> PathBuf {
    workspace::target().join("fuzz")
}

/// The targets' names, in order.
fn targets() -> Result<Vec<String>> {
    let folder = folder().join("src/bin");
    let entries = fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// Builds all targets; where they are.
fn build() -> Result<PathBuf> {
    let host = toolchain::host()?;
    let bar = progress::spinner("fuzz: building (about a minute the first time)");
    let mut cargo = workspace::cargo();
    // Flags for a named target leave build scripts alone, which have no fuzzer in them.
    cargo.args(["build", "--release", "--locked", "--target", &host]).current_dir(folder());
    cargo.arg("--target-dir").arg(output());
    for name in ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(name);
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    process::output(&mut cargo).context("build the fuzzer's targets")?;
    bar.finish_and_clear();
    Ok(output().join(host).join("release"))
}

/// Runs one target; an error if it found something.
fn try_out(name: &str, program: &Path, seconds: u32) -> Result<()> {
    // What it learns stays there, for the next time.
    let learned = output().join("corpus").join(name);
    let found = output().join("found").join(name);
    for folder in [&learned, &found] {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let log = output().join(format!("{name}.log"));
    let file = File::create(&log).with_context(|| format!("make {}", log.display()))?;
    let bar = progress::spinner(&format!("fuzz: trying {name} for {seconds} s"));
    let mut command = Command::new(program);
    command.arg(&learned).arg(folder().join("seeds").join(name));
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-timeout={TIME_LIMIT}"));
    command.arg(format!("-artifact_prefix={}/", found.display()));
    // Where something is found, the stack says where.
    command.env("RUST_BACKTRACE", "1").stderr(file);
    let status = command.status().with_context(|| format!("start {}", program.display()))?;
    bar.finish_and_clear();
    let told = fs::read(&log).with_context(|| format!("read {}", log.display()))?;
    let told = String::from_utf8_lossy(&told);
    let runs = told.lines().find_map(|line| line.strip_prefix("Done ")?.split(' ').next());
    match runs.filter(|_| status.success()) {
        Some(runs) => {
            println!("fuzz {name}: {runs} inputs in {seconds} s, nothing found");
            Ok(())
        }
        None => {
            // Lines with a number sign tell of progress alone.
            told.lines().filter(|line| !line.starts_with('#')).for_each(|line| eprintln!("{line}"));
            bail!(
                "fuzz {name}: something was found ({status}); the input is in {}, and to try \
                 it again: {} FILE",
                found.display(),
                program.display()
            )
        }
    }
}
