//! `security_socket_setsockopt`, called by `__sys_setsockopt` (6.1 to 7.x) and io_uring:
//! refuses options that would lead packets elsewhere than to where they are decided on.

use agentguard_common::event::{Kind, pair};
use agentguard_common::net;
use agentguard_common::steering;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::{PASS, egress, plain};
use crate::session;

#[lsm(hook = "socket_setsockopt")]
fn socket_setsockopt(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let (level, name): (i32, i32) = (ctx.arg(1), ctx.arg(2));
    let (level, name) = (level as u32, name as u32);
    if !steering::option(level, name) {
        return PASS;
    }
    // SAFETY: the hook's first argument is the `struct socket`.
    let socket = unsafe { egress::socket(ctx.arg(0)) };
    let inet = matches!(socket.family, net::AF_INET | net::AF_INET6);
    super::answer(!inet || plain::refuse(Kind::Option, &label, pair(level, name)))
}
