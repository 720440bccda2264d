//! `security_socket_recvmsg`, called by `sock_recvmsg` (6.1 to 7.x) for `recv`, `read`
//! and io_uring: decides the use of sockets that were made outside of the session.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::PASS;
use super::egress;
use crate::session;

#[lsm(hook = "socket_recvmsg")]
fn socket_recvmsg(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    // SAFETY: the hook's first argument is the `struct socket`.
    let socket = unsafe { egress::socket(ctx.arg(0)) };
    super::answer(egress::decide_foreign(&label, &socket))
}
