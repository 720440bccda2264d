//! The list of what the project needs: how to tell that it is there, and how to get it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use super::Scope;
use crate::process;
use crate::toolchain::{self, Toolchain};
use crate::vm;
use crate::workspace;

/// Something that is missing.
#[derive(Debug)]
pub(super) struct Need {
    /// What it is, for people.
    pub(super) what: &'static str,
    /// Debian's packages that bring it.
    pub(super) packages: Vec<&'static str>,
    /// It is bpf-linker, which is compiled.
    pub(super) linker: bool,
    /// It is Rotel, which Python's package index has.
    pub(super) collector: bool,
    /// How to get it by hand, anywhere.
    pub(super) command: &'static str,
}

impl Need {
    fn packages(what: &'static str, packages: &[&'static str], command: &'static str) -> Self {
        Self { what, packages: packages.to_vec(), linker: false, collector: false, command }
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

/// Where distributions have rsyslog's module for TLS.
const RSYSLOG_TLS: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_gtls.so",
    "/usr/lib64/rsyslog/lmnsd_gtls.so",
    "/usr/lib/rsyslog/lmnsd_gtls.so",
];

/// Programs that tests run on this machine, and in the VM too: the same.
const PEERS: &[(&str, &str, &str, &str)] = &[
    (
        "promtool",
        "Prometheus and promtool, which read the metrics",
        "prometheus",
        "install your distribution's Prometheus, with promtool",
    ),
    (
        "prometheus-alertmanager",
        "Alertmanager, which gets alerts",
        "prometheus-alertmanager",
        "install your distribution's Alertmanager, under this name",
    ),
    ("rsyslogd", "rsyslog, which gets events", "rsyslog", "install your distribution's rsyslog"),
];

/// What is in scope and not there.
pub(super) fn missing(scope: Scope) -> Vec<Need> {
    let mut missing = build();
    if scope != Scope::Build {
        missing.extend(programs(PEERS));
        if !RSYSLOG_TLS.iter().any(|file| Path::new(file).exists()) {
            missing.push(Need::packages(
                "rsyslog's TLS",
                &["rsyslog-gnutls"],
                "install your distribution's rsyslog-gnutls",
            ));
        }
    }
    if scope == Scope::Everything {
        missing.extend(lab());
    }
    missing
}

/// Those of the programs that are not there.
fn programs(wanted: &'static [(&str, &str, &str, &str)]) -> impl Iterator<Item = Need> + 'static {
    wanted
        .iter()
        .filter(|(program, ..)| process::find(program).is_none())
        .map(|(_, what, package, command)| Need::packages(what, &[package], command))
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
            collector: false,
            command: "cargo install bpf-linker (or your distribution's package)",
        });
    }
    missing
}

fn lab() -> Vec<Need> {
    let mut missing: Vec<Need> = programs(PROGRAMS).collect();
    if vm::find_file_server().is_err() {
        let package = if has_package("virtiofsd") { "virtiofsd" } else { "qemu-system-common" };
        missing.push(Need::packages(
            "virtiofsd, which shows this host's files to the VM",
            &[package],
            "install your distribution's virtiofsd",
        ));
    }
    if find_rotel().is_none() {
        let ready = python(&["-c", "import ensurepip, venv"]).is_ok();
        missing.push(Need {
            what: "Rotel, the OpenTelemetry collector of the tests",
            packages: if ready { Vec::new() } else { vec!["python3-venv"] },
            linker: false,
            collector: true,
            command: "python3 -m venv target/tools/rotel && target/tools/rotel/bin/pip install rotel==0.0.1a15",
        });
    }
    missing
}

/// Where Rotel is put, and found by the tests.
pub(super) fn rotel() -> PathBuf {
    workspace::target().join("tools").join("rotel")
}

/// Rotel's program, if it is installed.
fn find_rotel() -> Option<PathBuf> {
    let versions = fs::read_dir(rotel().join("lib")).ok()?;
    versions.flatten().find_map(|version| {
        let program = version.path().join("site-packages/rotel/rotel-agent");
        process::executable(&program).then_some(program)
    })
}

/// Runs Python.
pub(super) fn python(words: &[&str]) -> Result<String> {
    process::output(Command::new("python3").args(words).stdin(Stdio::null()))
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
