//! `security_unix_may_send`, called by `unix_dgram_connect` and `unix_dgram_sendmsg` (6.1
//! to 7.x) for datagram sockets, for every message.

use agentguard_common::event::Kind;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::{PASS, REFUSE, unix};
use crate::kernel::{SOCKET_SK, member};
use crate::session;

#[lsm(hook = "unix_may_send")]
fn unix_may_send(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    // SAFETY: the hook's second argument is the receiving `struct socket`.
    let other: *const u8 = unsafe { member(ctx.arg(1), &SOCKET_SK) };
    if other.is_null() {
        // Being closed: nothing will arrive.
        return PASS;
    }
    // SAFETY: a `struct sock` of a hook's argument, not null.
    if unsafe { unix::decide(Kind::UnixSend, &label, other) } { PASS } else { REFUSE }
}
