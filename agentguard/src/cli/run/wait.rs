//! Waiting for the command: signals go on to it, its stops are ours, and its end
//! is ours too.

use std::process::ExitCode;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::error::{Error, Result};

/// `SI_KERNEL`: the kernel itself sent the signal, for example for a key pressed.
const SI_KERNEL: i32 = 0x80;

/// Waits until the command has ended. All signals must be blocked.
pub(in crate::cli) fn for_command(pid: Pid) -> Result<WaitStatus> {
    loop {
        let (signal, code) = next_signal()?;
        match signal {
            Signal::SIGCHLD => {
                if let Some(status) = reap(pid)? {
                    return Ok(status);
                }
            }
            // What the terminal sends goes to the whole foreground group, and so to
            // the command already.
            _ if code == SI_KERNEL => {}
            // Reaching for the terminal from the background stops us, not it.
            Signal::SIGTTIN | Signal::SIGTTOU => {}
            // Fails only when the command has just ended.
            signal => drop(kill(pid, signal)),
        }
    }
}

/// What became of the command, if it ended. When it was stopped, we stop as well,
/// so that a shell's job control sees one job.
fn reap(pid: Pid) -> Result<Option<WaitStatus>> {
    let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
    match waitpid(pid, Some(flags)).map_err(Error::system("wait for the command"))? {
        WaitStatus::Stopped(..) => {
            raise(Signal::SIGSTOP).map_err(Error::system("stop with the command"))?;
            Ok(None)
        }
        status @ (WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => Ok(Some(status)),
        _ => Ok(None),
    }
}

fn next_signal() -> Result<(Signal, i32)> {
    let all = SigSet::all();
    loop {
        // SAFETY: an all-zero siginfo_t is valid, and is written by the kernel only.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: both live through the call.
        let number = unsafe { libc::sigwaitinfo(all.as_ref(), &raw mut info) };
        if number < 0 {
            let error = std::io::Error::last_os_error();
            if error.kind() == std::io::ErrorKind::Interrupted {
                continue;
            }
            return Err(Error::system("wait for signals")(error));
        }
        // Real-time signals have no name here, and nobody sends them to us.
        if let Ok(signal) = Signal::try_from(number) {
            return Ok((signal, info.si_code));
        }
    }
}

/// Ends as the command did: with its code, or by its signal. `killed` is asked
/// whether agentguard was behind a SIGKILL.
pub(in crate::cli) fn pass_on(
    status: WaitStatus,
    killed: impl FnOnce() -> Option<Error>,
) -> Result<ExitCode> {
    let signal = match status {
        WaitStatus::Exited(_, code) => {
            return Ok(ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1)));
        }
        WaitStatus::Signaled(_, signal, _) => signal,
        _ => return Ok(ExitCode::FAILURE),
    };
    if signal == Signal::SIGKILL
        && let Some(error) = killed()
    {
        return Err(error);
    }
    // The command has dumped its core, if any; a second one would be ours.
    let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
    // SAFETY: the default disposition runs no code of ours.
    let reset = unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) };
    if reset.is_ok() || signal == Signal::SIGKILL {
        let _ = raise(signal);
        let mut only = SigSet::empty();
        only.add(signal);
        let _ = only.thread_swap_mask(SigmaskHow::SIG_UNBLOCK);
    }
    // Not reached for a signal that ends processes.
    Ok(ExitCode::from(u8::try_from(128 + signal as i32).unwrap_or(1)))
}
