//! `security_task_setpgid`, called by `setpgid` (6.1 to 7.x).

use agentguard_common::host::tune;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::tuning;

#[lsm(hook = "task_setpgid")]
fn task_setpgid(ctx: LsmContext) -> i32 {
    // SAFETY: the hook's first argument is the task.
    unsafe { tuning::decide(ctx.arg(0), tune::GROUP) }
}
