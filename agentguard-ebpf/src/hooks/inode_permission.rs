//! `security_inode_permission`, called by `inode_permission` (6.1 to 7.x) wherever a file is to
//! be written to, and a directory changed: opening, making, removing, moving, linking,
//! truncating, and `CLONE_INTO_CGROUP`. What the kernel makes up (`/sys`, cgroups, …) and
//! agentguard's own files are decided here, by the inode: no other name leads round it.
//! `/proc` is decided when a file of it is opened.

use agentguard_common::file::Deed;
use agentguard_common::hostfile::{PROC, of_filesystem};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::PASS;
use super::host_file::{self, Owner};
use crate::kernel::{INODE_MODE, INODE_SB, SB_MAGIC, member};
use crate::{own, session};

/// `MAY_WRITE`, `MAY_APPEND` and `MAY_ACCESS` of `linux/fs.h`; the last one says that a
/// program only asks (`access`).
const WRITE: u32 = 2 | 8;
const ASKS: u32 = 0x10;
/// `S_IFMT` and `S_IFSOCK` of `linux/stat.h`: connecting takes the right to write, and is
/// decided elsewhere.
const TYPE: u16 = 0o170_000;
const SOCKET: u16 = 0o140_000;

#[lsm(hook = "inode_permission")]
fn inode_permission(ctx: LsmContext) -> i32 {
    let mask: u32 = ctx.arg(1);
    if mask & WRITE == 0 {
        return PASS;
    }
    let Some(label) = session::current() else { return PASS };
    let inode: *const u8 = ctx.arg(0);
    // SAFETY: members of the hook's argument and of what it refers to.
    let (block, mode): (*const u8, u16) =
        unsafe { (member(inode, &INODE_SB), member(inode, &INODE_MODE)) };
    // SAFETY: as above.
    let magic: u64 = unsafe { member(block, &SB_MAGIC) };
    if magic == PROC || mode & TYPE == SOCKET {
        return PASS;
    }
    let entry = own::entry_of(inode);
    let owner = if let Some(power) = of_filesystem(magic) {
        Owner::Host(power)
    } else if own::is_kept(inode, entry) {
        Owner::Us
    } else {
        return PASS;
    };
    host_file::decide(&label, entry, Deed::Write, owner, mask & ASKS != 0)
}
