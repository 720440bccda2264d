//! `security_sb_mount`, called by `path_mount` (6.1 to 7.x) for all that `mount(2)` does.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::mounting;
use crate::kernel::{PATH_DENTRY, member};
use crate::session;

#[lsm(hook = "sb_mount")]
fn sb_mount(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return super::PASS };
    // SAFETY: a member of the hook's argument, a `struct path`.
    let entry = unsafe { member(ctx.arg(1), &PATH_DENTRY) };
    mounting::decide(&label, entry)
}
