//! `security_path_mkdir`, called by `do_mkdirat` (6.1 to 7.x) before a directory is made.

use agentguard_common::file::{Deed, needs};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::files;
use crate::session;

#[lsm(hook = "path_mkdir")]
fn path_mkdir(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return super::PASS };
    files::decide(&label, ctx.arg(1), Deed::Mkdir, needs::WRITE).answer()
}
