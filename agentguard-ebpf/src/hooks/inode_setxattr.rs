//! `security_inode_setxattr`, called by `__vfs_setxattr_locked` (6.1 to 7.x).

use agentguard_common::file::Deed;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::attributes;
use crate::session;

#[lsm(hook = "inode_setxattr")]
fn inode_setxattr(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return super::PASS };
    attributes::decide(&label, ctx.arg(1), Deed::Attributes)
}
