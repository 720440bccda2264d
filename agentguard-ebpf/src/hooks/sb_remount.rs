//! `security_sb_remount`, called by `reconfigure_super` (6.1 to 7.x): a file system is to become
//! read-only, or to get other options, by `fsconfig`. (By `mount` it comes to `sb_mount` first.)

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::{PASS, mounting};
use crate::kernel::{SB_ROOT, member};
use crate::session;

#[lsm(hook = "sb_remount")]
fn sb_remount(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    // SAFETY: a member of the hook's argument.
    let root: *const u8 = unsafe { member(ctx.arg(0), &SB_ROOT) };
    mounting::decide(&label, root)
}
