//! `doctor`: what is enforced on this host, proven by trying it.
//!
//! A trial session with a policy that allows nothing gets a child process of ours,
//! which then tries what must be refused. Everything is aimed at this host's
//! loopback addresses, so that a denial that does not hold does no harm.

mod names;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Command, Stdio};

use agentguard_common::session::{SessionEntry, State, TaskLabel, Terms};
use serde::{Deserialize, Serialize};

pub use names::{Names, Note, Resolver, names};

use crate::error::{Error, Result};
use crate::kernel::Tables;
use crate::policy::{Compiled, Policy};
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
    tables.add_policy(PROBE_POLICY, &policy()?)?;
    let entry = SessionEntry {
        session: PROBE_SESSION,
        cgroup: 0,
        terms: Terms {
            policy: PROBE_POLICY,
            tainted: PROBE_POLICY,
            state: State::Enforce as u32,
            ..Terms::default()
        }
        .pack(),
        rates: Default::default(),
    };
    tables.set_session(PROBE_SLOT, entry)?;
    let tried = try_with_child(tables);
    tables.remove_session(PROBE_SLOT)?;
    tables.remove_policy(PROBE_POLICY)?;
    tried
}

/// A policy that allows nothing, and lets this host be asked for no name.
fn policy() -> Result<Compiled> {
    const TEXT: &str =
        "version: 1\nagent: doctor\negress: { dns: { resolvers: [127.0.0.1, \"::1\"] } }\n";
    let policy = Policy::parse(std::path::Path::new("(the trial's policy)"), TEXT.as_bytes())?;
    let mut compiled = policy.compile()?;
    compiled.entry.tag = PROBE_SESSION;
    Ok(compiled)
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

/// What the trial process must not be able to use.
struct Bait {
    /// The abstract name of a unix socket of ours.
    name: String,
    /// A connection of ours, which the trial process inherits.
    stream: TcpStream,
    _unix: UnixListener,
    _tcp: TcpListener,
}

impl Bait {
    fn lay() -> std::io::Result<Self> {
        let name = format!("agentguard-doctor-{}", std::process::id());
        let unix = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        let stream = TcpStream::connect(tcp.local_addr()?)?;
        Ok(Self { name, stream, _unix: unix, _tcp: tcp })
    }
}

fn try_with_child(tables: &Tables) -> Result<Vec<Trial>> {
    let failed = Error::system::<std::io::Error>;
    let bait = Bait::lay().map_err(failed("prepare the trial"))?;
    let mut child = Command::new("/proc/self/exe")
        .arg("probe")
        .arg(&bait.name)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(OwnedFd::from(bait.stream))
        .spawn()
        .map_err(failed("start the trial process"))?;
    let labelled = i32::try_from(child.id())
        .ok()
        .and_then(pidfd_open)
        .ok_or_else(|| failed("find the trial process")(std::io::ErrorKind::NotFound.into()))
        .and_then(|pidfd| {
            let label = TaskLabel { session: PROBE_SESSION, slot: PROBE_SLOT, refused: 0 };
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
    use std::os::fd::AsRawFd as _;
    use std::time::Duration;

    use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, socket};

    use super::{Trial, TrialOutcome};

    /// The discard port, where nobody listens; it does not matter if somebody does.
    const PORT: u16 = 9;
    const PATIENCE: Duration = Duration::from_secs(2);
    /// The port of resolvers.
    const DNS: u16 = 53;

    /// Runs the trials.
    ///
    /// # Errors
    ///
    /// Where the outcomes cannot be told.
    pub fn run(unix: &str) -> io::Result<()> {
        let mut go = [0];
        if io::stdin().read(&mut go)? == 0 {
            return Ok(());
        }
        tell("connect, IPv4", "lsm/socket_connect", &connect("127.0.0.1"))?;
        tell("connect, IPv6", "lsm/socket_connect", &connect("::1"))?;
        tell("connect, IPv4 mapped into IPv6", "lsm/socket_connect", &connect("::ffff:127.0.0.1"))?;
        tell("send without connect, IPv4", "lsm/socket_sendmsg", &send("0.0.0.0", "127.0.0.1"))?;
        tell("send without connect, IPv6", "lsm/socket_sendmsg", &send("::", "::1"))?;
        tell("connect, from a detached descendant", "lsm/task_alloc", &detached())?;
        tell("connect, to a unix socket", "lsm/unix_stream_connect", &unix_connect(unix))?;
        tell("a raw socket", "lsm/socket_create", &raw_socket())?;
        tell("a connection made elsewhere", "lsm/socket_sendmsg", &foreign())?;
        tell("a source route", "lsm/socket_setsockopt", &source_route())?;
        tell("a question for a name, IPv4", "cgroup_skb/egress", &question("127.0.0.1"))?;
        tell("a question for a name, IPv6", "cgroup_skb/egress", &question("::1"))?;
        tell("a resolver of its own choice", "lsm/socket_connect", &other_resolver())?;
        tell("a change of the host's network", "lsm/netlink_send", &network_change())?;
        tell("a signal to a process outside", "lsm/task_kill", &signal())?;
        tell("the bpf system call", "lsm/bpf", &bpf())?;
        tell("a change of the kernel's settings", "lsm/file_open", &settings())
    }

    /// Asks only whether our parent is there.
    fn signal() -> io::Result<()> {
        Ok(nix::sys::signal::kill(nix::unistd::getppid(), None)?)
    }

    /// Asks for the program behind the last number there can be (`BPF_PROG_GET_NEXT_ID`).
    fn bpf() -> io::Result<()> {
        const NEXT_PROGRAM: libc::c_int = 11;
        let mut attributes = [0_u64; 8];
        attributes[0] = u64::from(u32::MAX);
        // SAFETY: so many bytes are there to be read and written.
        let done = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                NEXT_PROGRAM,
                attributes.as_mut_ptr(),
                size_of_val(&attributes),
            )
        };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Opens one for writing, and writes nothing.
    fn settings() -> io::Result<()> {
        std::fs::OpenOptions::new().write(true).open("/proc/sys/kernel/printk").map(drop)
    }

    fn unix_connect(name: &str) -> io::Result<()> {
        use std::os::linux::net::SocketAddrExt as _;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        std::os::unix::net::UnixStream::connect_addr(&address).map(drop)
    }

    fn raw_socket() -> io::Result<()> {
        let kind = SockType::Raw;
        socket(AddressFamily::Inet, kind, SockFlag::empty(), SockProtocol::Icmp)?;
        Ok(())
    }

    /// Standard error is a connection of our parent's, which is in no session.
    fn foreign() -> io::Result<()> {
        nix::sys::socket::send(io::stderr().as_raw_fd(), b"agentguard", MsgFlags::MSG_NOSIGNAL)?;
        Ok(())
    }

    /// Asks a resolver that may be asked for a name that may not.
    fn question(resolver: &str) -> io::Result<()> {
        let resolver: std::net::IpAddr = resolver.parse().map_err(io::Error::other)?;
        let any = if resolver.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        // A header with one question, recursion desired; agentguard.invalid, A, IN.
        let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in ["agentguard", "invalid", ""] {
            question.push(u8::try_from(label.len()).unwrap_or_default());
            question.extend(label.bytes());
        }
        question.extend([0, 1, 0, 1]);
        let socket = UdpSocket::bind(any)?;
        socket.connect(SocketAddr::new(resolver, DNS))?;
        socket.send(&question).map(drop)
    }

    /// The last address of loopback is none of the trial policy's resolvers.
    fn other_resolver() -> io::Result<()> {
        UdpSocket::bind("0.0.0.0:0")?.connect(("127.255.255.254", DNS))
    }

    fn source_route() -> io::Result<()> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        // A loose source route by this host (RFC 791, 3.1), padded.
        let route: [u8; 8] = [131, 7, 4, 127, 0, 0, 1, 0];
        // SAFETY: the option lives through the call and has the length that is given.
        let failed = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_IP,
                libc::IP_OPTIONS,
                route.as_ptr().cast(),
                8,
            )
        };
        if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Asks to change a device that there is not: the kernel would answer with an error
    /// of its own, later.
    fn network_change() -> io::Result<()> {
        let route = SockProtocol::NetlinkRoute;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), route)?;
        // `struct nlmsghdr` (RTM_SETLINK, a request), `struct ifinfomsg` of device 0.
        let mut message = [0u8; 32];
        message[0] = 32;
        message[4] = 19;
        message[6] = 1;
        nix::sys::socket::send(fd.as_raw_fd(), &message, MsgFlags::empty())?;
        Ok(())
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
