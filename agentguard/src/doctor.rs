//! `doctor`: what is enforced on this host, proven by trying it.
//!
//! A trial session with a policy that allows nothing gets a child process of ours,
//! which then tries what must be refused. Everything is aimed at this host's
//! loopback addresses, so that a denial that does not hold does no harm.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::process::{Command, Stdio};

use agentguard_common::egress::PolicyEntry;
use agentguard_common::session::{SessionEntry, State, TaskLabel};
use bytemuck::Zeroable as _;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::kernel::Tables;
use crate::session::{PROBE_POLICY, PROBE_SESSION, PROBE_SLOT, pidfd_open};

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// What: "connect, IPv4".
    pub what: String,
    /// By which mechanism it is to be refused.
    pub mechanism: String,
    /// What came of it.
    pub outcome: TrialOutcome,
}

/// What came of a trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrialOutcome {
    /// It was refused, as it must be.
    Enforced,
    /// It was not refused.
    Open(String),
    /// It cannot be tried here, and so cannot be done here either.
    Absent(String),
}

/// Tries everything.
///
/// # Errors
///
/// Where the trial itself cannot be made.
pub fn trials(tables: &Tables) -> Result<Vec<Trial>> {
    let policy = PolicyEntry {
        tag: PROBE_SESSION,
        egress_default: agentguard_common::Verdict::Deny as u8,
        ..PolicyEntry::zeroed()
    };
    tables.set_policy(PROBE_POLICY, &policy)?;
    let entry = SessionEntry {
        session: PROBE_SESSION,
        cgroup: 0,
        policy: PROBE_POLICY,
        state: State::Enforce as u32,
    };
    tables.set_session(PROBE_SLOT, entry)?;
    let tried = try_with_child(tables);
    tables.remove_session(PROBE_SLOT)?;
    tables.set_policy(PROBE_POLICY, &PolicyEntry::zeroed())?;
    tried
}

/// Tries everything, and fails where something is not refused.
///
/// # Errors
///
/// [`Error::NoLsm`] with what was not refused.
pub fn prove(tables: &Tables) -> Result<()> {
    for trial in trials(tables)? {
        if let TrialOutcome::Open(what) = trial.outcome {
            return Err(Error::NoLsm { why: format!("{} was not refused: {what}", trial.what) });
        }
    }
    Ok(())
}

fn try_with_child(tables: &Tables) -> Result<Vec<Trial>> {
    let failed = Error::system::<std::io::Error>;
    let mut child = Command::new("/proc/self/exe")
        .arg("probe")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed("start the trial process"))?;
    let labelled = i32::try_from(child.id())
        .ok()
        .and_then(pidfd_open)
        .ok_or_else(|| failed("find the trial process")(std::io::ErrorKind::NotFound.into()))
        .and_then(|pidfd| {
            let label = TaskLabel { session: PROBE_SESSION, slot: PROBE_SLOT, reserved: 0 };
            tables.enrol(pidfd.as_fd(), label)
        });
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let mut trials = Vec::new();
    if let (Ok(()), Some(mut stdin), Some(stdout)) = (&labelled, stdin, stdout) {
        stdin.write_all(b"\n").map_err(failed("start the trial"))?;
        for line in BufReader::new(stdout).lines() {
            let line = line.map_err(failed("read the trial's outcome"))?;
            trials.push(
                serde_json::from_str(&line).map_err(|error| Error::Protocol(error.to_string()))?,
            );
        }
    }
    // Without its go-ahead (the pipe is closed) it ends by itself.
    let status = child.wait().map_err(failed("wait for the trial process"))?;
    labelled?;
    if !status.success() {
        return Err(Error::Protocol(format!("the trial process failed: {status}")));
    }
    Ok(trials)
}

/// The process number behind a pidfd, from `/proc/self/fdinfo`.
///
/// # Errors
///
/// Where the descriptor is none, or its process is gone.
pub fn pid_of(pidfd: &OwnedFd) -> Result<i32> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(&path).map_err(Error::io("read", path))?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.filter(|pid| *pid > 0)
        .ok_or_else(|| Error::Refused("the descriptor is not that of a running process".into()))
}

pub mod probe {
    //! The trial process: waits for its go-ahead, tries, and prints a line of JSON
    //! for each outcome.

    use std::io::{self, Read as _, Write as _};
    use std::net::{SocketAddr, TcpStream, UdpSocket};
    use std::time::Duration;

    use super::{Trial, TrialOutcome};

    /// The discard port, where nobody listens; it does not matter if somebody does.
    const PORT: u16 = 9;
    const PATIENCE: Duration = Duration::from_secs(2);

    /// Runs the trials.
    ///
    /// # Errors
    ///
    /// Where the outcomes cannot be told.
    pub fn run() -> io::Result<()> {
        let mut go = [0];
        if io::stdin().read(&mut go)? == 0 {
            return Ok(());
        }
        tell("connect, IPv4", "lsm/socket_connect", &connect("127.0.0.1"))?;
        tell("connect, IPv6", "lsm/socket_connect", &connect("::1"))?;
        tell("connect, IPv4 mapped into IPv6", "lsm/socket_connect", &connect("::ffff:127.0.0.1"))?;
        tell("send without connect, IPv4", "lsm/socket_sendmsg", &send("0.0.0.0", "127.0.0.1"))?;
        tell("send without connect, IPv6", "lsm/socket_sendmsg", &send("::", "::1"))?;
        tell("connect, from a detached descendant", "lsm/task_alloc", &detached())
    }

    fn tell(what: &str, mechanism: &str, result: &io::Result<()>) -> io::Result<()> {
        let outcome = match result {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => TrialOutcome::Enforced,
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::ENETUNREACH)
                ) =>
            {
                TrialOutcome::Absent(error.to_string())
            }
            Err(error) => TrialOutcome::Open(error.to_string()),
            Ok(()) => TrialOutcome::Open("it went through".into()),
        };
        let trial = Trial { what: what.into(), mechanism: mechanism.into(), outcome };
        let line = serde_json::to_string(&trial)?;
        writeln!(io::stdout(), "{line}")
    }

    fn address(ip: &str) -> io::Result<SocketAddr> {
        ip.parse().map(|ip| SocketAddr::new(ip, PORT)).map_err(io::Error::other)
    }

    fn connect(ip: &str) -> io::Result<()> {
        TcpStream::connect_timeout(&address(ip)?, PATIENCE).map(drop)
    }

    fn send(from: &str, to: &str) -> io::Result<()> {
        let from: SocketAddr =
            from.parse().map(|ip| SocketAddr::new(ip, 0)).map_err(io::Error::other)?;
        UdpSocket::bind(from)?.send_to(b"agentguard", address(to)?).map(drop)
    }

    /// The same from a process that was forked twice and left its parent's session:
    /// a thread would do for the label, but this is how daemons shed their origins.
    fn detached() -> io::Result<()> {
        let (mut reader, mut writer) = io::pipe()?;
        // SAFETY: this process has one thread; the child uses only what it opens.
        match unsafe { nix::unistd::fork() }? {
            nix::unistd::ForkResult::Child => {
                let _ = nix::unistd::setsid();
                // SAFETY: as above.
                let inner = unsafe { nix::unistd::fork() };
                if matches!(inner, Ok(nix::unistd::ForkResult::Child)) {
                    let code = connect("127.0.0.1").err().and_then(|error| error.raw_os_error());
                    let _ = writer.write_all(&code.unwrap_or(0).to_ne_bytes());
                }
                std::process::exit(0);
            }
            nix::unistd::ForkResult::Parent { child } => {
                drop(writer);
                nix::sys::wait::waitpid(child, None)?;
            }
        }
        let mut code = [0; 4];
        reader.read_exact(&mut code)?;
        match i32::from_ne_bytes(code) {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }
}
