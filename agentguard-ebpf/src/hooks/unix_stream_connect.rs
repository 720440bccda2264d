//! `security_unix_stream_connect`, called by `unix_stream_connect` (6.1 to 7.x) for
//! stream and seqpacket sockets, when the socket at the other end has been found.

use agentguard_common::event::Kind;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::{PASS, REFUSE, unix};
use crate::session;

#[lsm(hook = "unix_stream_connect")]
fn unix_stream_connect(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    // SAFETY: the hook's second argument is the listening `struct sock`.
    if unsafe { unix::decide(Kind::UnixConnect, &label, ctx.arg(1)) } { PASS } else { REFUSE }
}
