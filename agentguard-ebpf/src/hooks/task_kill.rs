//! `security_task_kill`, called by `check_kill_permission` (6.1 to 7.x) for every signal that
//! a program sends, to a process, a thread, a group or a pidfd, once for each process that it
//! would reach. What the kernel sends itself (the end of a child, a key at the terminal) does
//! not come here.

use agentguard_common::host::{About, Power};
use aya_ebpf::EbpfContext as _;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::PASS;
use super::host::{self, Act, Tell};
use crate::kernel::probe;

/// Where the fourth argument stands in a program's context.
const SENDER: u32 = 3 * 8;

#[lsm(hook = "task_kill")]
fn task_kill(ctx: LsmContext) -> i32 {
    let signal: u32 = ctx.arg(2);
    // With credentials it is late news for whoever asked for it, sent by whoever runs now.
    // Read as a number: the verifier takes an argument for an address that is never null.
    // SAFETY: any bytes are a number.
    let sender = unsafe { probe::<u64>(ctx.as_ptr().cast_const().cast(), SENDER) };
    if sender != Some(0) {
        return PASS;
    }
    // Without a signal it asks whether the process is there, as programs do again and again.
    let tell = if signal == 0 { Tell::Once } else { Tell::Always };
    let act = Act { power: Power::Signal, about: About::Signal, number: signal, tell };
    // SAFETY: the hook's first argument is the task.
    unsafe { host::process(ctx.arg(0), act) }
}
