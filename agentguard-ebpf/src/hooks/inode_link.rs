//! `security_inode_link`, called by `vfs_link` (6.1 to 7.x): what is agentguard's own gets no
//! other names.

use agentguard_common::file::Deed;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::own_file;

#[lsm(hook = "inode_link")]
fn inode_link(ctx: LsmContext) -> i32 {
    own_file::changes(ctx.arg(0), Deed::Link)
}
