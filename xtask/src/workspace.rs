//! Where things are: the repository, the target directory, the built kernel object.

use std::env;
use std::io::{IsTerminal, stderr};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's top folder.
pub(crate) fn root() -> PathBuf {
    // At run time cargo says which clone it works in; one target directory may serve several.
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map_or_else(|| manifest.clone(), Path::to_path_buf)
}

/// Cargo's target directory, absolute.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => env::current_dir().unwrap_or_default().join(dir),
        None => root().join("target"),
    }
}

/// The folder of the daemon's build.
pub(crate) fn bin_dir(debug: bool) -> PathBuf {
    target().join(if debug { "debug" } else { "release" })
}

/// The kernel programs, as the daemon's build script takes them in.
pub(crate) fn bpf_object() -> PathBuf {
    target().join("bpf").join("agentguard-ebpf.o")
}

/// A cargo command in the repository, for the toolchain the person uses.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The directory is made absolute because the command runs elsewhere.
    cargo.current_dir(root()).env("CARGO_TARGET_DIR", target());
    // A script that reads what its command says should not read what cargo says.
    if !stderr().is_terminal() {
        cargo.env("CARGO_TERM_QUIET", "true");
    }
    cargo
}

/// The same, with the kernel object where the daemon's build script looks for it.
pub(crate) fn cargo_with_bpf() -> Command {
    let mut cargo = cargo();
    cargo.env("AGENTGUARD_EBPF_OBJECT", bpf_object());
    cargo
}

/// A cargo command that has nothing to do with the repository: `cargo install`.
pub(crate) fn cargo_elsewhere() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // A private target directory, lest the program's build mix with the workspace's.
    cargo.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
    cargo
}
