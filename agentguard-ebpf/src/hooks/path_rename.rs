//! `security_path_rename`, called by `do_renameat2` (6.1 to 7.x): a file or directory is moved,
//! or two are exchanged. Both names are decided. Where a directory is moved, all that is below
//! it gets other paths: it may go where those have the same rules, and otherwise has to be
//! copied, as between file systems.

use agentguard_common::file::{Deed, needs};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::files;
use crate::session;

#[lsm(hook = "path_rename")]
fn path_rename(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return super::PASS };
    files::decide_both(&label, ctx.arg(1), ctx.arg(3), Deed::Rename, needs::WRITE).answer()
}
