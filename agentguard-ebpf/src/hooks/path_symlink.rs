//! `security_path_symlink`, called by `do_symlinkat` (6.1 to 7.x) before a symbolic link is
//! made. Where it leads does not matter: what is opened through it is decided by its own path.

use agentguard_common::file::{Deed, needs};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::files;
use crate::session;

#[lsm(hook = "path_symlink")]
fn path_symlink(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return super::PASS };
    files::decide(&label, ctx.arg(1), Deed::Symlink, needs::WRITE).answer()
}
