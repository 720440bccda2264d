//! `security_socket_connect`, called by `__sys_connect_file` (6.1 to 7.x) with
//! the address already in kernel memory, for the system call and for io_uring:
//! decides connections.

use agentguard_common::event::Kind;
use agentguard_common::net;
use agentguard_common::opaque;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::PASS;
use super::egress;
use crate::session;

#[lsm(hook = "socket_connect")]
fn socket_connect(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    // SAFETY: the hook's first argument is the `struct socket`.
    let socket = unsafe { egress::socket(ctx.arg(0)) };
    if egress::left_alone(socket.family) {
        return PASS;
    }
    let len: i32 = ctx.arg(2);
    // SAFETY: the hook's second argument is the address, in kernel memory that is
    // as long as `struct sockaddr_storage`.
    let (asked, unspecified) = unsafe { egress::asked_at(ctx.arg(1), len, socket) };
    if unspecified && net_socket(socket.family) {
        // Takes a connection back; there is nowhere to go.
        return PASS;
    }
    let asked = if unspecified { asked.elsewhere() } else { asked };
    let kind = opaque::number(Kind::Connect as u64, label.session);
    super::answer_or_wait(egress::decide_as(kind, &label, &asked))
}

#[inline(always)]
const fn net_socket(family: u16) -> bool {
    matches!(family, net::AF_INET | net::AF_INET6)
}
