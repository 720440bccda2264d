//! `security_inode_remove_acl`, called by `vfs_remove_acl` (6.2 to 7.x).

use agentguard_common::file::Deed;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::attributes;
use crate::session;

#[lsm(hook = "inode_remove_acl")]
fn inode_remove_acl(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return super::PASS };
    attributes::decide(&label, ctx.arg(1), Deed::Attributes)
}
