//! `run`: a command as an agent.
//!
//! The command is our own child, so that its terminal, limits, namespaces, user
//! and environment are the caller's. It is made inside the session's cgroup
//! (`CLONE_INTO_CGROUP`; where the caller may not, the daemon moves it, which takes
//! the kernel some milliseconds), waits until the daemon has labelled it, and only
//! then becomes the command.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use nix::sys::signal::SigSet;
use nix::unistd::Pid;

use super::sessions::unexpected;
use crate::api::{Client, Request, Response};
use crate::error::{Error, Result};
use crate::policy::is_variable;

pub(super) mod wait;

/// What is added to the command's environment: its session, what it is told about itself, and
/// what ties it to traces.
const SESSION: &str = "AGENTGUARD_SESSION";
const NOTICE: &str = "AGENTGUARD_NOTICE";
const TRACEPARENT: &str = "TRACEPARENT";
/// How much of a command the daemon is told: the rest is for the command alone.
const TOLD_ARGUMENTS: usize = 64;
const TOLD_CHARACTERS: usize = 256;

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// The agent, as a policy declares it
    #[arg(long, value_name = "NAME")]
    agent: String,
    /// The directory the agent works in [default: the current one]
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// What ${NAME} stands for in the policy's paths
    #[arg(long, value_name = "NAME=PATH", value_parser = variable)]
    set: Vec<(String, String)>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<std::ffi::OsString>,
}

pub(super) fn run(arguments: RunArguments, socket: &Path) -> Result<ExitCode> {
    let named = arguments.workspace.is_some();
    let workspace = workspace(arguments.workspace)?;
    let client = Client::connect(socket)?;
    let request = Request::Run {
        agent: arguments.agent,
        workspace: workspace.display().to_string(),
        named,
        set: arguments.set.into_iter().collect(),
        command: told(&arguments.command),
        traceparent: std::env::var(TRACEPARENT).ok(),
    };
    let (session, pid) = start(&client, &request, &arguments.command, |_| Ok(()))?;
    let status = wait::for_command(pid)?;
    wait::pass_on(status, || fate(&client, socket, session))
}

/// Begins the session that is asked for, and starts the command in it. `ready` is called with
/// the session's id when the command's process is in it, and has not executed anything yet.
/// Signals are held back from here on.
pub(super) fn start(
    client: &Client,
    request: &Request,
    command: &[std::ffi::OsString],
    ready: impl FnOnce(&str) -> Result<()>,
) -> Result<(String, Pid)> {
    let (answer, cgroup) = client.ask(request, None)?;
    let Response::Begun { session, traceparent, notice } = answer else {
        return Err(unexpected(&answer));
    };
    let environment = [(SESSION, session.as_str()), (TRACEPARENT, &traceparent), (NOTICE, &notice)];
    let program = Program::new(command, &environment)?;

    // From here on signals wait until they can be passed on.
    let mask = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK);
    let mask = mask.map_err(Error::system("hold signals back"))?;
    let child = Child::make(cgroup, &program, mask)?;
    match client.ask(&Request::Enrol, Some(child.pidfd.as_fd()))? {
        (Response::Enrolled, _) => {}
        (other, _) => return Err(unexpected(&other)),
    }
    ready(&session)?;
    Ok((session, child.start(&program)?))
}

/// Why agentguard ended a session, if it did.
pub(super) fn fate(client: &Client, socket: &Path, session: String) -> Option<Error> {
    let request = Request::Fate { session: session.clone() };
    // The daemon may have been started anew since. With none, nobody knows.
    let answer = client
        .ask(&request, None)
        .or_else(|_| Client::connect(socket)?.ask(&request, None))
        .ok()?;
    match answer.0 {
        Response::Fate { killed: Some(why) } => Some(Error::Killed { session, why }),
        _ => None,
    }
}

/// Reads `NAME=PATH`.
pub(super) fn variable(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, path)) if is_variable(name) && path.starts_with('/') => {
            Ok((name.to_owned(), path.to_owned()))
        }
        _ => Err("write NAME=PATH, with an absolute path".into()),
    }
}

/// The directory that the agent works in, as it really is.
pub(super) fn workspace(given: Option<PathBuf>) -> Result<PathBuf> {
    match given {
        None => std::env::current_dir().map_err(Error::system("find the current directory")),
        Some(path) => {
            let real =
                std::fs::canonicalize(&path).map_err(Error::io("find the workspace", &path))?;
            if real.is_dir() {
                Ok(real)
            } else {
                Err(Error::io("work in", real)(io::ErrorKind::NotADirectory.into()))
            }
        }
    }
}

/// What the daemon is told of a command.
pub(super) fn told(command: &[std::ffi::OsString]) -> Vec<String> {
    let shorten =
        |text: &std::ffi::OsString| text.to_string_lossy().chars().take(TOLD_CHARACTERS).collect();
    command.iter().take(TOLD_ARGUMENTS).map(shorten).collect()
}

/// What the child is to become. Made before it exists, so that nothing can fail in
/// between.
struct Program {
    name: String,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Program {
    fn new(command: &[std::ffi::OsString], own: &[(&str, &str)]) -> Result<Self> {
        let text =
            |bytes: &[u8]| CString::new(bytes).map_err(|error| Error::Protocol(error.to_string()));
        let arguments = command.iter().map(|word| text(word.as_bytes())).collect::<Result<_>>()?;
        let mut environment = Vec::new();
        for (name, value) in std::env::vars_os() {
            if own.iter().all(|(own, _)| name != *own) {
                environment.push(text(&[name.as_bytes(), b"=", value.as_bytes()].concat())?);
            }
        }
        for (name, value) in own {
            environment.push(text(format!("{name}={value}").as_bytes())?);
        }
        let name =
            command.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { name, arguments, environment })
    }

    /// Becomes the program; returns only when that fails.
    fn exec(&self) -> io::Error {
        match self.arguments.first() {
            Some(file) => nix::unistd::execvpe(file, &self.arguments, &self.environment)
                .map_or_else(Into::into, |never| match never {}),
            None => io::ErrorKind::InvalidInput.into(),
        }
    }
}

/// The command's process, waiting for its go-ahead.
struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    go: File,
    failure: File,
}

/// `struct clone_args` of `linux/sched.h`, as of Linux 5.7.
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

impl Child {
    fn make(cgroup: Option<OwnedFd>, program: &Program, mask: SigSet) -> Result<Self> {
        let pipe = || io::pipe().map_err(Error::system("make a pipe"));
        let ((go_read, go_write), (failure_read, failure_write)) = (pipe()?, pipe()?);
        let made = clone(cgroup.as_ref().map(OwnedFd::as_raw_fd))
            .map_err(Error::system("make the command's process"))?;
        let Some((pid, pidfd)) = made else {
            drop((go_write, failure_read));
            become_program(
                program,
                &mask,
                File::from(OwnedFd::from(go_read)),
                failure_write.into(),
            );
        };
        drop((go_read, failure_write));
        let (go, failure) = (OwnedFd::from(go_write).into(), OwnedFd::from(failure_read).into());
        Ok(Self { pid, pidfd, go, failure })
    }

    /// Gives the go-ahead, and learns whether the program could be executed.
    fn start(mut self, program: &Program) -> Result<Pid> {
        // Fails only when the child was killed in the meantime, which waiting tells.
        let _ = self.go.write_all(b"\n");
        let mut code = [0; 4];
        if self.failure.read_exact(&mut code).is_err() {
            return Ok(self.pid);
        }
        let source = io::Error::from_raw_os_error(i32::from_ne_bytes(code));
        Err(Error::Exec { program: program.name.clone(), source })
    }
}

/// Makes a process like `fork`, inside a cgroup where that is allowed. `None` in
/// the child.
fn clone(cgroup: Option<i32>) -> io::Result<Option<(Pid, OwnedFd)>> {
    let mut pidfd = -1i32;
    let exit_signal = u64::try_from(libc::SIGCHLD).unwrap_or_default();
    let mut arguments = CloneArguments {
        flags: CLONE_PIDFD,
        pidfd: (&raw mut pidfd).addr() as u64,
        exit_signal,
        ..CloneArguments::default()
    };
    if let Some(cgroup) = cgroup.and_then(|fd| u64::try_from(fd).ok()) {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup;
    }
    let call = |arguments: &mut CloneArguments| {
        // SAFETY: this process has one thread, and the child gets a copy of its
        // memory, as with fork; the arguments and `pidfd` live through the call.
        unsafe {
            libc::syscall(
                libc::SYS_clone3,
                std::ptr::from_mut(arguments),
                size_of::<CloneArguments>(),
            )
        }
    };
    let mut pid = call(&mut arguments);
    if pid < 0 && arguments.flags & CLONE_INTO_CGROUP != 0 {
        // Only who may write to the common ancestor's cgroup.procs, root that is, may
        // do so. The daemon moves the others.
        arguments.flags = CLONE_PIDFD;
        arguments.cgroup = 0;
        pid = call(&mut arguments);
    }
    match i32::try_from(pid) {
        Ok(0) => Ok(None),
        Ok(pid) if pid > 0 => {
            // SAFETY: the kernel has just made this descriptor for us.
            Ok(Some((Pid::from_raw(pid), unsafe { OwnedFd::from_raw_fd(pidfd) })))
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// The child's part: waits, then becomes the command.
fn become_program(program: &Program, mask: &SigSet, mut go: File, failure: OwnedFd) -> ! {
    // Without a go-ahead, the caller is gone or was refused.
    if go.read_exact(&mut [0]).is_err() {
        std::process::exit(1);
    }
    // Rust ignores SIGPIPE, and commands do not expect that.
    // SAFETY: the default disposition runs no code of ours.
    let reset = unsafe {
        nix::sys::signal::signal(nix::sys::signal::SIGPIPE, nix::sys::signal::SigHandler::SigDfl)
    };
    let error = match reset.and_then(|_| mask.thread_set_mask()) {
        Ok(()) => program.exec(),
        Err(error) => error.into(),
    };
    let code = error.raw_os_error().unwrap_or(libc::EIO);
    // The parent says what happened; without it nobody is left to tell.
    let _ = File::from(failure).write_all(&code.to_ne_bytes());
    std::process::exit(1);
}
