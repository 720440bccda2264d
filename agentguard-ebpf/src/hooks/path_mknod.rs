//! `security_path_mknod`, called by `do_mknodat`, by `may_o_create` where an open is to make a
//! plain file, and by `unix_bind_bsd` for a socket (6.1 to 7.x).

use agentguard_common::file::{Deed, needs};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::files;
use crate::session;

/// `S_IFMT` and `S_IFREG` of `linux/stat.h`.
const TYPE: u32 = 0o170_000;
const PLAIN: u32 = 0o100_000;

#[lsm(hook = "path_mknod")]
fn path_mknod(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return super::PASS };
    let mode: u32 = ctx.arg(2);
    let deed = if matches!(mode & TYPE, 0 | PLAIN) { Deed::Create } else { Deed::Mknod };
    files::decide(&label, ctx.arg(1), deed, needs::WRITE).answer()
}
