//! `security_perf_event_open` (6.1 to 7.x), called first by the system call of that name. What
//! the kernel asks afterwards (for a processor, for the kernel, for a tracepoint) comes here
//! only where the first question was answered with yes.

use agentguard_common::host::{About, Power};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::PASS;
use super::host::{self, Act, Tell};
use crate::session;

#[lsm(hook = "perf_event_open")]
fn perf_event_open(_: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let act = Act { power: Power::Perf, about: About::Nothing, number: 0, tell: Tell::Always };
    host::host(&label, act)
}
