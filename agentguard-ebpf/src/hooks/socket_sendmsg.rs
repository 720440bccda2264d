//! `security_socket_sendmsg`, called by `sock_sendmsg` (6.1 to 7.x) for every
//! message, of `sendto`, `sendmsg`, `sendmmsg`, `write` and io_uring: decides
//! those that bring an address of their own, TCP fast open among them, and those on
//! sockets that were made outside of the session. The others go where a `connect` was
//! let through. A source route beside the message is refused.

use agentguard_common::event::{Kind, pair};
use agentguard_common::{opaque, steering};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::egress;
use super::{PASS, REFUSE, plain};
use crate::kernel::{
    MSGHDR_CONTROL, MSGHDR_CONTROLLEN, MSGHDR_NAME, MSGHDR_NAMELEN, member, probe,
};
use crate::session;

/// Control messages that are looked at; a message that brings more is refused.
const CONTROLS: u32 = 8;

/// `struct cmsghdr` of `linux/socket.h`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Control {
    len: u64,
    level: u32,
    kind: u32,
}

#[lsm(hook = "socket_sendmsg")]
fn socket_sendmsg(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    // SAFETY: the hook's first argument is the `struct socket`.
    let socket = unsafe { egress::socket(ctx.arg(0)) };
    if egress::left_alone(socket.family) {
        return PASS;
    }
    let message: *const u8 = ctx.arg(1);
    // SAFETY: the hook's second argument is the `struct msghdr`.
    let (name, steered): (*const u8, _) =
        unsafe { (member(message, &MSGHDR_NAME), steered(message)) };
    if let Some(what) = steered
        && !plain::refuse(Kind::Option, &label, what)
    {
        return REFUSE;
    }
    // One call of the evaluator for both, as each is a long walk for the verifier.
    let (kind, asked) = if name.is_null() {
        match egress::foreign(&label, &socket) {
            Ok(Some(asked)) => (Kind::Foreign, asked),
            Ok(None) => return PASS,
            Err(egress::GivenUp) => return REFUSE,
        }
    } else {
        // SAFETY: a member of the `struct msghdr`; the name was copied into kernel
        // memory as long as `struct sockaddr_storage` (`move_addr_to_kernel`).
        let (asked, _) =
            unsafe { egress::asked_at(name, member(message, &MSGHDR_NAMELEN), socket) };
        (Kind::Send, asked)
    };
    let kind = opaque::number(kind as u64, label.session);
    let decided = egress::decide_as(kind, &label, &asked);
    if decided == egress::GOES_ON && kind == Kind::Foreign as u64 {
        egress::claim(&label, &asked);
    }
    super::answer_or_wait(decided)
}

/// Level and number of a control message that steers, if there is one.
///
/// # Safety
///
/// `message` must be the hook's `struct msghdr`. Its control messages are in kernel
/// memory (`____sys_sendmsg`).
#[inline(always)]
unsafe fn steered(message: *const u8) -> Option<u32> {
    // SAFETY: members of that structure.
    let (at, left): (*const u8, u64) =
        unsafe { (member(message, &MSGHDR_CONTROL), member(message, &MSGHDR_CONTROLLEN)) };
    let header = size_of::<Control>() as u64;
    let (mut at, mut left) = (at, left);
    for _ in 0..CONTROLS {
        if left < header {
            return None;
        }
        // SAFETY: any bytes are a `Control`.
        let Some(control) = (unsafe { probe::<Control>(at, 0) }) else { break };
        if control.len < header || control.len > left {
            // The protocol refuses it itself.
            return None;
        }
        if steering::option(control.level, control.kind) {
            return Some(pair(control.level, control.kind));
        }
        let step = (control.len + 7) & !7;
        if step >= left {
            return None;
        }
        (at, left) = (at.wrapping_add(step as usize), left - step);
    }
    // Too many of them, or not to be read.
    Some(0)
}
