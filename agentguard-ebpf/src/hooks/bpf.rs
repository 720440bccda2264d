//! `security_bpf`, called by `bpf(2)` (6.1 to 7.x) for every command: programs, maps and links
//! of everyone are found by number there, and ours among them.

use agentguard_common::host::{About, Power};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::PASS;
use super::host::{self, Act, Tell};
use crate::session;

#[lsm(hook = "bpf")]
fn bpf(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let act =
        Act { power: Power::Bpf, about: About::Command, number: ctx.arg(0), tell: Tell::Always };
    host::host(&label, act)
}
