//! `security_sb_kern_mount` again, for every file system: `fsmount` makes a mount that stands
//! nowhere, and is used by its descriptor, of a disk for example. (By `mount` it comes to
//! `sb_mount` first.)

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::{PASS, mounting};
use crate::kernel::{SB_ROOT, member};
use crate::session;

#[lsm(hook = "sb_kern_mount")]
fn sb_kern_mount_host(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    // SAFETY: a member of the hook's argument.
    let root: *const u8 = unsafe { member(ctx.arg(0), &SB_ROOT) };
    mounting::decide(&label, root)
}
