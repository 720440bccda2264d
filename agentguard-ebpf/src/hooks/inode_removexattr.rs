//! `security_inode_removexattr`, called by `__vfs_removexattr_locked` (6.1 to 7.x).

use agentguard_common::file::Deed;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::attributes;
use crate::session;

#[lsm(hook = "inode_removexattr")]
fn inode_removexattr(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return super::PASS };
    attributes::decide(&label, ctx.arg(1), Deed::Attributes)
}
