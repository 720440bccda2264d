//! `security_task_setscheduler` (6.1 to 7.x), called where a scheduler is chosen, where it is
//! chosen on which processors a task runs, and by `/proc/PID/timerslack_ns`.

use agentguard_common::host::tune;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::tuning;

#[lsm(hook = "task_setscheduler")]
fn task_setscheduler(ctx: LsmContext) -> i32 {
    // SAFETY: the hook's first argument is the task.
    unsafe { tuning::decide(ctx.arg(0), tune::SCHEDULER) }
}
