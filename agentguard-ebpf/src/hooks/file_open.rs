//! `security_file_open`, called by `do_dentry_open` (6.1 to 7.x) for every open that is to
//! lead to reading or writing, whichever call it came by: openat2, io_uring,
//! `open_by_handle_at`, a link in `/proc/self/fd`.

use agentguard_common::file::{Deed, needs};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::{PASS, attributes, files};
use crate::kernel::{FILE_DENTRY, FILE_FLAGS, FILE_MODE, member};
use crate::session;

/// `FMODE_READ` and `FMODE_WRITE` of `linux/fs.h`.
pub(super) const FMODE_READ: u32 = 1;
pub(super) const FMODE_WRITE: u32 = 2;
/// `__FMODE_EXEC` of `linux/fs.h` (`fmode_t`, set in `f_flags`): opened to be executed.
const EXEC: u32 = 0x20;

#[lsm(hook = "file_open")]
fn file_open(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let file: *const u8 = ctx.arg(0);
    // SAFETY: members of the hook's argument.
    let (entry, flags, mode): (*const u8, u32, u32) = unsafe {
        (member(file, &FILE_DENTRY), member(file, &FILE_FLAGS), member(file, &FILE_MODE))
    };
    // What is opened to be executed is decided when it is.
    if flags & EXEC != 0 || attributes::is_below() {
        return PASS;
    }
    let (deed, need) = if mode & FMODE_WRITE == 0 {
        (Deed::Read, needs::READ)
    } else if mode & FMODE_READ == 0 {
        (Deed::Write, needs::WRITE)
    } else {
        (Deed::Write, needs::READ | needs::WRITE)
    };
    files::decide(&label, entry, deed, need).answer()
}
