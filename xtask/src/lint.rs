//! Format, clippy and the dependency rules.

use anyhow::{Context, Result};

use crate::compile;
use crate::process;
use crate::setup;
use crate::workspace;

/// Runs every check; the first that fails ends it.
pub(crate) fn run(install: bool) -> Result<()> {
    if install {
        setup::cargo_deny()?;
    }
    process::run(workspace::cargo().args(["fmt", "--all", "--check"]))
        .context("the format differs: run `cargo fmt --all`")?;
    let fuzz = ["fmt", "--check", "--manifest-path", "tests/fuzz/Cargo.toml"];
    process::run(workspace::cargo().args(fuzz))
        .context("the format differs: run `cargo fmt` in tests/fuzz")?;
    // The daemon's build script wants the kernel programs.
    compile::kernel_object()?;
    let deny_warnings = ["--", "-D", "warnings"];
    let mut host = workspace::cargo_with_bpf();
    host.args(["clippy", "--workspace", "--exclude", "agentguard-ebpf", "--all-targets"]);
    process::run(host.args(deny_warnings)).context("clippy on the host's crates")?;
    // Clippy exists for the host's compiler only. The kernel programs compile for the
    // host too, as far as clippy needs, once nothing wants to unwind.
    let mut kernel = workspace::cargo();
    kernel.args([
        "clippy",
        "--package",
        "agentguard-ebpf",
        "--config",
        "profile.dev.panic='abort'",
    ]);
    kernel.arg("--target-dir").arg(workspace::target().join("bpf-lint"));
    process::run(kernel.args(deny_warnings)).context("clippy on the kernel programs")?;
    dependencies()
}

/// Licences, duplicates and sources. Known vulnerabilities need a database from the
/// network, and a check that can fail without a change is no check of a change.
fn dependencies() -> Result<()> {
    if setup::find_cargo_deny().is_none() {
        eprintln!("cargo-deny is not installed: skipped (`cargo xtask lint --install` gets it)");
        return Ok(());
    }
    let mut deny = workspace::cargo();
    deny.args(["deny", "--all-features", "check", "bans", "licenses", "sources"]);
    process::run(&mut deny).context("the rules in deny.toml")
}
