//! `security_file_receive`, called by `receive_fd` (6.1 to 7.x) for a descriptor that
//! comes from another process, by SCM_RIGHTS, `pidfd_getfd` or a seccomp notifier:
//! a connected socket is decided as if it were to be connected now.

use aya_ebpf::helpers::generated::bpf_sock_from_file;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::PASS;
use super::egress;
use crate::session;

#[lsm(hook = "file_receive")]
fn file_receive(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let file: *mut u8 = ctx.arg(0);
    // SAFETY: the hook's argument is the `struct file`; the helper returns null for one
    // that is no socket.
    let found = unsafe { bpf_sock_from_file(file.cast()) };
    if found.is_null() {
        return PASS;
    }
    // SAFETY: the helper's result is a `struct socket`.
    let socket = unsafe { egress::socket(found.cast_const().cast()) };
    super::answer(egress::decide_foreign(&label, &socket))
}
