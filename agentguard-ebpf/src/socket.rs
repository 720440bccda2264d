//! Which session a socket belongs to: the one whose task made it or accepted it.

use agentguard_common::hello;
use agentguard_common::net::{AF_INET, AF_INET6, Address, Destination};
use agentguard_common::session::{SocketLabel, TaskLabel};
use aya_ebpf::bindings::BPF_SK_STORAGE_GET_F_CREATE;
use aya_ebpf::helpers::generated::bpf_sk_storage_get;

use crate::emit;
use crate::kernel::{NET_NUMBER, SOCK_NET, SOCK_PEER, SOCK_PEER_PORT, SOCK_PEER6, member};
use crate::maps::SOCKETS;

/// The label of a socket; `None` for one that no guarded task made.
///
/// # Safety
///
/// `sock` must be a socket that the verifier knows to be one, whichever of its types.
#[inline(always)]
pub(crate) unsafe fn label(sock: *const u8) -> Option<&'static SocketLabel> {
    let map = (&raw const SOCKETS).cast_mut().cast();
    // SAFETY: a socket-storage map and a socket, by the contract; no value is made.
    let label =
        unsafe { bpf_sk_storage_get(map, sock.cast_mut().cast(), core::ptr::null_mut(), 0) };
    // SAFETY: the helper returns null or the socket's value, which lives as long as the
    // socket.
    unsafe { label.cast::<SocketLabel>().as_ref() }
}

/// The session of a socket.
///
/// # Safety
///
/// As for [`label`].
#[inline(always)]
pub(crate) unsafe fn session(sock: *const u8) -> Option<u64> {
    // SAFETY: by the contract above.
    unsafe { label(sock) }.map(|label| label.session)
}

/// Makes a socket the session's own; false when there was no memory for it.
///
/// # Safety
///
/// `sock` must be a `struct sock` that the verifier knows to be one, and the current task
/// one with that label.
#[inline(always)]
pub(crate) unsafe fn claim(sock: *const u8, label: &TaskLabel) -> bool {
    let map = (&raw const SOCKETS).cast_mut().cast();
    let maker = emit::maker();
    let mut own = SocketLabel {
        session: label.session,
        slot: label.slot,
        // SAFETY: by the contract above.
        namespace: unsafe { namespace(sock) },
        pid: maker.pid,
        tid: maker.tid,
        uid: maker.uid,
        gid: maker.gid,
        comm: maker.comm,
        hello: 0,
        policy: 0,
    };
    // SAFETY: as in `label`; the value is on our stack for the whole call.
    let made = unsafe {
        bpf_sk_storage_get(
            map,
            sock.cast_mut().cast(),
            (&raw mut own).cast(),
            u64::from(BPF_SK_STORAGE_GET_F_CREATE),
        )
    };
    // SAFETY: as above. One that was there already, another session's, is written over.
    match unsafe { made.cast::<SocketLabel>().as_mut() } {
        Some(made) => {
            *made = own;
            true
        }
        None => false,
    }
}

/// How far the reading of a socket's first bytes is, a [`hello::state`].
#[inline(always)]
pub(crate) fn hello_of(label: &SocketLabel) -> u32 {
    // SAFETY: a live value beside the socket. The daemon writes none.
    unsafe { (&raw const label.hello).read_volatile() }
}

/// Changes that.
#[inline(always)]
pub(crate) fn set_hello(label: &SocketLabel, to: u32) {
    // SAFETY: as above; others see the one number or the other.
    unsafe { (&raw const label.hello).cast_mut().write_volatile(to) };
}

/// The policy that decided last on a socket's connection, see [`SocketLabel::policy`].
#[inline(always)]
pub(crate) fn policy(label: &SocketLabel) -> u32 {
    // SAFETY: as for `hello_of`.
    unsafe { (&raw const label.policy).read_volatile() }
}

/// Changes that.
#[inline(always)]
pub(crate) fn set_policy(label: &SocketLabel, to: u32) {
    // SAFETY: as for `set_hello`.
    unsafe { (&raw const label.policy).cast_mut().write_volatile(to) };
}

/// A connection of the session was let through: the socket is its own, whoever made it, and
/// its first bytes are read if a name led there.
///
/// # Safety
///
/// As for [`claim`].
#[inline(always)]
pub(crate) unsafe fn connected(sock: *const u8, of: &TaskLabel, by_name: bool, by: u64) -> bool {
    // SAFETY: by the contract above.
    unsafe {
        if session(sock) != Some(of.session) && !claim(sock, of) {
            return false;
        }
        if let Some(label) = label(sock) {
            set_hello(label, if by_name { hello::state::WAITING } else { hello::state::NONE });
            set_policy(label, by as u32);
        }
        true
    }
}

/// The number of the network namespace that a socket is in.
///
/// # Safety
///
/// As for [`claim`]'s `sock`.
#[inline(always)]
pub(crate) unsafe fn namespace(sock: *const u8) -> u32 {
    // SAFETY: members of that structure and of the `struct net` it points to.
    unsafe { member(member::<*const u8>(sock, &SOCK_NET), &NET_NUMBER) }
}

/// Where a connected socket leads; `None` for one that is not connected.
///
/// # Safety
///
/// As for [`claim`]'s `sock`.
#[inline(always)]
pub(crate) unsafe fn peer(sock: *const u8, family: u16) -> Option<Destination> {
    // SAFETY: members of that structure.
    let (address, port) = unsafe {
        let port = u16::from_be(member(sock, &SOCK_PEER_PORT));
        let address = match family {
            AF_INET => Address::v4(u32::from_be(member(sock, &SOCK_PEER))),
            AF_INET6 => address6(sock, &SOCK_PEER6),
            _ => return None,
        };
        (address, port)
    };
    // "Any", and only that, is reached as something else.
    if address.reached() == address { Some(Destination { address, port }) } else { None }
}

/// An IPv6 address in a socket.
///
/// # Safety
///
/// As for [`claim`]'s `sock`, and `offset` must be that of a `struct in6_addr`.
#[inline(always)]
pub(crate) unsafe fn address6(sock: *const u8, offset: &aya_ebpf::Global<u32>) -> Address {
    // Four words, as the members are aligned like those.
    let word = |at: usize| {
        // SAFETY: by the contract above.
        u64::from(u32::from_be(unsafe { member(sock.wrapping_add(at), offset) }))
    };
    Address { high: word(0) << 32 | word(4), low: word(8) << 32 | word(12) }
}
