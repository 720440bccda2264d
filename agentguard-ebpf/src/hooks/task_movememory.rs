//! `security_task_movememory`, called by `migrate_pages` and `move_pages` (6.1 to 7.x).

use agentguard_common::host::tune;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::tuning;

#[lsm(hook = "task_movememory")]
fn task_movememory(ctx: LsmContext) -> i32 {
    // SAFETY: the hook's first argument is the task.
    unsafe { tuning::decide(ctx.arg(0), tune::MEMORY) }
}
