//! `security_sb_kern_mount`, called by `do_new_mount_fc` and `fsmount` (6.1 to 7.x) for a file
//! system that is about to be mounted: an overlay is refused to sessions whose policy speaks of
//! files, wherever it is. Its files have no place in the tree, and those below are opened by
//! the kernel itself.

use agentguard_common::file::{Deed, needs};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::{PASS, files};
use crate::kernel::{SB_MAGIC, SB_ROOT, member};
use crate::session;

/// `OVERLAYFS_SUPER_MAGIC` of `linux/magic.h`.
const OVERLAY: u64 = 0x794c_7630;

#[lsm(hook = "sb_kern_mount")]
fn sb_kern_mount(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let block: *const u8 = ctx.arg(0);
    // SAFETY: members of the hook's argument.
    let (magic, root): (u64, *const u8) =
        unsafe { (member(block, &SB_MAGIC), member(block, &SB_ROOT)) };
    if magic != OVERLAY {
        return PASS;
    }
    files::decide(&label, root, Deed::Mount, needs::NEVER).answer()
}
