//! `security_sock_graft`, called by `sock_graft` (6.1 to 7.x) when a connection is
//! accepted: it belongs to the session of the task that accepts it.

use agentguard_common::counter::Count;
use agentguard_common::event::Kind;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::PASS;
use crate::{emit, session, socket};

#[lsm(hook = "sock_graft")]
fn sock_graft(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let sock: *const u8 = ctx.arg(0);
    // Without memory for it, each use of the connection is decided by its peer.
    // SAFETY: the hook's first argument is the connection's `struct sock`.
    if !unsafe { socket::claim(sock, &label) } {
        emit::count(Kind::Socket, Count::Error);
    }
    PASS
}
