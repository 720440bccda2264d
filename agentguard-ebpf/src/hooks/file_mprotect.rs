//! `security_file_mprotect`, called by `do_mprotect_pkey` (6.1 to 7.x): what was mapped as data
//! may be made code.

use agentguard_common::file::{Deed, needs};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::PASS;
use super::files;
use super::mmap_file::PROT_EXEC;
use crate::kernel::{FILE_DENTRY, VMA_FILE, member};
use crate::session;

#[lsm(hook = "file_mprotect")]
fn file_mprotect(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let protection: u64 = ctx.arg(2);
    if protection & PROT_EXEC == 0 {
        return PASS;
    }
    // SAFETY: a member of the hook's argument, a `struct vm_area_struct`.
    let file: *const u8 = unsafe { member(ctx.arg(0), &VMA_FILE) };
    // Memory without a file.
    if file.is_null() {
        return PASS;
    }
    // SAFETY: a member of a `struct file`, not null.
    let entry = unsafe { member(file, &FILE_DENTRY) };
    files::decide(&label, entry, Deed::Map, needs::EXEC).answer()
}
