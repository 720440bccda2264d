//! `security_task_setnice`, called by `setpriority` (6.1 to 7.x).

use agentguard_common::host::tune;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::tuning;

#[lsm(hook = "task_setnice")]
fn task_setnice(ctx: LsmContext) -> i32 {
    // SAFETY: the hook's first argument is the task.
    unsafe { tuning::decide(ctx.arg(0), tune::NICE) }
}
