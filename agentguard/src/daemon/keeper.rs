//! A process beside the daemon that outlives it by a moment: it lets the calls go on that wait
//! for answers, which the kernel then refuses, as nobody is there to be asked.
//!
//! It does nothing as long as the daemon lives, and knows that it does by a pipe, which the
//! kernel closes however the daemon ends.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStdin, Command, Stdio};

use nix::sys::signal::{SigHandler, Signal, signal};

use crate::error::{Error, Result};
use crate::kernel::Pins;
use crate::session::Cgroups;

/// The command of this program that is the keeper.
const COMMAND: &str = "keeper";

/// Keeps the keeper waiting.
pub(super) struct Keeper {
    _pipe: ChildStdin,
}

impl Keeper {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub(super) fn start() -> Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("agentguard").arg(COMMAND).current_dir("/").env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // What ends the daemon from a terminal is not to end it.
        command.process_group(0);
        let pipe = command.spawn().and_then(|mut child| {
            child.stdin.take().ok_or_else(|| std::io::ErrorKind::BrokenPipe.into())
        });
        let pipe = pipe.map_err(Error::system("start the keeper of calls that wait"))?;
        Ok(Self { _pipe: pipe })
    }
}

/// Waits until the daemon is gone, and lets go on what waits.
///
/// # Errors
///
/// Where the kernel's tables cannot be written.
pub fn keep() -> Result<()> {
    for ignored in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        // SAFETY: no code of ours runs on a signal that is ignored.
        let _ = unsafe { signal(ignored, SigHandler::SigIgn) };
    }
    let mut byte = [0];
    while !matches!(std::io::stdin().read(&mut byte), Ok(0)) {}
    let tables = Pins::default().tables()?;
    tables.holds().set_seen(0)?;
    let cgroups = Cgroups::new()?;
    for id in cgroups.ids()? {
        // One that is gone meanwhile holds nothing.
        let _ = cgroups.existing(&id).thaw();
    }
    Ok(())
}
