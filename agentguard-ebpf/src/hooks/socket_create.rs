//! `security_socket_create`, called by `__sock_create` (6.1 to 7.x) before a socket is
//! made, for `socket`, `socketpair` and io_uring: refuses those that nothing could
//! decide on later, raw and packet sockets among them.

use agentguard_common::event::Kind;
use agentguard_common::net::{self, Sockaddr};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::PASS;
use super::egress::{self, Asked, Socket};
use crate::session;

#[lsm(hook = "socket_create")]
fn socket_create(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let kernels_own: i32 = ctx.arg(3);
    if kernels_own != 0 {
        return PASS;
    }
    let (family, kind, protocol): (i32, i32, i32) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
    let (family, kind, protocol) = (family as u16, kind as u32, protocol as u16);
    if net::may_have(family, kind, protocol) {
        return PASS;
    }
    let socket = Socket { family, protocol, kind, sock: core::ptr::null() };
    let asked = Asked::of(Sockaddr::Other(family), socket);
    super::answer(egress::decide(Kind::Socket, &label, &asked))
}
