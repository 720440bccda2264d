//! `security_file_ioctl`, called by the system call `ioctl` (6.1 to 7.x): refuses the old
//! calls that change the host's network, network devices made from `/dev/net/tun`, and
//! typing into a terminal.

use agentguard_common::event::Kind;
use agentguard_common::steering::{TUNSETIFF, changes_network, types};
use aya_ebpf::helpers::generated::bpf_sock_from_file;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::{PASS, egress, plain};
use crate::kernel::{FILE_PRIVATE, HOST_NAMESPACE, NET_NUMBER, SOCK_NET, member, probe};
use crate::{session, socket};

#[lsm(hook = "file_ioctl")]
fn file_ioctl(ctx: LsmContext) -> i32 {
    // SAFETY: the hook's first argument is the `struct file`.
    unsafe { decide(ctx.arg(0), ctx.arg(1)) }
}

/// # Safety
///
/// `file` must be a hook's argument, the `struct file`.
#[inline(always)]
pub(super) unsafe fn decide(file: *const u8, call: u32) -> i32 {
    let (tun, types) = (call == TUNSETIFF, types(call));
    if !tun && !types && !changes_network(call) {
        return PASS;
    }
    let Some(label) = session::current() else { return PASS };
    if !types {
        // SAFETY: by the contract above.
        let namespace = unsafe { if tun { of_tun(file) } else { of_socket(file) } };
        if namespace != Some(HOST_NAMESPACE.load()) {
            return PASS;
        }
    }
    super::answer(plain::refuse(Kind::Ioctl, &label, call))
}

/// The network namespace of a socket; `None` for what is none.
///
/// # Safety
///
/// As for [`decide`].
#[inline(always)]
unsafe fn of_socket(file: *const u8) -> Option<u32> {
    // SAFETY: by the contract above; the helper's result is a `struct socket` or null.
    unsafe {
        let found = bpf_sock_from_file(file.cast_mut().cast());
        if found.is_null() {
            return None;
        }
        let socket = egress::socket(found.cast_const().cast());
        if socket.sock.is_null() { None } else { Some(socket::namespace(socket.sock)) }
    }
}

/// The network namespace in which `/dev/net/tun` was opened, where the device would come
/// to be: that of the `struct sock` which `struct tun_file` begins with.
///
/// # Safety
///
/// As for [`decide`].
#[inline(always)]
unsafe fn of_tun(file: *const u8) -> Option<u32> {
    // SAFETY: any bytes are an address or a number; they are used only to read what is
    // there, with faults caught.
    unsafe {
        let tun: *const u8 = member(file, &FILE_PRIVATE);
        let net: *const u8 = probe(tun, SOCK_NET.load())?;
        probe(net, NET_NUMBER.load())
    }
}
