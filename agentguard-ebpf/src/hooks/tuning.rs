//! What the hooks share that are asked about how a process is to run.

use agentguard_common::host::{About, Power};

use super::host::{self, Act, Tell};

/// Decides a change of a process, any of `agentguard_common::host::tune`.
///
/// # Safety
///
/// `task` must be a hook's argument, a `struct task_struct`.
#[inline(always)]
pub(super) unsafe fn decide(task: *const u8, what: u32) -> i32 {
    let act =
        Act { power: Power::Process, about: About::Process, number: what, tell: Tell::Always };
    // SAFETY: by the contract above.
    unsafe { host::process(task, act) }
}
