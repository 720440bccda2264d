//! Builds the kernel programs, and then the daemon that carries them inside itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;
use crate::toolchain::{self, TARGET, Toolchain, cargo_bin};
use crate::workspace;

const PACKAGE: &str = "agentguard-ebpf";
/// The programs that the benchmark measures, a second program of that package.
const BENCH: &str = "agentguard-ebpf-bench";

/// Builds everything a person runs.
pub(crate) fn all(debug: bool) -> Result<()> {
    kernel_object()?;
    let mut cargo = workspace::cargo_with_bpf();
    cargo.args(["build", "--package", "agentguard"]);
    if !debug {
        cargo.arg("--release");
    }
    process::run(&mut cargo).context("build the daemon")
}

/// Builds the kernel programs, and puts them where the daemon's build script looks.
pub(crate) fn kernel_object() -> Result<()> {
    publish(&object(PACKAGE)?)
}

/// Builds the programs that the benchmark measures; where they are.
pub(crate) fn bench_object() -> Result<PathBuf> {
    object(BENCH)
}

/// Builds one of the kernel crate's programs.
fn object(name: &str) -> Result<PathBuf> {
    let toolchain = Toolchain::find()
        .context("no Rust that compiles for the kernel: run `cargo xtask setup`")?;
    let linker = toolchain::linker().context("bpf-linker is missing: run `cargo xtask setup`")?;
    let mut cargo = bpf_cargo("build", &toolchain);
    cargo.args(["--bin", name]);
    // LSM programs do not load without type information (BTF), which is made from
    // debug information.
    let mut flags = vec!["-Cdebuginfo=2".to_owned(), "-Clink-arg=--btf".to_owned()];
    flags.push(format!("-Clinker={}", linker.display()));
    flags.extend(remapped());
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    process::run(&mut cargo)
        .with_context(|| format!("build the kernel programs with {}", toolchain.describe()))?;
    Ok(workspace::target().join("bpf").join(TARGET).join("release").join(name))
}

/// A cargo command on the kernel programs, for their own target.
fn bpf_cargo(task: &str, toolchain: &Toolchain) -> Command {
    let mut cargo = workspace::cargo();
    cargo.args([task, "--release", "--package", PACKAGE]);
    // Apart from the host's builds, which have other flags.
    cargo.arg("--target-dir").arg(workspace::target().join("bpf"));
    toolchain.apply(&mut cargo);
    cargo
}

/// The same source makes the same object wherever it is built.
fn remapped() -> Vec<String> {
    let cargo_home = cargo_bin().parent().map(|home| (home.display().to_string(), "/cargo"));
    let root = (workspace::root().display().to_string(), "/agentguard");
    [Some(root), cargo_home]
        .into_iter()
        .flatten()
        .map(|(from, to)| format!("--remap-path-prefix={from}={to}"))
        .collect()
}

/// Copies the object only when it changed, so that the daemon is not rebuilt for nothing.
fn publish(from: &Path) -> Result<()> {
    let to = workspace::bpf_object();
    let new = fs::read(from).with_context(|| format!("read {}", from.display()))?;
    if fs::read(&to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(&to, new).with_context(|| format!("write {}", to.display()))
}
