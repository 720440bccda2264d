//! `security_mmap_file`, called by `vm_mmap_pgoff` (6.1 to 7.x): a file that is mapped as code
//! is executed, whoever loads it.

use agentguard_common::file::{Deed, needs};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::PASS;
use super::files;
use crate::kernel::{FILE_DENTRY, member};
use crate::session;

/// `PROT_EXEC` of `linux/mman.h`.
pub(super) const PROT_EXEC: u64 = 4;

#[lsm(hook = "mmap_file")]
fn mmap_file(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let file: *const u8 = ctx.arg(0);
    let protection: u64 = ctx.arg(2);
    if protection & PROT_EXEC == 0 || file.is_null() {
        return PASS;
    }
    // SAFETY: a member of the hook's argument, not null.
    let entry = unsafe { member(file, &FILE_DENTRY) };
    files::decide(&label, entry, Deed::Map, needs::EXEC).answer()
}
