//! PID 1 of the VM lab: sets the VM up over the host's root, runs one command,
//! reaps, and hands output and exit code to the host. Linked statically, because
//! it starts before there is a root file system with libraries in it.

mod child;
mod modules;
mod mounts;
#[path = "../../plan.rs"]
mod plan;
mod port;
mod system;
#[path = "../../wire.rs"]
mod wire;

use std::convert::Infallible;
use std::fs;

use anyhow::{Context, Result};
use nix::sys::reboot::{RebootMode, reboot};

use crate::plan::Plan;
use crate::wire::Frame;

fn main() {
    let error = match boot() {
        Ok(never) => match never {},
        Err(error) => error,
    };
    // The console is all there is before the port; the host shows it when a boot fails.
    eprintln!("agentguard-vm-init: {error:#}");
    let _ = reboot(RebootMode::RB_POWER_OFF);
}

fn boot() -> Result<Infallible> {
    mounts::early().context("mount /dev, /proc and /sys")?;
    let plan = fs::read_to_string("/plan.json").context("read /plan.json")?;
    let plan: Plan = serde_json::from_str(&plan).context("understand /plan.json")?;
    modules::load(&plan.modules)?;
    let mut port = port::open()?;
    if let Err(error) = prepare(&plan, &mut port) {
        Frame::Broken(format!("{error:#}")).send(&mut port)?;
        return Err(error);
    }
    let code = child::run(&plan, &mut port).unwrap_or_else(|error| {
        let text = format!("run {:?}: {error:#}\n", plan.command);
        drop(Frame::Note(text).send(&mut port));
        127
    });
    // What was written to /share must be on the host before the host ends the VM.
    nix::unistd::sync();
    Frame::Exit(code).send(&mut port)?;
    loop {
        // PID 1 must not end: that is a kernel panic. The host ends the VM.
        nix::unistd::pause();
    }
}

fn prepare(plan: &Plan, port: &mut fs::File) -> Result<()> {
    mounts::host_root(plan)?;
    for note in system::configure(plan)? {
        Frame::Note(note).send(port)?;
    }
    system::forget_files()?;
    Frame::Ready.send(port)?;
    Ok(())
}
