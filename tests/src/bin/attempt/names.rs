//! Asking for names: as programs do it, and by hand.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};

use super::PATIENCE;

/// Looks a name up as programs do, and prints its addresses.
pub(super) fn resolve(name: &str) -> io::Result<()> {
    let mut found: Vec<String> =
        (name, 0).to_socket_addrs()?.map(|address| address.ip().to_string()).collect();
    found.sort();
    found.dedup();
    println!("found {}", found.join(","));
    Ok(())
}

/// Looks a name up and connects, as programs do.
pub(super) fn reach(place: &str) -> io::Result<()> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in place.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Asks a server by hand, `SERVER/TYPE/NAME`, and prints what it answers.
pub(super) fn ask(what: &str, tcp: bool) -> io::Result<()> {
    let (server, kind, name) = parts(what)?;
    let question = question(7, kind, name);
    let answer = if tcp { over_tcp(server, &[&question])? } else { over_udp(server, &question)? };
    println!("answer {}", addresses(&answer).join(","));
    Ok(())
}

/// Two questions in one segment, `SERVER/TYPE/NAME`, the second for `second.NAME`.
pub(super) fn ask_two(what: &str) -> io::Result<()> {
    let (server, kind, name) = parts(what)?;
    let second = format!("second.{name}");
    over_tcp(server, &[&question(7, kind, name), &question(8, kind, &second)]).map(drop)
}

/// Sends bytes, `SERVER/HEX`, by UDP; `tcp-SERVER/HEX` by TCP.
pub(super) fn send_bytes(what: &str) -> io::Result<()> {
    let wrong = || io::Error::other(format!("{what} is no server and bytes"));
    let (server, hex) = what.split_once('/').ok_or_else(wrong)?;
    let byte =
        |at: usize| hex.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
    let bytes = bytes.ok_or_else(wrong)?;
    match server.strip_prefix("tcp-") {
        Some(server) => {
            let mut stream = TcpStream::connect_timeout(&parse(server)?, PATIENCE)?;
            stream.write_all(&bytes)?;
            stream.set_read_timeout(Some(PATIENCE / 3))?;
            stream.read(&mut [0; 512]).map(drop)
        }
        None => over_udp(parse(server)?, &bytes).map(drop),
    }
}

/// Sends a datagram as if from a server, `SERVER/TO`: needs the right to.
pub(super) fn pretend(what: &str) -> io::Result<()> {
    let (from, to) = what.split_once('/').ok_or(io::ErrorKind::InvalidInput)?;
    let socket = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Inet,
        nix::sys::socket::SockType::Datagram,
        nix::sys::socket::SockFlag::empty(),
        None,
    )?;
    let yes: libc::c_int = 1;
    // SAFETY: the option takes a number of that size.
    let set = unsafe {
        libc::setsockopt(
            std::os::fd::AsRawFd::as_raw_fd(&socket),
            libc::SOL_IP,
            libc::IP_TRANSPARENT,
            (&raw const yes).cast(),
            4,
        )
    };
    nix::errno::Errno::result(set)?;
    let socket = UdpSocket::from(socket);
    let from: std::net::SocketAddrV4 = from.parse().map_err(io::Error::other)?;
    nix::sys::socket::bind(
        std::os::fd::AsRawFd::as_raw_fd(&socket),
        &nix::sys::socket::SockaddrIn::from(from),
    )?;
    socket.send_to(&question(7, 1, "a.test"), parse(to)?).map(drop)
}

fn parts(what: &str) -> io::Result<(SocketAddr, u16, &str)> {
    let mut parts = what.splitn(3, '/');
    let (Some(server), Some(kind), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(io::Error::other(format!("{what} is no question")));
    };
    Ok((parse(server)?, kind.parse().map_err(io::Error::other)?, name))
}

fn parse(server: &str) -> io::Result<SocketAddr> {
    server.parse().map_err(io::Error::other)
}

fn question(id: u16, kind: u16, name: &str) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap_or(0));
        message.extend(label.bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    message
}

fn over_udp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let socket = super::udp(server)?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE / 3))?;
    socket.send(question)?;
    let mut answer = vec![0; 65_536];
    let len = socket.recv(&mut answer)?;
    answer.truncate(len);
    Ok(answer)
}

fn over_tcp(server: SocketAddr, questions: &[&[u8]]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE / 3))?;
    let mut segment = Vec::new();
    for question in questions {
        segment.extend(u16::try_from(question.len()).unwrap_or(0).to_be_bytes());
        segment.extend(*question);
    }
    stream.write_all(&segment)?;
    let mut len = [0; 2];
    let mut answer = Vec::new();
    for _ in questions {
        stream.read_exact(&mut len)?;
        answer = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut answer)?;
    }
    Ok(answer)
}

/// The addresses in an answer whose names are all compressed, as our servers' are.
fn addresses(answer: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = 12;
    while let Some(&label) = answer.get(at)
        && label != 0
    {
        at += usize::from(label) + 1;
    }
    at += 5;
    while let Some(head) = answer.get(at..at + 12) {
        let len = usize::from(u16::from_be_bytes([head[10], head[11]]));
        let data = answer.get(at + 12..at + 12 + len).unwrap_or_default();
        match (head[3], data.len()) {
            (1, 4) => {
                found.extend(<[u8; 4]>::try_from(data).map(|ip| Ipv4Addr::from(ip).to_string()))
            }
            (28, 16) => {
                found.extend(<[u8; 16]>::try_from(data).map(|ip| Ipv6Addr::from(ip).to_string()))
            }
            _ => {}
        }
        at += 12 + len;
    }
    found
}
