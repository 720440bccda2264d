//! `security_inode_setattr` again, for files that are the host's or agentguard's: mode, owner,
//! size and times.

use agentguard_common::file::Deed;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::{PASS, attributes, own_file};
use crate::kernel::{IATTR_VALID, SETATTR_PARAMETERS, member};

/// `ATTR_MODE`, `ATTR_UID` and `ATTR_GID`, `ATTR_SIZE` of `linux/fs.h`.
const MODE: u32 = 1;
const OWNER: u32 = 2 | 4;
const SIZE: u32 = 8;
/// `ATTR_FORCE`: the kernel takes rights off a file that is written.
const FORCED: u32 = 1 << 9;

#[lsm(hook = "inode_setattr")]
fn inode_setattr_host(ctx: LsmContext) -> i32 {
    let (first, second): (*const u8, *const u8) = (ctx.arg(0), ctx.arg(1));
    let (entry, change) =
        if SETATTR_PARAMETERS.load() == 2 { (first, second) } else { (second, ctx.arg(2)) };
    // SAFETY: a member of the hook's argument, a `struct iattr`.
    let valid: u32 = unsafe { member(change, &IATTR_VALID) };
    if valid & FORCED != 0 || attributes::is_below() {
        return PASS;
    }
    let deed = match valid {
        _ if valid & MODE != 0 => Deed::Chmod,
        _ if valid & OWNER != 0 => Deed::Chown,
        _ if valid & SIZE != 0 => Deed::Truncate,
        _ => Deed::Times,
    };
    own_file::changes(entry, deed)
}
