//! The tracepoint `inet_sock_set_state`, in `inet_sk_state_store` and `tcp_set_state`
//! (6.1 to 7.x), before the new state can be seen: keeps the list of ports that sessions
//! listen on. A port leaves the list before it is given up.

use agentguard_common::net::{AF_INET, AF_INET6, Address};
use agentguard_common::session::ListenKey;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::atomic;
use crate::kernel::{SOCK_ADDRESS, SOCK_ADDRESS6, SOCK_FAMILY, SOCK_PORT, SOCK_V6ONLY, member};
use crate::maps::LISTENERS;
use crate::socket;

/// `TCP_LISTEN` of `net/tcp_states.h`.
const TCP_LISTEN: i32 = 10;
/// Subtraction, as the addition wraps.
const MINUS_ONE: u64 = u64::MAX;

#[btf_tracepoint(function = "inet_sock_set_state")]
fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    let (before, after): (i32, i32) = (ctx.arg(1), ctx.arg(2));
    if before != TCP_LISTEN && after != TCP_LISTEN || before == after {
        return 0;
    }
    let sock: *const u8 = ctx.arg(0);
    // SAFETY: the tracepoint's first argument is the `struct sock`.
    let Some(session) = (unsafe { socket::session(sock) }) else { return 0 };
    // SAFETY: members of that structure.
    let (family, port, namespace): (u16, u16, u32) =
        unsafe { (member(sock, &SOCK_FAMILY), member(sock, &SOCK_PORT), socket::namespace(sock)) };
    // SAFETY: as above.
    let Some(address) = (unsafe { address(sock, family) }) else { return 0 };
    let key = ListenKey { address, session, namespace, port, reserved: 0 };
    let listens = after == TCP_LISTEN;
    note(&key, listens);
    // A socket on `::` serves IPv4 too, unless told otherwise.
    // SAFETY: as above.
    if family == AF_INET6 && address == Address::ANY6 && !unsafe { v6_only(sock) } {
        note(&ListenKey { address: Address::ANY4, ..key }, listens);
    }
    0
}

/// The address that a socket is bound to.
///
/// # Safety
///
/// `sock` must be a `struct sock` that the verifier knows to be one.
#[inline(always)]
unsafe fn address(sock: *const u8, family: u16) -> Option<Address> {
    // SAFETY: members of that structure.
    unsafe {
        match family {
            AF_INET => Some(Address::v4(u32::from_be(member(sock, &SOCK_ADDRESS)))),
            AF_INET6 => Some(socket::address6(sock, &SOCK_ADDRESS6)),
            _ => None,
        }
    }
}

/// Counts a socket in or out.
#[inline(always)]
fn note(key: &ListenKey, listens: bool) {
    let Some(count) = LISTENERS.get_ptr_mut(key) else {
        if listens {
            // Without room, the port is decided by the rules.
            let _ = LISTENERS.insert(key, 1, 0);
        }
        return;
    };
    let change = if listens { 1 } else { MINUS_ONE };
    // SAFETY: a live map value.
    if unsafe { atomic::fetch_add(count, change) } == 1 && !listens {
        let _ = LISTENERS.remove(key);
    }
}

/// Whether a socket is for IPv6 only (`IPV6_V6ONLY`).
///
/// # Safety
///
/// `sock` must be a `struct sock` that the verifier knows to be one.
#[inline(always)]
unsafe fn v6_only(sock: *const u8) -> bool {
    let bit = SOCK_V6ONLY.load();
    // SAFETY: the byte of a bit field of that structure.
    let byte = unsafe { sock.add((bit / 8) as usize).read_volatile() };
    byte & (1 << (bit % 8)) != 0
}
