//! The list of what the project needs: how to tell that it is there, and how to get it.

use std::fs;
use std::path::Path;

use super::Scope;
use crate::process;
use crate::toolchain::{self, Toolchain};
use crate::vm;

/// Something that is missing.
#[derive(Debug)]
pub(super) struct Need {
    /// What it is, for people.
    pub(super) what: &'static str,
    /// Debian's packages that bring it.
    pub(super) packages: Vec<&'static str>,
    /// It is bpf-linker, which is compiled.
    pub(super) linker: bool,
    /// How to get it by hand, anywhere.
    pub(super) command: &'static str,
}

impl Need {
    fn packages(what: &'static str, packages: &[&'static str], command: &'static str) -> Self {
        Self { what, packages: packages.to_vec(), linker: false, command }
    }
}

/// Programs the VM lab runs: program, what it is for, package, how to get it elsewhere.
const PROGRAMS: &[(&str, &str, &str, &str)] = &[
    (
        "qemu-system-x86_64",
        "QEMU for x86-64, which the VM lab runs on",
        "qemu-system-x86",
        "install your distribution's QEMU (dnf install qemu-system-x86, pacman -S qemu-base)",
    ),
    ("depmod", "depmod, for the VM's kernel modules", "kmod", "install your distribution's kmod"),
    ("ip", "ip, for networks in the VM", "iproute2", "install your distribution's iproute2"),
    (
        "dnsmasq",
        "dnsmasq, which answers for names in the VM",
        "dnsmasq-base",
        "install your distribution's dnsmasq",
    ),
    (
        "musl-gcc",
        "musl, whose programs ask for names in their own way",
        "musl-tools",
        "install your distribution's musl compiler wrapper",
    ),
];

/// What is in scope and not there.
pub(super) fn missing(scope: Scope) -> Vec<Need> {
    let mut missing = build();
    if scope == Scope::Everything {
        missing.extend(lab());
    }
    missing
}

fn build() -> Vec<Need> {
    let mut missing = Vec::new();
    if Toolchain::find().is_none() {
        missing.push(Need::packages(
            "a Rust that compiles for the kernel",
            &["rustc-web", "libstd-rust-web-dev-bpf"],
            "rustup component add rust-src",
        ));
    }
    if toolchain::linker().is_none() {
        missing.push(Need {
            what: "bpf-linker",
            packages: process::find("c++").is_none().then_some("g++").into_iter().collect(),
            linker: true,
            command: "cargo install bpf-linker (or your distribution's package)",
        });
    }
    missing
}

fn lab() -> Vec<Need> {
    let mut missing: Vec<Need> = PROGRAMS
        .iter()
        .filter(|(program, ..)| process::find(program).is_none())
        .map(|(_, what, package, command)| Need::packages(what, &[package], command))
        .collect();
    if vm::find_file_server().is_err() {
        let package = if has_package("virtiofsd") { "virtiofsd" } else { "qemu-system-common" };
        missing.push(Need::packages(
            "virtiofsd, which shows this host's files to the VM",
            &[package],
            "install your distribution's virtiofsd",
        ));
    }
    missing
}

/// From QEMU 8 on, virtiofsd is a package of its own: Debian 13, Ubuntu 24.04.
fn has_package(name: &str) -> bool {
    let mut show = std::process::Command::new("apt-cache");
    process::output(show.args(["show", "--no-all-versions", name])).is_ok()
}

/// An installed LLVM to compile against, not older than `wanted`.
pub(super) fn llvm_at_least(wanted: u32) -> Option<u32> {
    let installed = fs::read_dir("/usr/lib").ok()?;
    installed
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.strip_prefix("llvm-")?.parse().ok()?;
            let headers = Path::new("/usr/lib").join(entry.file_name()).join("include/llvm-c");
            (version >= wanted && headers.is_dir()).then_some(version)
        })
        .min()
}
