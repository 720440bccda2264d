//! The tracepoint `task_newtask`, at the end of a `copy_process` that succeeded
//! (6.1 to 7.x), before the task can run: counts the session's tasks, and tells of
//! new processes.

use agentguard_common::counter::Count;
use agentguard_common::event::{Fork, Kind};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::atomic;
use crate::emit::{self, Ring};
use crate::kernel::{TASK_TGID, member};
use crate::session;

/// `CLONE_THREAD` of `linux/sched.h`.
const CLONE_THREAD: u64 = 0x0001_0000;

#[btf_tracepoint(function = "task_newtask")]
fn task_newtask(ctx: BtfTracePointContext) -> i32 {
    let task: *const u8 = ctx.arg(0);
    // SAFETY: the tracepoint's first argument is the new task.
    let Some(label) = (unsafe { session::of(task) }) else { return 0 };
    if let Some(counts) = session::counts(&label) {
        // SAFETY: a live map value.
        unsafe { atomic::fetch_add(&raw mut (*counts).tasks, 1) };
    }
    let flags: u64 = ctx.arg(1);
    if flags & CLONE_THREAD != 0 {
        return 0;
    }
    emit::count(Kind::Fork, Count::Seen);
    // SAFETY: a member of the new task.
    let child: u32 = unsafe { member(task, &TASK_TGID) };
    let record = Fork { header: emit::header(Kind::Fork, &label, 0), child, reserved: 0 };
    emit::emit(Ring::Activity, Kind::Fork, &record);
    0
}
