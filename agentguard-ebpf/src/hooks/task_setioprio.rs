//! `security_task_setioprio`, called by `ioprio_set` (6.1 to 7.x).

use agentguard_common::host::tune;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::tuning;

#[lsm(hook = "task_setioprio")]
fn task_setioprio(ctx: LsmContext) -> i32 {
    // SAFETY: the hook's first argument is the task.
    unsafe { tuning::decide(ctx.arg(0), tune::IO) }
}
