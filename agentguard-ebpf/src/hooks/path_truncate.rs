//! `security_path_truncate`, called by `vfs_truncate`, and where a file is opened to be cut
//! short (`handle_truncate`, 6.1 to 7.x).

use agentguard_common::file::{Deed, needs};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::files;
use crate::kernel::{PATH_DENTRY, member};
use crate::session;

#[lsm(hook = "path_truncate")]
fn path_truncate(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return super::PASS };
    // SAFETY: a member of the hook's argument, a `struct path`.
    let entry = unsafe { member(ctx.arg(0), &PATH_DENTRY) };
    files::decide(&label, entry, Deed::Truncate, needs::WRITE).answer()
}
