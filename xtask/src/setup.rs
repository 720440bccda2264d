//! Finds what the project needs on this machine, and installs what is missing.

mod needs;

use std::io::{IsTerminal, stdin};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use crate::process;
use crate::progress;
use crate::toolchain::{self, Toolchain};
use needs::Need;

/// The collector that OTLP is tried against.
const ROTEL: &str = "rotel==0.0.1a15";

/// What a task needs from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Compiling the kernel programs and the daemon.
    Build,
    /// That, and the programs that tests on this machine run.
    Tests,
    /// That, and the VM lab.
    Everything,
}

/// Makes sure that everything in scope is there; quick when it is.
pub(crate) fn ensure(scope: Scope) -> Result<()> {
    let missing = needs::missing(scope);
    if missing.is_empty() {
        return Ok(());
    }
    if process::find("apt-get").is_none() {
        bail!(advice(&missing, "this machine has no apt"));
    }
    let Some(root) = as_root() else {
        bail!(advice(&missing, "installing needs root or sudo"));
    };
    install(&missing, &root)?;
    let still = needs::missing(scope);
    if !still.is_empty() {
        bail!(advice(&still, "installing did not help"));
    }
    Ok(())
}

/// `cargo xtask setup`: the same, and says what is there.
pub(crate) fn run(check: bool) -> Result<()> {
    if check {
        let missing = needs::missing(Scope::Everything);
        if !missing.is_empty() {
            bail!(advice(&missing, "not everything is here"));
        }
    } else {
        ensure(Scope::Everything)?;
    }
    let toolchain = Toolchain::find().context("no Rust that compiles for the kernel")?;
    eprintln!("setup: complete; kernel programs are built by {}", toolchain.describe());
    Ok(())
}

fn advice(missing: &[Need], why: &str) -> String {
    let apt = process::find("apt-get").is_some();
    let mut text = format!("{why}; missing:");
    for need in missing {
        let command = if apt && !need.packages.is_empty() {
            format!("apt-get install {}", need.packages.join(" "))
        } else {
            need.command.to_owned()
        };
        text.push_str(&format!("\n  {}\n      {command}", need.what));
    }
    text
}

/// The words that make a command run as root: none for root itself.
fn as_root() -> Option<Vec<&'static str>> {
    if geteuid().is_root() {
        return Some(Vec::new());
    }
    process::find("sudo")?;
    // Where nobody can type a password, sudo must not ask for one.
    Some(if stdin().is_terminal() { vec!["sudo"] } else { vec!["sudo", "-n"] })
}

fn install(missing: &[Need], root: &[&str]) -> Result<()> {
    let packages: Vec<&str> =
        missing.iter().flat_map(|need| need.packages.iter().copied()).collect();
    if !packages.is_empty() {
        let bar = progress::spinner("setup: reading the package lists");
        apt(root, &["update", "-q"]).context("apt-get update (is the network there?)")?;
        bar.set_message(format!("setup: installing {}", packages.join(" ")));
        let mut words = vec!["install", "-q", "-y", "--no-install-recommends"];
        words.extend(&packages);
        apt(root, &words)?;
        bar.finish_and_clear();
        eprintln!("setup: installed {}", packages.join(" "));
    }
    if missing.iter().any(|need| need.linker) {
        linker(root)?;
    }
    if missing.iter().any(|need| need.collector) {
        rotel()?;
    }
    Ok(())
}

fn apt(root: &[&str], words: &[&str]) -> Result<()> {
    let mut line = root.to_vec();
    line.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    line.extend(words);
    let (program, args) = line.split_first().context("an empty command")?;
    process::output(Command::new(program).args(args).stdin(Stdio::null())).map(drop)
}

/// bpf-linker is compiled here, against an LLVM that is not older than rustc's.
fn linker(root: &[&str]) -> Result<()> {
    let wanted = Toolchain::find().context("no Rust that compiles for the kernel")?.llvm()?;
    let llvm = match needs::llvm_at_least(wanted) {
        Some(found) => found,
        None => {
            let package = format!("llvm-{wanted}-dev");
            let bar = progress::spinner(&format!("setup: installing {package}"));
            apt(root, &["install", "-q", "-y", "--no-install-recommends", &package])?;
            bar.finish_and_clear();
            wanted
        }
    };
    let bar = progress::spinner("setup: compiling bpf-linker (about a minute)");
    let mut cargo = crate::workspace::cargo_elsewhere();
    cargo.args(["install", "--quiet", "bpf-linker", "--no-default-features", "--features"]);
    cargo.arg(format!("llvm-{llvm}")).env("LLVM_PREFIX", format!("/usr/lib/llvm-{llvm}"));
    process::output(&mut cargo)?;
    bar.finish_and_clear();
    eprintln!("setup: installed bpf-linker");
    Ok(())
}

/// Rotel comes as a Python package with a program in it.
fn rotel() -> Result<()> {
    let bar = progress::spinner("setup: installing Rotel");
    let place = needs::rotel();
    needs::python(&["-m", "venv", &place.to_string_lossy()])?;
    let mut pip = Command::new(place.join("bin").join("pip"));
    process::output(pip.args(["install", "--quiet", ROTEL]).stdin(Stdio::null()))?;
    bar.finish_and_clear();
    eprintln!("setup: installed Rotel");
    Ok(())
}

/// Gets cargo-deny, which takes minutes to compile and which only `lint` uses.
pub(crate) fn cargo_deny() -> Result<()> {
    if find_cargo_deny().is_some() {
        return Ok(());
    }
    let bar = progress::spinner("lint: compiling cargo-deny (some minutes)");
    let mut cargo = crate::workspace::cargo_elsewhere();
    // Unoptimised, it compiles in a third of the time and is quick enough.
    process::output(cargo.args(["install", "--quiet", "--debug", "--locked", "cargo-deny"]))?;
    bar.finish_and_clear();
    Ok(())
}

/// cargo-deny, if it is installed.
pub(crate) fn find_cargo_deny() -> Option<PathBuf> {
    let file = toolchain::cargo_bin().join("cargo-deny");
    process::executable(&file).then_some(file).or_else(|| process::find("cargo-deny"))
}
