//! `security_path_rmdir`, called by `do_rmdir` (6.1 to 7.x) before a directory is removed.

use agentguard_common::file::{Deed, needs};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::files;
use crate::session;

#[lsm(hook = "path_rmdir")]
fn path_rmdir(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return super::PASS };
    files::decide(&label, ctx.arg(1), Deed::Rmdir, needs::WRITE).answer()
}
