//! `security_netlink_send`, called by `netlink_sendmsg` (6.1 to 7.x) with the message as
//! the kernel will read it: what would change the host's network is refused. In network
//! namespaces of their own, sessions may do as they like.

use agentguard_common::event::{Kind, pair};
use agentguard_common::steering;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::{PASS, REFUSE, plain};
use crate::kernel::{HOST_NAMESPACE, SKB_DATA, SKB_LEN, SOCK_PROTOCOL, member, probe};
use crate::{session, socket};

/// Messages of one datagram that are looked at; one that holds more is refused.
const MESSAGES: u32 = 8;

/// The beginning of `struct nlmsghdr` of `linux/netlink.h`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Message {
    len: u32,
    kind: u16,
    flags: u16,
}

/// The bytes of a whole `struct nlmsghdr`.
const HEADER: u32 = 16;

#[lsm(hook = "netlink_send")]
fn netlink_send(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let sock: *const u8 = ctx.arg(0);
    // SAFETY: the hook's first argument is the `struct sock`.
    let (namespace, protocol) =
        unsafe { (socket::namespace(sock), u32::from(member::<u16>(sock, &SOCK_PROTOCOL))) };
    if namespace != HOST_NAMESPACE.load() {
        return PASS;
    }
    // SAFETY: the hook's second argument is the `struct sk_buff`.
    match unsafe { change(ctx.arg(1), protocol) } {
        Some(what) if !plain::refuse(Kind::Netlink, &label, what) => REFUSE,
        _ => PASS,
    }
}

/// Protocol and type of a message that does more than ask, if there is one.
///
/// # Safety
///
/// `packet` must be the hook's `struct sk_buff`, which is linear
/// (`netlink_alloc_large_skb`).
#[inline(always)]
unsafe fn change(packet: *const u8, protocol: u32) -> Option<u32> {
    // SAFETY: members of that structure.
    let (at, left): (*const u8, u32) =
        unsafe { (member(packet, &SKB_DATA), member(packet, &SKB_LEN)) };
    let (mut at, mut left) = (at, left);
    for _ in 0..MESSAGES {
        // As `netlink_rcv_skb` goes through them.
        if left < HEADER {
            return None;
        }
        // SAFETY: any bytes are a `Message`.
        let Some(message) = (unsafe { probe::<Message>(at, 0) }) else { break };
        if message.len < HEADER || message.len > left {
            return None;
        }
        if !steering::only_asks(protocol, u32::from(message.kind)) {
            return Some(pair(protocol, u32::from(message.kind)));
        }
        let step = (message.len.wrapping_add(3)) & !3;
        if step >= left {
            return None;
        }
        (at, left) = (at.wrapping_add(step as usize), left - step);
    }
    // Too many of them, or not to be read.
    Some(pair(protocol, 0))
}
