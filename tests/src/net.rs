//! A small network: this VM on one side (10.77.0.1, fd77::1), a namespace that
//! plays the outside on the other (10.77.0.2 and .3, fd77::2 and ::3), which counts
//! what reaches it. What counts is what the forbidden side received.

use std::io::{self, Read as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// Ports on which the outside takes TCP connections.
const TCP_PORTS: [u16; 3] = [443, 80, 9999];
/// Ports on which it takes datagrams.
const UDP_PORTS: [u16; 2] = [9999, 443];

/// How long a connection may be silent.
const PATIENCE: Duration = Duration::from_secs(3);

/// What reached the outside.
#[derive(Debug, Default)]
pub struct Outside {
    tcp: AtomicU64,
    udp: AtomicU64,
    heard: Mutex<Vec<Vec<u8>>>,
}

impl Outside {
    /// Connections and datagrams so far.
    #[must_use]
    pub fn received(&self) -> (u64, u64) {
        (self.tcp.load(Ordering::SeqCst), self.udp.load(Ordering::SeqCst))
    }

    /// What was said on connections that have ended, or were silent for a while.
    #[must_use]
    pub fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().map(|heard| heard.clone()).unwrap_or_default()
    }

    /// Listens to a connection.
    fn listen(&self, mut stream: TcpStream) {
        let mut said = Vec::new();
        let mut bytes = [0; 4096];
        // A timer that cannot be set leaves the connection to its end.
        let _ = stream.set_read_timeout(Some(PATIENCE));
        while let Ok(count @ 1..) = stream.read(&mut bytes) {
            said.extend_from_slice(bytes.get(..count).unwrap_or_default());
        }
        if let Ok(mut heard) = self.heard.lock()
            && !said.is_empty()
        {
            heard.push(said);
        }
    }
}

/// The network, made on first use and kept until the VM is thrown away.
///
/// # Errors
///
/// Where `ip` fails or the servers cannot listen.
pub fn outside() -> io::Result<&'static Outside> {
    static OUTSIDE: OnceLock<Result<Arc<Outside>, String>> = OnceLock::new();
    let made = OUTSIDE.get_or_init(|| make().map_err(|error| error.to_string()));
    made.as_deref().map_err(|error| io::Error::other(error.as_str()))
}

fn make() -> io::Result<Arc<Outside>> {
    for line in [
        "ip netns add outside",
        "ip link add inner type veth peer name outer netns outside",
        "ip addr add 10.77.0.1/24 dev inner",
        "ip addr add fd77::1/64 dev inner nodad",
        "ip link set inner up",
        "ip -n outside addr add 10.77.0.2/24 dev outer",
        "ip -n outside addr add 10.77.0.3/24 dev outer",
        "ip -n outside addr add fd77::2/64 dev outer nodad",
        "ip -n outside addr add fd77::3/64 dev outer nodad",
        "ip -n outside addr add 10.77.0.53/24 dev outer",
        "ip -n outside addr add 10.77.0.54/24 dev outer",
        "ip -n outside addr add fd77::54/64 dev outer nodad",
        "ip -n outside link set outer up",
        "ip -n outside link set lo up",
    ] {
        command(line)?;
    }
    // Datagram sockets for ping, for everyone.
    std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647")?;
    let outside = Arc::new(Outside::default());
    let counted = Arc::clone(&outside);
    // Namespaces are a thread's own: this one stays in the outside.
    std::thread::spawn(move || serve(&counted))
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the outside died")))?;
    Ok(outside)
}

fn command(line: &str) -> io::Result<()> {
    let words: Vec<&str> = line.split(' ').collect();
    let (program, rest) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let output = Command::new(program).args(rest).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{line}: {}", String::from_utf8_lossy(&output.stderr))))
}

/// Moves this thread into the outside, for good.
///
/// # Errors
///
/// Where that is refused.
pub(crate) fn enter_outside() -> io::Result<()> {
    let namespace = std::fs::File::open("/run/netns/outside")?;
    Ok(nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET)?)
}

fn serve(outside: &Arc<Outside>) -> io::Result<()> {
    enter_outside()?;
    for port in TCP_PORTS {
        // One socket for both families.
        let listener = TcpListener::bind(("::", port))?;
        let outside = Arc::clone(outside);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                outside.tcp.fetch_add(1, Ordering::SeqCst);
                let outside = Arc::clone(&outside);
                std::thread::spawn(move || outside.listen(stream));
            }
        });
    }
    for port in UDP_PORTS {
        let socket = UdpSocket::bind(("::", port))?;
        let outside = Arc::clone(outside);
        std::thread::spawn(move || {
            while socket.recv(&mut [0; 64]).is_ok() {
                outside.udp.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    Ok(())
}
