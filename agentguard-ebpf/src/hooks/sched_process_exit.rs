//! The tracepoint `sched_process_exit`, in `do_exit` (6.1 to 7.x), for every
//! thread: counts the session's tasks down, tells of ended processes, and of the
//! session that has none left.

use agentguard_common::counter::Count;
use agentguard_common::event::{Kind, Plain};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::atomic;
use crate::emit::{self, Ring};
use crate::kernel::{SIGNAL_LIVE, TASK_EXIT_CODE, TASK_SIGNAL, member};
use crate::session;

/// Subtraction, as the addition wraps.
const MINUS_ONE: u64 = u64::MAX;

#[btf_tracepoint(function = "sched_process_exit")]
fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    let task: *const u8 = ctx.arg(0);
    // SAFETY: the tracepoint's first argument is the task that exits.
    let Some(label) = (unsafe { session::of(task) }) else { return 0 };
    // SAFETY: members of that task. `live` was lowered by `do_exit` before this.
    let (status, live) = unsafe {
        let signal: *const u8 = member(task, &TASK_SIGNAL);
        (member::<u32>(task, &TASK_EXIT_CODE), member::<i32>(signal, &SIGNAL_LIVE))
    };
    if live == 0 {
        emit::count(Kind::Exit, Count::Seen);
        let record = Plain { header: emit::header(Kind::Exit, &label, 0), status, reserved: 0 };
        emit::emit(Ring::Activity, Kind::Exit, &record);
    }
    let Some(counts) = session::counts(&label) else { return 0 };
    // SAFETY: a live map value.
    if unsafe { atomic::fetch_add(&raw mut (*counts).tasks, MINUS_ONE) } == 1 {
        emit::count(Kind::SessionEmpty, Count::Seen);
        let record =
            Plain { header: emit::header(Kind::SessionEmpty, &label, 0), status, reserved: 0 };
        emit::emit(Ring::Decisions, Kind::SessionEmpty, &record);
    }
    0
}
