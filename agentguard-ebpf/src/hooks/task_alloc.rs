//! `security_task_alloc`, called by `copy_process` (6.1 to 7.x) for every new
//! task, threads and io_uring workers included, before it can run: the child gets
//! its parent's label, or there is no child.

use agentguard_common::counter::Count;
use agentguard_common::event::{Kind, Plain};
use agentguard_common::session::State;
use agentguard_common::verdict::Reason;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::{PASS, REFUSE};
use crate::emit::{self, Ring};
use crate::session;

#[lsm(hook = "task_alloc")]
fn task_alloc(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let child: *const u8 = ctx.arg(0);
    let reason = match session::state(&label) {
        // SAFETY: the hook's first argument is the new task.
        Some(State::Enforce | State::Observe) if unsafe { session::put(child, label) } => {
            return PASS;
        }
        Some(State::Enforce | State::Observe) => Reason::NoLabel,
        Some(State::Ending) => Reason::Ending,
        None => Reason::NoPolicy,
    };
    emit::count(Kind::ForkRefused, Count::Seen);
    let header = emit::header(Kind::ForkRefused, &label, 0);
    let record = Plain { header, status: reason as u32, reserved: 0 };
    emit::emit(Ring::Decisions, Kind::ForkRefused, &record);
    REFUSE
}
