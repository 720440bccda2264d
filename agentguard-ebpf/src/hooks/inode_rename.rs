//! `security_inode_rename`, called by `vfs_rename` (6.1 to 7.x), twice where two files are
//! exchanged: what is agentguard's own, and the directories on the way to it, neither move nor
//! are replaced.

use agentguard_common::file::Deed;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::{PASS, own_file};

#[lsm(hook = "inode_rename")]
fn inode_rename(ctx: LsmContext) -> i32 {
    if own_file::stays(ctx.arg(1), Deed::Rename) != PASS {
        return super::REFUSE;
    }
    own_file::stays(ctx.arg(3), Deed::Rename)
}
