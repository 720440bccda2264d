//! `security_path_link`, called by `do_linkat` (6.1 to 7.x) before a file gets another name:
//! it takes all rights on the file under both, so that a name gives nobody any.

use agentguard_common::file::{Deed, needs};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::files;
use crate::session;

#[lsm(hook = "path_link")]
fn path_link(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return super::PASS };
    let need = needs::READ | needs::WRITE;
    files::decide_both(&label, ctx.arg(0), ctx.arg(2), Deed::Link, need).answer()
}
