//! `security_path_notify`, called by `fanotify_mark` and `inotify_add_watch` (6.1 to 7.x): who
//! watches files may ask that everybody waits for its answer, the daemon included.

use agentguard_common::host::{About, HOLDING, Power};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::PASS;
use super::host::{self, Act, Tell};
use crate::session;

#[lsm(hook = "path_notify")]
fn path_notify(ctx: LsmContext) -> i32 {
    let mask: u64 = ctx.arg(1);
    if mask & HOLDING == 0 {
        return PASS;
    }
    let Some(label) = session::current() else { return PASS };
    let number = mask as u32;
    let act = Act { power: Power::Process, about: About::Watch, number, tell: Tell::Always };
    host::host(&label, act)
}
