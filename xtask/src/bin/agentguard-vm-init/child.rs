//! Runs the command, carries its output to the host as it comes, and reaps every
//! process that loses its parent, as PID 1 must.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};

use crate::plan::Plan;
use crate::wire::{Decoder, Frame, buffer};

/// Which frame a source's bytes go out in.
type Wrap = fn(Vec<u8>) -> Frame;

/// A command under way: where its output comes from and its input goes to.
struct Running {
    pid: Pid,
    sources: Vec<(File, Wrap)>,
    terminal: Option<File>,
}

/// Runs the plan's command to its end; the exit code is a shell's (128 + signal).
pub(crate) fn run(plan: &Plan, port: &mut File) -> Result<i32> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals.thread_block().context("block SIGCHLD")?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .context("listen for SIGCHLD")?;
    let mut running = if plan.terminal.is_some() { on_terminal(plan)? } else { on_pipes(plan)? };
    let mut decoder = Decoder::default();
    loop {
        let ready = wait(&running, port, &signals)?;
        if ready.port {
            input(port, &mut decoder, running.terminal.as_mut())?;
        }
        forward(&mut running.sources, port, &ready.sources)?;
        while signals.read_signal().ok().flatten().is_some() {}
        if let Some(code) = reap(running.pid)? {
            drain(&mut running.sources, port)?;
            return Ok(code);
        }
    }
}

fn on_pipes(plan: &Plan) -> Result<Running> {
    let (out, out_end) = io::pipe().context("make a pipe")?;
    let (err, err_end) = io::pipe().context("make a pipe")?;
    let mut command = command(plan);
    command.stdin(Stdio::null()).stdout(out_end).stderr(err_end);
    let pid = spawn(command, false)?;
    let sources = vec![
        (nonblocking(out.into())?, Frame::Out as Wrap),
        (nonblocking(err.into())?, Frame::Err as Wrap),
    ];
    Ok(Running { pid, sources, terminal: None })
}

fn on_terminal(plan: &Plan) -> Result<Running> {
    let (rows, cols) = plan.terminal.unwrap_or((24, 80));
    let size = libc::winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(Some(&size), None).context("open a terminal")?;
    let mut command = command(plan);
    let slave = |fd: &OwnedFd| fd.try_clone().context("copy the terminal");
    command.stdin(slave(&pty.slave)?).stdout(slave(&pty.slave)?).stderr(pty.slave);
    let pid = spawn(command, true)?;
    let terminal = File::from(pty.master.try_clone().context("copy the terminal")?);
    let sources = vec![(nonblocking(pty.master)?, Frame::Out as Wrap)];
    Ok(Running { pid, sources, terminal: Some(terminal) })
}

fn command(plan: &Plan) -> Command {
    let (program, args) = plan.command.split_first().map_or(("true", &[][..]), |(p, a)| (p, a));
    let mut command = Command::new(program);
    let cwd = if Path::new(&plan.cwd).is_dir() { plan.cwd.as_str() } else { "/" };
    command.args(args).env_clear().envs(plan.env.iter().cloned()).current_dir(cwd);
    command
}

fn spawn(mut command: Command, terminal: bool) -> Result<Pid> {
    // SAFETY: the closure runs in the child between fork and exec and makes only
    // async-signal-safe system calls; descriptor 0 is the terminal when there is one.
    unsafe {
        command.pre_exec(move || {
            SigSet::empty().thread_set_mask()?;
            setsid()?;
            if terminal && libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let child = command.spawn().context("start it (is it on PATH in the VM?)")?;
    let pid = i32::try_from(child.id()).context("read its process id")?;
    Ok(Pid::from_raw(pid))
}

/// What poll(2) found.
struct Found {
    port: bool,
    sources: Vec<bool>,
}

fn wait(running: &Running, port: &File, signals: &SignalFd) -> Result<Found> {
    let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    // Without a terminal the host sends nothing.
    let wanted = if running.terminal.is_some() { PollFlags::POLLIN } else { PollFlags::empty() };
    fds.push(PollFd::new(port.as_fd(), wanted));
    fds.extend(running.sources.iter().map(|(f, _)| PollFd::new(f.as_fd(), PollFlags::POLLIN)));
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error).context("wait for output"),
    }
    let mut hits = fds.iter().skip(1).map(|fd| fd.any().unwrap_or(false));
    let port = hits.next().unwrap_or(false) && running.terminal.is_some();
    Ok(Found { port, sources: hits.collect() })
}

fn input(port: &mut File, decoder: &mut Decoder, terminal: Option<&mut File>) -> Result<()> {
    let Some(terminal) = terminal else { return Ok(()) };
    let mut bytes = buffer();
    let count = port.read(&mut bytes).context("read from the host")?;
    decoder.push(bytes.get(..count).unwrap_or_default());
    while let Some(frame) = decoder.next_frame().context("understand the host")? {
        match frame {
            // A full terminal loses what is typed, as a real one does.
            Frame::Input(data) => drop(terminal.write_all(&data)),
            Frame::Size(rows, cols) => resize(terminal, rows, cols),
            _ => {}
        }
    }
    Ok(())
}

fn resize(terminal: &File, ws_row: u16, ws_col: u16) {
    let size = libc::winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is an open terminal and `size` outlives the call. A
    // failure leaves the old size, which is no reason to end the session.
    unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
}

/// Sends on one buffer of each source that has something, and drops those that ended.
fn forward(sources: &mut Vec<(File, Wrap)>, port: &mut File, ready: &[bool]) -> Result<()> {
    let mut ended = Vec::new();
    for (index, (source, wrap)) in sources.iter_mut().enumerate() {
        if ready.get(index) == Some(&true) && !pass(source, *wrap, port)?.unwrap_or(true) {
            ended.push(index);
        }
    }
    for index in ended.into_iter().rev() {
        sources.remove(index);
    }
    Ok(())
}

/// After the command's end: what it left in the pipes. A background process may hold
/// them open and go on writing, so this stops when they are empty, or after 2 s.
fn drain(sources: &mut [(File, Wrap)], port: &mut File) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(2);
    for (source, wrap) in sources {
        while pass(source, *wrap, port)? == Some(true) && Instant::now() < end {}
    }
    Ok(())
}

/// Moves one buffer: `Some(true)` moved, `Some(false)` the source ended, `None` empty.
fn pass(source: &mut File, wrap: Wrap, port: &mut File) -> Result<Option<bool>> {
    let mut bytes = buffer();
    match source.read(&mut bytes) {
        Ok(0) => Ok(Some(false)),
        Ok(count) => {
            bytes.truncate(count);
            wrap(bytes).send(port).context("send output to the host")?;
            Ok(Some(true))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        // A terminal whose last user left reads as an error.
        Err(_) => Ok(Some(false)),
    }
}

/// Collects every ended process; the exit code when the command itself is among them.
fn reap(command: Pid) -> Result<Option<i32>> {
    let mut code = None;
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == command => code = Some(status),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == command => {
                code = Some(128 + signal as i32);
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(code),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("wait for processes"),
        }
    }
}

fn nonblocking(fd: OwnedFd) -> Result<File> {
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("make a pipe non-blocking")?;
    Ok(File::from(fd))
}
