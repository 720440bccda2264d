//! Ways to the network that the standard library does not take.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn, SockaddrIn6, connect, sendto, socket,
};

fn stream(to: SocketAddr) -> io::Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    Ok(socket(family, SockType::Stream, SockFlag::empty(), None)?)
}

fn send(fd: &OwnedFd, bytes: &[u8], to: SocketAddr, flags: i32) -> io::Result<()> {
    let flags = MsgFlags::from_bits_retain(flags);
    match to {
        SocketAddr::V4(to) => sendto(fd.as_raw_fd(), bytes, &SockaddrIn::from(to), flags),
        SocketAddr::V6(to) => sendto(fd.as_raw_fd(), bytes, &SockaddrIn6::from(to), flags),
    }?;
    Ok(())
}

/// Kills this process with a signal.
pub(super) fn raise(name: &str) -> io::Result<()> {
    let signal: nix::sys::signal::Signal = name.parse()?;
    Ok(nix::sys::signal::raise(signal)?)
}

/// A datagram whose address says AF_UNSPEC, which IPv4 takes for AF_INET.
pub(super) fn send_unspec(socket: &UdpSocket, to: SocketAddr) -> io::Result<()> {
    let SocketAddr::V4(to) = to else { return Err(io::Error::other("IPv4 only")) };
    let mut bytes = sockaddr_in(to);
    bytes[..2].copy_from_slice(&0u16.to_ne_bytes());
    // SAFETY: both buffers live through the call and have the lengths given.
    let sent = unsafe {
        libc::sendto(socket.as_raw_fd(), b"x".as_ptr().cast(), 1, 0, bytes.as_ptr().cast(), 16)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub(super) fn sockaddr_in(to: SocketAddrV4) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&2u16.to_ne_bytes());
    bytes[2..4].copy_from_slice(&to.port().to_be_bytes());
    bytes[4..8].copy_from_slice(&to.ip().octets());
    bytes
}

/// Three datagrams in one call.
pub(super) fn sendmmsg(socket: &UdpSocket, to: SocketAddr) -> io::Result<()> {
    let SocketAddr::V4(to) = to else { return Err(io::Error::other("IPv4 only")) };
    let mut name = sockaddr_in(to);
    let mut byte = [b'x'];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: all-zero is a valid message header.
    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
    message.msg_hdr.msg_name = name.as_mut_ptr().cast();
    message.msg_hdr.msg_namelen = 16;
    message.msg_hdr.msg_iov = &raw mut part;
    message.msg_hdr.msg_iovlen = 1;
    let mut messages = [message; 3];
    // SAFETY: the messages and what they point to live through the call.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), 3, 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A connection that carries data in its first packet, and needs no `connect`.
pub(super) fn fastopen(to: SocketAddr) -> io::Result<()> {
    let fd = stream(to)?;
    send(&fd, b"x", to, libc::MSG_FASTOPEN)
}

/// Takes a connection to this address back, then makes it again.
pub(super) fn reconnect(to: SocketAddr) -> io::Result<()> {
    let fd = stream(to)?;
    let unspec = [0u8; 16];
    // SAFETY: the address lives through the call and has the length given.
    let failed = unsafe { libc::connect(fd.as_raw_fd(), unspec.as_ptr().cast(), 16) };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(match to {
        SocketAddr::V4(to) => connect(fd.as_raw_fd(), &SockaddrIn::from(to)),
        SocketAddr::V6(to) => connect(fd.as_raw_fd(), &SockaddrIn6::from(to)),
    }?)
}

/// An echo request from a datagram socket, which needs no capability.
pub(super) fn ping(to: SocketAddr) -> io::Result<()> {
    // SAFETY: numbers only.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_ICMP) };
    echo(fd, to)
}

/// An echo request from a raw socket.
pub(super) fn raw(to: SocketAddr) -> io::Result<()> {
    // SAFETY: numbers only.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP) };
    echo(fd, to)
}

fn echo(fd: i32, to: SocketAddr) -> io::Result<()> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    send(&fd, &[8, 0, 0xf7, 0xff, 0, 0, 0, 0], to, 0)
}

/// A connection made by io_uring, whose work is not a system call of ours.
pub(super) fn io_uring_connect(to: SocketAddr) -> io::Result<()> {
    let SocketAddr::V4(to4) = to else { return Err(io::Error::other("IPv4 only")) };
    let fd = stream(to)?;
    let name = sockaddr_in(to4);
    // SAFETY: the address lives until the ring has said what came of it.
    let result =
        unsafe { one_entry(IORING_OP_CONNECT, fd.as_raw_fd(), name.as_ptr().addr() as u64, 16) }?;
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}

const IORING_OP_CONNECT: u8 = 16;
const IORING_ENTER_GETEVENTS: u32 = 1;
const IORING_OFF_SQES: i64 = 0x1000_0000;
const RING_BYTES: usize = 4096;

/// Does one operation on a ring of its own and returns its result.
///
/// # Safety
///
/// What `address` points to must be good for the operation.
unsafe fn one_entry(operation: u8, fd: i32, address: u64, offset: u64) -> io::Result<i32> {
    let mut parameters = [0u8; 120];
    // SAFETY: the parameters are as long as `struct io_uring_params`.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
    let ring =
        i32::try_from(ring).ok().filter(|ring| *ring >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made this descriptor for us.
    let ring = unsafe { OwnedFd::from_raw_fd(ring) };
    let number = |at: usize| {
        u32::from_ne_bytes([
            parameters[at],
            parameters[at + 1],
            parameters[at + 2],
            parameters[at + 3],
        ]) as usize
    };
    let (sq_tail, sq_array, cqes) = (number(44), number(64), number(100));
    let rings = map(&ring, 0)?;
    let entries = map(&ring, IORING_OFF_SQES)?;
    // SAFETY: one page each was mapped, and a ring of one entry fits; the offsets are
    // the kernel's. Nobody else uses this ring.
    unsafe {
        std::ptr::write_bytes(entries, 0, 64);
        entries.write(operation);
        entries.add(4).cast::<i32>().write_unaligned(fd);
        entries.add(8).cast::<u64>().write_unaligned(offset);
        entries.add(16).cast::<u64>().write_unaligned(address);
        rings.add(sq_array).cast::<u32>().write_volatile(0);
        rings.add(sq_tail).cast::<u32>().write_volatile(1);
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        let none: *const libc::c_void = std::ptr::null();
        let entered = libc::syscall(
            libc::SYS_io_uring_enter,
            ring.as_raw_fd(),
            1,
            1,
            IORING_ENTER_GETEVENTS,
            none,
            0,
        );
        if entered < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(rings.add(cqes + 8).cast::<i32>().read_volatile())
    }
}

fn map(ring: &OwnedFd, offset: i64) -> io::Result<*mut u8> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
    // SAFETY: a fresh mapping; the process ends before it has to be unmapped.
    let at = unsafe {
        libc::mmap(std::ptr::null_mut(), RING_BYTES, protection, flags, ring.as_raw_fd(), offset)
    };
    if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(at.cast()) }
}
