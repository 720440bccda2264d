//! What the hooks share that are asked about an inode, and not about a path.
//!
//! They are asked twice where a file is on an overlay: for the file, and for the one below
//! it, the latter with other credentials than the task's own. What was decided for the file
//! is not decided again for the other, which has another path. A task that uses io_uring can
//! take other credentials itself, and is decided every time.

use agentguard_common::file::{Deed, needs};
use agentguard_common::session::TaskLabel;

use super::{PASS, files};
use crate::kernel::{TASK_CRED, TASK_IO_URING, TASK_REAL_CRED, member};
use crate::session;

/// Decides a change of what is known of a file.
#[inline(always)]
pub(super) fn decide(label: &TaskLabel, entry: *const u8, deed: Deed) -> i32 {
    if is_below() {
        return PASS;
    }
    files::decide(label, entry, deed, needs::WRITE).answer()
}

/// Whether the kernel acts for itself with a file below an overlay, after the one above it was
/// decided.
#[inline(always)]
pub(super) fn is_below() -> bool {
    let task = session::current_task();
    // SAFETY: members of the current task.
    let (cred, real, ring): (u64, u64, u64) = unsafe {
        (member(task, &TASK_CRED), member(task, &TASK_REAL_CRED), member(task, &TASK_IO_URING))
    };
    cred != real && ring == 0
}
