//! `security_sb_umount`, called by `do_umount` (6.1 to 7.x): what is below comes to light.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::mounting;
use crate::kernel::{MOUNT_ROOT, member};
use crate::session;

#[lsm(hook = "sb_umount")]
fn sb_umount(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return super::PASS };
    // SAFETY: a member of the hook's argument, a `struct vfsmount`.
    let entry = unsafe { member(ctx.arg(0), &MOUNT_ROOT) };
    mounting::decide(&label, entry)
}
