//! `security_socket_post_create`, called by `__sock_create` (6.1 to 7.x) with the
//! finished socket: it gets its maker's label, or there is no socket.

use agentguard_common::counter::Count;
use agentguard_common::event::Kind;
use agentguard_common::net;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::{PASS, REFUSE};
use crate::emit;
use crate::kernel::{SOCKET_SK, member};
use crate::{session, socket};

#[lsm(hook = "socket_post_create")]
fn socket_post_create(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let (family, kernels_own): (i32, i32) = (ctx.arg(1), ctx.arg(4));
    if kernels_own != 0 || !matches!(family as u16, net::AF_UNIX | net::AF_INET | net::AF_INET6) {
        return PASS;
    }
    // SAFETY: the hook's first argument is the `struct socket`.
    let sock: *const u8 = unsafe { member(ctx.arg(0), &SOCKET_SK) };
    // SAFETY: a `struct sock` of a hook's argument, not null.
    if !sock.is_null() && unsafe { socket::claim(sock, &label) } {
        return PASS;
    }
    emit::count(Kind::Socket, Count::Error);
    REFUSE
}
