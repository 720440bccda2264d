//! Ways out that are not a connection of one's own: other sockets, other people's
//! sockets, options that steer, and what the session listens on itself.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram, UnixStream};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A socket by the name of what it is for.
pub(super) fn socket(name: &str) -> io::Result<()> {
    let (family, kind, protocol) = match name {
        "packet" => (libc::AF_PACKET, libc::SOCK_DGRAM, 0),
        "raw" => (libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW),
        "raw6" => (libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6),
        "sctp" => (libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP),
        "udplite" => (libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE),
        "vsock" => (libc::AF_VSOCK, libc::SOCK_STREAM, 0),
        "xdp" => (libc::AF_XDP, libc::SOCK_RAW, 0),
        _ => return Err(io::Error::other(format!("{name} is no socket"))),
    };
    // SAFETY: numbers only.
    let fd = check(i64::from(unsafe { libc::socket(family, kind, protocol) }))?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(())
}

fn unix_address(name: &str) -> io::Result<UnixAddr> {
    match name.strip_prefix('@') {
        Some(name) => UnixAddr::from_abstract_name(name),
        None => UnixAddr::from_pathname(name),
    }
}

/// A stream to a unix socket.
pub(super) fn unix_connect(name: &str) -> io::Result<()> {
    UnixStream::connect_addr(&unix_address(name)?).map(drop)
}

/// A datagram to a unix socket.
pub(super) fn unix_send(name: &str) -> io::Result<()> {
    UnixDatagram::unbound()?.send_to_addr(b"x", &unix_address(name)?).map(drop)
}

/// A unix socket of the session's own.
pub(super) fn unix_own(name: &str) -> io::Result<()> {
    let address = unix_address(name)?;
    let listener = std::os::unix::net::UnixListener::bind_addr(&address)?;
    let mut stream = UnixStream::connect_addr(&address)?;
    let (mut accepted, _) = listener.accept()?;
    stream.write_all(b"x")?;
    accepted.read_exact(&mut [0])
}

/// An option that would lead packets by way of another host.
pub(super) fn option(name: &str) -> io::Result<()> {
    // Loose source route by 10.77.0.3 (RFC 791, 3.1), padded.
    let route: &[u8] = &[131, 7, 4, 10, 77, 0, 3, 0];
    let (family, level, option) = match name {
        "route" => ("0.0.0.0:0", libc::IPPROTO_IP, libc::IP_OPTIONS),
        "route6" => ("[::]:0", libc::IPPROTO_IPV6, libc::IPV6_RTHDR),
        "ttl" => {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            return socket.set_ttl(9);
        }
        _ => return Err(io::Error::other(format!("{name} is no option"))),
    };
    let socket = UdpSocket::bind(family)?;
    let len = u32::try_from(route.len()).map_err(io::Error::other)?;
    // SAFETY: the value lives through the call and has the length given.
    let set =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, route.as_ptr().cast(), len) };
    check(i64::from(set)).map(drop)
}

/// A control call that changes the host's network, or asks.
pub(super) fn ioctl(name: &str) -> io::Result<()> {
    let mut request = [0u8; 64];
    if name == "tun" {
        let file = std::fs::File::options().read(true).write(true).open("/dev/net/tun")?;
        // IFF_TUN | IFF_NO_PI, behind the name, which the kernel chooses.
        request[16..18].copy_from_slice(&0x1001u16.to_ne_bytes());
        // SAFETY: the request lives through the call and is a `struct ifreq`.
        let done = unsafe { libc::ioctl(file.as_raw_fd(), 0x4004_54ca, request.as_mut_ptr()) };
        return check(i64::from(done)).map(drop);
    }
    if name == "type" {
        let pty = nix::pty::openpty(None, None)?;
        // SAFETY: the character lives through the call.
        let done = unsafe { libc::ioctl(pty.slave.as_raw_fd(), libc::TIOCSTI, b"x".as_ptr()) };
        return check(i64::from(done)).map(drop);
    }
    let call: u64 = match name {
        "flags" => 0x8914,
        "route" => 0x890b,
        "tunnel" => 0x89f1,
        "ask" => 0x8913,
        _ => return Err(io::Error::other(format!("{name} is no control call"))),
    };
    request[..2].copy_from_slice(b"lo");
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: the request lives through the call and is longer than what these read.
    check(i64::from(unsafe { libc::ioctl(socket.as_raw_fd(), call, request.as_mut_ptr()) }))
        .map(drop)
}

/// A datagram to an allowed place, by way of another host.
pub(super) fn routed(to: SocketAddr) -> io::Result<()> {
    let SocketAddr::V4(to) = to else { return Err(io::Error::other("IPv4 only")) };
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let mut name = super::raw::sockaddr_in(to);
    let mut byte = [b'x'];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // `struct cmsghdr` with a loose source route behind it.
    let mut control = [0u64; 3];
    control[0] = 24;
    control[1] = u64::from(libc::IP_RETOPTS.unsigned_abs()) << 32;
    control[2] = u64::from_ne_bytes([131, 7, 4, 10, 77, 0, 3, 0]);
    // SAFETY: all-zero is a valid message header.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = name.as_mut_ptr().cast();
    message.msg_namelen = 16;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: the message and what it points to live through the call.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) };
    check(i64::try_from(sent).map_err(io::Error::other)?).map(drop)
}

/// Sends a byte on standard input, which is a socket that came from outside.
pub(super) fn use_stdin() -> io::Result<()> {
    // SAFETY: the byte lives through the call.
    check(unsafe { libc::send(0, b"x".as_ptr().cast(), 1, libc::MSG_NOSIGNAL) } as i64).map(drop)
}

/// Takes a descriptor that comes by standard input, and sends a byte on it.
pub(super) fn receive_fd() -> io::Result<()> {
    let mut space = nix::cmsg_space!([i32; 1]);
    let mut byte = [0];
    let mut parts = [io::IoSliceMut::new(&mut byte)];
    let message = recvmsg::<()>(0, &mut parts, Some(&mut space), MsgFlags::empty())?;
    if message.flags.contains(MsgFlags::MSG_CTRUNC) {
        // The kernel left it out.
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control
            && let Some(fd) = fds.first()
        {
            return send_on(*fd);
        }
    }
    Err(io::Error::other("no descriptor came"))
}

/// Takes a descriptor out of another process, `PID:FD`, and sends a byte on it.
pub(super) fn take_fd(from: &str) -> io::Result<()> {
    let numbers: Vec<i32> = from.split(':').filter_map(|number| number.parse().ok()).collect();
    let [pid, fd] = numbers[..] else { return Err(io::Error::other("PID:FD is needed")) };
    // SAFETY: numbers only.
    let pidfd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: as above.
    let taken = check(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, fd, 0) })?;
    send_on(i32::try_from(taken).map_err(io::Error::other)?)
}

fn send_on(fd: i32) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as this process.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let flags = MsgFlags::MSG_NOSIGNAL;
    nix::sys::socket::send(fd.as_raw_fd(), b"x", flags)?;
    Ok(())
}

/// Listens, and connects to that; both ends say something.
pub(super) fn own(at: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(at)?;
    let mut to = listener.local_addr()?;
    if to.ip().is_unspecified() {
        to.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let mut stream = TcpStream::connect(to)?;
    let (mut accepted, _) = listener.accept()?;
    stream.write_all(b"x")?;
    accepted.read_exact(&mut [0])?;
    accepted.write_all(b"y")?;
    stream.read_exact(&mut [0])?;
    drop(listener);
    // Not the session's any more.
    match TcpStream::connect(to) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(()),
        other => Err(io::Error::other(format!("after the end: {other:?}"))),
    }
}

/// Listens for IPv6 only on the port of somebody else's IPv4 service, and connects to
/// the latter.
pub(super) fn shadow(to: SocketAddr) -> io::Result<()> {
    use nix::sys::socket::{
        self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn6, sockopt,
    };
    let fd = socket::socket(AddressFamily::Inet6, SockType::Stream, SockFlag::empty(), None)?;
    socket::setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    let any = std::net::SocketAddrV6::new(std::net::Ipv6Addr::UNSPECIFIED, to.port(), 0, 0);
    socket::bind(fd.as_raw_fd(), &SockaddrIn6::from(any))?;
    socket::listen(&fd, Backlog::new(1)?)?;
    TcpStream::connect(to).map(drop)
}
