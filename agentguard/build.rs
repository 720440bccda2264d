//! Puts the kernel programs into the daemon. `cargo xtask build` builds them and
//! names the object in `AGENTGUARD_EBPF_OBJECT`; without that, what the last
//! build left in the target folder is taken. Where there is none, the daemon still
//! compiles (for lints and unit tests) and says at start what is missing.

use std::path::{Path, PathBuf};

fn main() {
    if std::env::var_os("CARGO_FEATURE_DAEMON").is_none() {
        return;
    }
    println!("cargo:rerun-if-env-changed=AGENTGUARD_EBPF_OBJECT");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let object =
        std::env::var_os("AGENTGUARD_EBPF_OBJECT").map_or_else(|| left(&out), PathBuf::from);
    println!("cargo:rerun-if-changed={}", object.display());
    let bytes = std::fs::read(&object).unwrap_or_default();
    if bytes.is_empty() {
        println!(
            "cargo:warning=no kernel programs at {}: run `cargo xtask build`",
            object.display()
        );
    }
    if let Err(error) = std::fs::write(out.join("agentguard-ebpf.o"), bytes) {
        println!("cargo:error=cannot write the kernel programs to {}: {error}", out.display());
    }
}

/// `<target>/bpf/agentguard-ebpf.o`, from `<target>/<profile>/build/<package>/out`.
fn left(out: &Path) -> PathBuf {
    out.ancestors().nth(4).unwrap_or(out).join("bpf/agentguard-ebpf.o")
}
