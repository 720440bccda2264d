//! `security_inode_setattr`, called by `notify_change` (6.1 to 7.x): the times of a file are
//! set. Mode, owner and size are decided by hooks of their own.

use agentguard_common::file::Deed;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::{PASS, attributes};
use crate::kernel::{IATTR_VALID, SETATTR_PARAMETERS, member};
use crate::session;

/// `ATTR_ATIME`, `ATTR_MTIME`, and all that is set together with other things or by the kernel
/// itself: `ATTR_MODE`, `ATTR_UID`, `ATTR_GID`, `ATTR_SIZE`, `ATTR_FORCE` (`linux/fs.h`).
const TIMES: u32 = 1 << 4 | 1 << 5;
const OTHERS: u32 = 1 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 9;

#[lsm(hook = "inode_setattr")]
fn inode_setattr(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    // The kernel came to tell the mount's view of users first.
    let (first, second): (*const u8, *const u8) = (ctx.arg(0), ctx.arg(1));
    let (entry, change) =
        if SETATTR_PARAMETERS.load() == 2 { (first, second) } else { (second, ctx.arg(2)) };
    // SAFETY: a member of the hook's argument, a `struct iattr`.
    let valid: u32 = unsafe { member(change, &IATTR_VALID) };
    if valid & TIMES == 0 || valid & OTHERS != 0 {
        return PASS;
    }
    attributes::decide(&label, entry, Deed::Times)
}
