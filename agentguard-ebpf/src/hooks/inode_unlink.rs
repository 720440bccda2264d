//! `security_inode_unlink`, called by `vfs_unlink` (6.1 to 7.x): what is agentguard's own, and
//! the directories on the way to it, are not removed from where they stand.

use agentguard_common::file::Deed;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::own_file;

#[lsm(hook = "inode_unlink")]
fn inode_unlink(ctx: LsmContext) -> i32 {
    own_file::stays(ctx.arg(1), Deed::Delete)
}
