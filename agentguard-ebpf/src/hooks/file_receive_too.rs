//! `security_file_receive` again, for files: one that another process opened is decided as if it
//! were opened now. A program of its own, as the other one fills the verifier's stack.

use agentguard_common::file::{Deed, needs};
use aya_ebpf::helpers::generated::bpf_sock_from_file;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::file_open::{FMODE_READ, FMODE_WRITE};
use super::{PASS, files};
use crate::kernel::{FILE_DENTRY, FILE_MODE, member};
use crate::session;

#[lsm(hook = "file_receive")]
fn file_receive_too(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let file: *mut u8 = ctx.arg(0);
    // SAFETY: the hook's argument is the `struct file`; the helper returns null for one
    // that is no socket.
    if !unsafe { bpf_sock_from_file(file.cast()) }.is_null() {
        return PASS;
    }
    // SAFETY: members of the hook's argument.
    let (entry, mode): (*const u8, u32) =
        unsafe { (member(file, &FILE_DENTRY), member(file, &FILE_MODE)) };
    // The bits are the same.
    let need = mode & (needs::READ | needs::WRITE);
    files::decide(&label, entry, Deed::Receive, need).answer()
}

const _: () = assert!(needs::READ == FMODE_READ && needs::WRITE == FMODE_WRITE);
