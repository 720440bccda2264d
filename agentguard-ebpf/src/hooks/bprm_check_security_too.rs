//! `security_bprm_check` again, for what sessions execute: the program, and each interpreter of
//! it, is decided by the policy's rules on programs. A program of its own, as the other one
//! fills the verifier's stack.

use agentguard_common::file::{Deed, needs};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::{PASS, files};
use crate::kernel::{BPRM_FILE, FILE_DENTRY, member};
use crate::session;

#[lsm(hook = "bprm_check_security")]
fn bprm_check_security_too(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    // SAFETY: members of the hook's argument and of the file it refers to.
    let entry = unsafe { member(member::<*const u8>(ctx.arg(0), &BPRM_FILE), &FILE_DENTRY) };
    files::decide(&label, entry, Deed::Exec, needs::EXEC).answer()
}
