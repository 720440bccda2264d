//! One VM from start to end: passes output on as it comes, watches the kernel and the
//! clock, and says how it ended.

use std::io::{ErrorKind, Read, Write, stdin};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;

use super::qemu::Vm;
use super::terminal::{self, Raw};
use super::watch::Console;
use crate::wire::{Decoder, Frame, buffer};

/// How long a kernel may take to reach the command.
const BOOT_LIMIT: Duration = Duration::from_secs(90);
/// How long to wait for the rest of a kernel's complaint.
const AFTERMATH: Duration = Duration::from_millis(1500);

/// How a VM ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The command ended with this code.
    Exit(i32),
    /// The kernel panicked, oopsed or stalled; its first words on it.
    Trouble(String),
    /// The command took longer than allowed.
    TimedOut,
    /// The VM did not get as far as the command; why.
    NoStart(String),
    /// This signal came: Ctrl-C, or somebody ended xtask.
    Interrupted(i32),
}

/// Where the command's output goes.
pub(crate) trait Output {
    /// Takes bytes of standard output, or of standard error when `error` is set.
    fn write(&mut self, bytes: &[u8], error: bool) -> Result<()>;
}

struct Session<'a> {
    vm: &'a mut Vm,
    output: &'a mut dyn Output,
    console: Console,
    decoder: Decoder,
    started: Instant,
    ready: Option<Instant>,
    timeout: Option<Duration>,
    shell: bool,
}

/// Runs a started VM to its end.
pub(super) fn run(
    vm: &mut Vm,
    output: &mut dyn Output,
    timeout: Option<Duration>,
    shell: bool,
) -> Result<Ending> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGWINCH] {
        signals.add(signal);
    }
    signals.thread_block().context("hold signals back")?;
    let raw = if shell { Some(Raw::enter()?) } else { None };
    let signal_fd = SignalFd::new(&signals).context("listen for signals")?;
    let mut session = Session {
        vm,
        output,
        console: Console::default(),
        decoder: Decoder::default(),
        started: Instant::now(),
        ready: None,
        timeout,
        shell,
    };
    let ending = session.follow(&signal_fd);
    drop(raw);
    signals.thread_unblock().context("let signals through")?;
    let ending = ending?;
    if matches!(ending, Ending::Trouble(_) | Ending::TimedOut | Ending::NoStart(_)) {
        eprint!("{}", session.console.report());
    }
    Ok(ending)
}

impl Session<'_> {
    fn follow(&mut self, signals: &SignalFd) -> Result<Ending> {
        let mut typed = self.shell;
        loop {
            let Some(left) = self.time_left() else { return Ok(self.too_late()) };
            let found = self.wait(signals, typed, left)?;
            if found.console && read(&mut self.vm.console, |b| self.console.push(b))?.is_none() {
                return Ok(self.died());
            }
            if self.console.trouble().is_some() {
                return Ok(self.aftermath());
            }
            if found.port {
                let open = read(&mut self.vm.port, |bytes| self.decoder.push(bytes))?;
                if let Some(ending) = self.frames()? {
                    return Ok(ending);
                }
                if open.is_none() {
                    return Ok(self.died());
                }
            }
            if found.typed {
                typed = self.type_in()?;
            }
            if found.signal
                && let Some(ending) = self.signal(signals)?
            {
                return Ok(ending);
            }
        }
    }

    fn time_left(&self) -> Option<Duration> {
        let end = match (self.ready, self.timeout) {
            (None, _) => self.started + BOOT_LIMIT,
            (Some(ready), Some(timeout)) => ready + timeout,
            (Some(_), None) => return Some(Duration::from_secs(3600)),
        };
        end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    fn too_late(&self) -> Ending {
        if self.ready.is_some() {
            return Ending::TimedOut;
        }
        Ending::NoStart(format!("the VM did not come up in {} s", BOOT_LIMIT.as_secs()))
    }

    fn wait(&self, signals: &SignalFd, typed: bool, left: Duration) -> Result<Found> {
        let stdin = stdin();
        let mut fds = vec![
            PollFd::new(self.vm.port.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.vm.console.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        if typed && self.ready.is_some() {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        // Rounded up, so that the last wait does not spin.
        let left =
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, left) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("wait for the VM"),
        }
        let mut hit = fds.iter().map(|fd| fd.any().unwrap_or(false));
        let mut next = || hit.next().unwrap_or(false);
        Ok(Found { port: next(), console: next(), signal: next(), typed: next() })
    }

    fn frames(&mut self) -> Result<Option<Ending>> {
        while let Some(frame) = self.decoder.next_frame().context("understand the VM")? {
            match frame {
                Frame::Ready => self.ready = Some(Instant::now()),
                Frame::Out(data) => self.output.write(&data, false)?,
                Frame::Err(data) => self.output.write(&data, true)?,
                Frame::Note(text) => eprintln!("vm: {}", text.trim_end()),
                Frame::Broken(text) => return Ok(Some(Ending::NoStart(text))),
                Frame::Exit(code) => return Ok(Some(self.at_exit(code))),
                Frame::Input(_) | Frame::Size(..) => {}
            }
        }
        Ok(None)
    }

    /// The kernel may have complained in the command's last moments.
    fn at_exit(&mut self, code: i32) -> Ending {
        self.listen(Duration::from_millis(20));
        match self.console.trouble() {
            Some(_) => self.aftermath(),
            None => Ending::Exit(code),
        }
    }

    fn aftermath(&mut self) -> Ending {
        self.listen(AFTERMATH);
        self.leftovers();
        Ending::Trouble(self.console.trouble().unwrap_or_default().to_owned())
    }

    /// QEMU is gone without an exit code: the kernel's last words say why.
    fn died(&mut self) -> Ending {
        self.listen(AFTERMATH);
        self.leftovers();
        if self.console.trouble().is_some() {
            return self.aftermath();
        }
        if self.ready.is_some() {
            return Ending::Trouble("the VM went down without an exit code".to_owned());
        }
        Ending::NoStart("QEMU ended before the VM was up".to_owned())
    }

    /// Passes on what the command wrote before the VM went down.
    fn leftovers(&mut self) {
        if self.vm.port.set_nonblocking(true).is_err() {
            return;
        }
        while let Ok(Some(())) = read(&mut self.vm.port, |bytes| self.decoder.push(bytes)) {}
        while let Ok(Some(frame)) = self.decoder.next_frame() {
            let told = match frame {
                Frame::Out(data) => self.output.write(&data, false),
                Frame::Err(data) => self.output.write(&data, true),
                _ => Ok(()),
            };
            if told.is_err() {
                return;
            }
        }
    }

    /// Reads the console for a while, until it ends.
    fn listen(&mut self, length: Duration) {
        let end = Instant::now() + length;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            let left = left.max(Duration::from_millis(1));
            if self.vm.console.set_read_timeout(Some(left)).is_err() {
                return;
            }
            match read(&mut self.vm.console, |bytes| self.console.push(bytes)) {
                Ok(Some(())) => {}
                _ => return,
            }
        }
    }

    fn type_in(&mut self) -> Result<bool> {
        let mut bytes = buffer();
        let count = stdin().lock().read(&mut bytes).context("read what is typed")?;
        bytes.truncate(count);
        // The end of a piped input is the end-of-file key of the VM's terminal.
        let data = if count == 0 { vec![4] } else { bytes };
        Frame::Input(data).send(&mut self.vm.port).context("send what is typed")?;
        Ok(count > 0)
    }

    fn signal(&mut self, signals: &SignalFd) -> Result<Option<Ending>> {
        let Some(info) = signals.read_signal().context("read a signal")? else { return Ok(None) };
        let number = i32::try_from(info.ssi_signo).unwrap_or_default();
        if number == Signal::SIGWINCH as i32 {
            if self.shell {
                let (rows, cols) = terminal::size();
                Frame::Size(rows, cols).send(&mut self.vm.port).context("send the new size")?;
            }
            return Ok(None);
        }
        Ok(Some(Ending::Interrupted(number)))
    }
}

struct Found {
    port: bool,
    console: bool,
    signal: bool,
    typed: bool,
}

/// Reads once; `None` at the end of the stream.
fn read(stream: &mut UnixStream, mut take: impl FnMut(&[u8])) -> Result<Option<()>> {
    let mut bytes = buffer();
    match stream.read(&mut bytes) {
        Ok(0) => Ok(None),
        Ok(count) => {
            take(bytes.get(..count).unwrap_or_default());
            Ok(Some(()))
        }
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Some(())),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(None),
        Err(error) => Err(error).context("read from the VM"),
    }
}

/// Passes output straight on.
pub(crate) struct PassOn;

impl Output for PassOn {
    fn write(&mut self, bytes: &[u8], error: bool) -> Result<()> {
        let done = if error {
            std::io::stderr().write_all(bytes)
        } else {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        };
        if done.is_err() {
            bail!("nobody reads the output any more");
        }
        Ok(())
    }
}
