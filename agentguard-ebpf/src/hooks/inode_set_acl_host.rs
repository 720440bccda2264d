//! `security_inode_set_acl` again, for files that are the host's or agentguard's.

use agentguard_common::file::Deed;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::{PASS, attributes, own_file};

#[lsm(hook = "inode_set_acl")]
fn inode_set_acl_host(ctx: LsmContext) -> i32 {
    if attributes::is_below() {
        return PASS;
    }
    own_file::changes(ctx.arg(1), Deed::Attributes)
}
