//! `security_path_chmod`, called by `chmod_common` (6.1 to 7.x), for descriptors too.

use agentguard_common::file::{Deed, needs};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::files;
use crate::kernel::{PATH_DENTRY, member};
use crate::session;

#[lsm(hook = "path_chmod")]
fn path_chmod(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return super::PASS };
    // SAFETY: a member of the hook's argument, a `struct path`.
    let entry = unsafe { member(ctx.arg(0), &PATH_DENTRY) };
    files::decide(&label, entry, Deed::Chmod, needs::WRITE).answer()
}
