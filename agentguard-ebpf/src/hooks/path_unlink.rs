//! `security_path_unlink`, called by `do_unlinkat` (6.1 to 7.x) before a name is removed.

use agentguard_common::file::{Deed, needs};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::files;
use crate::session;

#[lsm(hook = "path_unlink")]
fn path_unlink(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return super::PASS };
    files::decide(&label, ctx.arg(1), Deed::Delete, needs::WRITE).answer()
}
