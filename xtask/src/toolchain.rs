//! Finds a Rust that can compile for the kernel: one with a ready-made `core` for BPF
//! (Debian's packages), or a rustup toolchain with `rust-src`, which builds `core` itself.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// The kernel's own processor, little-endian.
pub(crate) const TARGET: &str = "bpfel-unknown-none";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// A compiler that was found, and how it gets at `core`.
#[derive(Debug)]
pub(crate) enum Toolchain {
    /// This rustc has `core` for BPF beside it.
    Prebuilt(PathBuf),
    /// The rustup toolchain of this name (none: the one in use) has `rust-src`.
    BuildStd(Option<String>),
}

impl Toolchain {
    /// Looks for one; the ready-made `core` first, because it builds sooner.
    pub(crate) fn find() -> Option<Self> {
        let debian = Path::new(DEBIAN_RUSTC);
        if process::executable(debian) && has_core(Path::new("/usr")) {
            return Some(Self::Prebuilt(debian.to_path_buf()));
        }
        [None, Some("nightly".to_owned())]
            .into_iter()
            .find(|name| sysroot(name.as_deref()).is_some_and(|root| has_source(&root)))
            .map(Self::BuildStd)
    }

    /// What to call it in messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Prebuilt(rustc) => format!("{} with a ready-made core", rustc.display()),
            Self::BuildStd(None) => "rustup's current toolchain with rust-src".to_owned(),
            Self::BuildStd(Some(name)) => format!("rustup's {name} with rust-src"),
        }
    }

    /// The major version of the LLVM in it; the linker's must not be older.
    pub(crate) fn llvm(&self) -> Result<u32> {
        let mut rustc = match self {
            Self::Prebuilt(path) => Command::new(path),
            Self::BuildStd(name) => rustc(name.as_deref()),
        };
        let told = process::output(rustc.arg("-vV"))?;
        told.lines()
            .find_map(|line| line.strip_prefix("LLVM version: ")?.split('.').next()?.parse().ok())
            .context("rustc -vV does not name its LLVM")
    }

    /// Makes a cargo command use it. What a person's own set-up or the surrounding
    /// `cargo run` says about compiling is meant for the host, and is taken out.
    pub(crate) fn apply(&self, cargo: &mut Command) {
        for name in ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET"]
        {
            cargo.env_remove(name);
        }
        // Neither compiler is a nightly; building for BPF needs a nightly's freedoms.
        cargo.env("RUSTC_BOOTSTRAP", "1").args(["--target", TARGET]);
        match self {
            Self::Prebuilt(rustc) => {
                cargo.env("RUSTC", rustc);
            }
            Self::BuildStd(name) => {
                cargo.env_remove("RUSTC").args(["-Z", "build-std=core"]);
                if let Some(name) = name {
                    cargo.env("RUSTUP_TOOLCHAIN", name);
                }
            }
        }
    }
}

fn rustc(toolchain: Option<&str>) -> Command {
    let mut rustc = Command::new("rustc");
    if let Some(name) = toolchain {
        rustc.env("RUSTUP_TOOLCHAIN", name);
    }
    // Never fetch a toolchain only to look at it.
    rustc.env("RUSTUP_AUTO_INSTALL", "0");
    rustc
}

fn sysroot(toolchain: Option<&str>) -> Option<PathBuf> {
    let told = process::output(rustc(toolchain).args(["--print", "sysroot"])).ok()?;
    Some(PathBuf::from(told.trim()))
}

fn has_core(prefix: &Path) -> bool {
    let libs = prefix.join("lib/rustlib").join(TARGET).join("lib");
    fs::read_dir(libs).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
    })
}

fn has_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").is_file()
}

/// The processor and system that the toolchain in use compiles for by itself.
pub(crate) fn host() -> Result<String> {
    let told = process::output(rustc(None).arg("-vV"))?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV does not name its host")
}

/// Where `cargo install` puts programs; it need not be on PATH.
pub(crate) fn cargo_bin() -> PathBuf {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| Some(env::home_dir()?.join(".cargo"))).unwrap_or_default().join("bin")
}

/// The BPF linker, wherever it was installed.
pub(crate) fn linker() -> Option<PathBuf> {
    process::find("bpf-linker").or_else(|| {
        let file = cargo_bin().join("bpf-linker");
        process::executable(&file).then_some(file)
    })
}
