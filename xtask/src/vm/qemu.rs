//! Starts QEMU for one VM. Everything it needs comes by inherited descriptors, and the
//! kernel ends it when xtask ends, so nothing is left behind in any way to stop.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};

use super::export::{self, Export};
use super::kernel::Kernel;
use super::{VmOptions, initramfs};
use crate::plan::Plan;
use crate::wire::PORT_NAME;

/// A VM that was started.
pub(super) struct Vm {
    pub(super) qemu: Child,
    /// Frames to and from PID 1.
    pub(super) port: UnixStream,
    /// The kernel's console, and what QEMU and the file servers complain about.
    pub(super) console: UnixStream,
    _exports: Vec<Export>,
}

impl Drop for Vm {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.qemu.kill());
        drop(self.qemu.wait());
    }
}

/// Starts the VM; it has not booted yet when this returns.
pub(super) fn start(options: &VmOptions, kernel: &Kernel, plan: Plan) -> Result<Vm> {
    let (console, console_end) = UnixStream::pair().context("make the console's socket")?;
    let (port, port_end) = UnixStream::pair().context("make the port's socket")?;
    let errors = OwnedFd::from(console_end.try_clone().context("copy a socket")?);
    let mut exports = vec![export::serve(None, &errors)?];
    if let Some(dir) = &options.share {
        exports.push(export::serve(Some(dir), &errors)?);
    }
    let initrd = initramfs::build(&super::init_binary()?, kernel, plan)?;
    let mut qemu = machine(options);
    qemu.arg("-kernel").arg(&kernel.image);
    qemu.arg("-initrd").arg(format!("/proc/self/fd/{}", initrd.as_raw_fd()));
    qemu.arg("-append").arg(boot_line(options));
    socket(&mut qemu, "console", &console_end)?;
    socket(&mut qemu, "port", &port_end)?;
    qemu.args(["-serial", "chardev:console", "-device", "virtio-serial-pci"]);
    qemu.arg("-device").arg(format!("virtserialport,chardev=port,name={PORT_NAME}"));
    for (export, tag) in exports.iter().zip(["host", "share"]) {
        socket(&mut qemu, tag, &export.socket)?;
        qemu.arg("-device").arg(format!("vhost-user-fs-pci,chardev={tag},tag={tag}"));
    }
    export::keep_open(&initrd)?;
    qemu.stdin(Stdio::null())
        .stdout(errors.try_clone().context("copy a socket")?)
        .stderr(errors)
        .process_group(0);
    // SAFETY: between fork and exec the closure makes only async-signal-safe calls.
    unsafe {
        qemu.pre_exec(|| {
            SigSet::empty().thread_set_mask()?;
            set_pdeathsig(Signal::SIGKILL)?;
            Ok(())
        });
    }
    let qemu = qemu.spawn().context("start qemu-system-x86_64 (run `cargo xtask setup`)")?;
    Ok(Vm { qemu, port, console, _exports: exports })
}

fn machine(options: &VmOptions) -> Command {
    let mut qemu = Command::new("qemu-system-x86_64");
    let memory = options.mem;
    // Stated, because a /dev/kvm may be there and not work. One thread for all CPUs:
    // with one each, a CPU can run into the breakpoint of a code patch that another
    // has finished already, and the kernel panics (seen with 7.3 in `tg_cpus`).
    qemu.args(["-accel", "tcg,thread=single", "-cpu", "max", "-nodefaults", "-display", "none"]);
    qemu.args(["-no-reboot", "-nic", "none", "-device", "virtio-rng-pci"]);
    qemu.arg("-smp").arg(options.cpus.to_string());
    qemu.arg("-m").arg(format!("{memory}M"));
    // virtiofsd reads the VM's memory, so it must be shared.
    qemu.arg("-object").arg(format!("memory-backend-memfd,id=mem,size={memory}M,share=on"));
    qemu.args(["-numa", "node,memdev=mem"]);
    qemu
}

fn boot_line(options: &VmOptions) -> String {
    // Level 5 shows warnings, among them the traces that go with an oops. What guards real
    // processors against their own speculation, an emulated one only wades through: a
    // quarter of the time. The verifier bypasses it for root either way. Pages that are zeroed
    // whoever takes them are a twentieth.
    let fast = "mitigations=off init_on_alloc=0 rcupdate.rcu_expedited=1";
    let mut line = format!("console=ttyS0 loglevel=5 panic=-1 {fast} lsm={}", options.lsm);
    if let Some(more) = &options.append {
        line.push(' ');
        line.push_str(more);
    }
    line
}

fn socket(qemu: &mut Command, id: &str, fd: &(impl AsFd + AsRawFd)) -> Result<()> {
    export::keep_open(fd)?;
    qemu.arg("-chardev").arg(format!("socket,id={id},fd={}", fd.as_raw_fd()));
    Ok(())
}
