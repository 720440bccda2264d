//! `security_move_mount`, called by the system call (6.1 to 7.x): the new way to mount, and
//! to bind, is to move something there.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::mounting;
use crate::kernel::{PATH_DENTRY, member};
use crate::session;

#[lsm(hook = "move_mount")]
fn move_mount(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return super::PASS };
    // SAFETY: a member of the hook's argument, a `struct path`.
    let entry = unsafe { member(ctx.arg(1), &PATH_DENTRY) };
    mounting::decide(&label, entry)
}
