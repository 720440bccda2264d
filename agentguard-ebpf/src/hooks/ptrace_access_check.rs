//! `security_ptrace_access_check`, called by `__ptrace_may_access` (6.1 to 7.x): tracing, and
//! all that takes the same right: `process_vm_readv`, `pidfd_getfd`, `kcmp`, and what is
//! below `/proc/PID` (`mem`, `environ`, `maps`, `fd`, `exe`, `root`, `ns`, …).
//!
//! Looking is told once for each thread and process: programs such as `pidof` look at all
//! processes. Where the kernel asks only in order to leave something out (`ps` reads
//! `/proc/PID/stat`), nothing is told.

use agentguard_common::host::{About, Power, trace};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::host::{self, Act, Tell};

#[lsm(hook = "ptrace_access_check")]
fn ptrace_access_check(ctx: LsmContext) -> i32 {
    let mode: u32 = ctx.arg(1);
    let tell = if mode & trace::NO_AUDIT != 0 {
        Tell::Never
    } else if mode & trace::ATTACH != 0 {
        Tell::Always
    } else {
        Tell::Once
    };
    let number = mode & (trace::READ | trace::ATTACH);
    let act = Act { power: Power::Trace, about: About::Trace, number, tell };
    // SAFETY: the hook's first argument is the task.
    unsafe { host::process(ctx.arg(0), act) }
}
