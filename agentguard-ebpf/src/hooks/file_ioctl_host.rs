//! `security_file_ioctl` again, for calls that bring a whole file system to a halt, and for
//! marks (`chattr +i`) on agentguard's own files.

use agentguard_common::file::Deed;
use agentguard_common::host::Power;
use agentguard_common::hostfile::{halts, marks};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::PASS;
use super::host_file::{self, Owner};
use crate::kernel::{FILE_DENTRY, FILE_INODE, member};
use crate::{own, session};

#[lsm(hook = "file_ioctl")]
fn file_ioctl_host(ctx: LsmContext) -> i32 {
    decide(&ctx)
}

/// The same for both hooks.
#[inline(always)]
pub(super) fn decide(ctx: &LsmContext) -> i32 {
    let call: u32 = ctx.arg(1);
    if !halts(call) && !marks(call) {
        return PASS;
    }
    let Some(label) = session::current() else { return PASS };
    let file: *const u8 = ctx.arg(0);
    // SAFETY: members of the hook's argument.
    let (entry, inode): (*const u8, *const u8) =
        unsafe { (member(file, &FILE_DENTRY), member(file, &FILE_INODE)) };
    let owner = if halts(call) {
        Owner::Host(Power::Mount)
    } else if own::is_kept(inode, entry) {
        Owner::Us
    } else {
        return PASS;
    };
    host_file::decide(&label, entry, Deed::Attributes, owner, false)
}
