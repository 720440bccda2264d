//! `security_socket_sendmsg`, called by `sock_sendmsg` (6.1 to 7.x) for every
//! message, of `sendto`, `sendmsg`, `sendmmsg`, `write` and io_uring: decides
//! those that bring an address of their own, TCP fast open among them. The others
//! go where a `connect` was let through.

use agentguard_common::event::Kind;
use agentguard_common::net::{self, Sockaddr};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::egress::{self, Asked};
use super::{PASS, REFUSE};
use crate::kernel::{MSGHDR_NAME, MSGHDR_NAMELEN, member};
use crate::session;

#[lsm(hook = "socket_sendmsg")]
fn socket_sendmsg(ctx: LsmContext) -> i32 {
    let message: *const u8 = ctx.arg(1);
    // SAFETY: the hook's second argument is the `struct msghdr`.
    let name: *const u8 = unsafe { member(message, &MSGHDR_NAME) };
    if name.is_null() {
        return PASS;
    }
    let Some(label) = session::current() else { return PASS };
    // SAFETY: the hook's first argument is the `struct socket`.
    let socket = unsafe { egress::socket(ctx.arg(0)) };
    if egress::left_alone(socket.family) {
        return PASS;
    }
    // SAFETY: a member of the `struct msghdr`; the name was copied into kernel
    // memory as long as `struct sockaddr_storage` (`move_addr_to_kernel`).
    let read = unsafe { egress::address(name, member(message, &MSGHDR_NAMELEN)) };
    let address = match read {
        // `udp_sendmsg` takes this family for AF_INET.
        Some((Sockaddr::Unspecified, bytes)) => Sockaddr::Inet(net::inet(&bytes)),
        Some((address, _)) => address,
        None => Sockaddr::Malformed,
    };
    if egress::decide(Kind::Send, &label, &Asked { address, socket }) { PASS } else { REFUSE }
}
