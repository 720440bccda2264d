//! What the hooks on mounts share.
//!
//! Rules speak of the tree of the host's first process. A session may mount what it likes
//! where that tree is not changed: in a mount namespace that belongs to a user namespace of
//! its own, from which nothing propagates. Anywhere else it would give files other paths.

use agentguard_common::file::{Deed, needs};
use agentguard_common::host::Power;
use agentguard_common::session::TaskLabel;

use super::files;
use super::host_file::{self, Owner};
use crate::kernel::{MOUNT_NAMESPACE_OWNER, NS_LEVEL, NSPROXY_MOUNTS, TASK_NSPROXY, member, probe};
use crate::session;

/// Decides a change of mounts at an entry.
#[inline(always)]
pub(super) fn decide(label: &TaskLabel, entry: *const u8) -> i32 {
    if is_own() {
        return super::PASS;
    }
    // Without rules on paths, a policy may open it.
    if session::entry(label).is_some_and(|entry| session::terms(entry).files == 0) {
        return host_file::decide(label, entry, Deed::Mount, Owner::Host(Power::Mount), false);
    }
    files::decide(label, entry, Deed::Mount, needs::NEVER).answer()
}

/// Whether the current task sees mounts of its own user namespace.
#[inline(always)]
fn is_own() -> bool {
    // SAFETY: members of the current task and of what it refers to; any bytes are numbers.
    unsafe {
        let proxy: *const u8 = member(session::current_task(), &TASK_NSPROXY);
        let level = probe::<u64>(proxy, NSPROXY_MOUNTS.load())
            .and_then(|mounts| probe::<u64>(mounts as *const u8, MOUNT_NAMESPACE_OWNER.load()))
            .and_then(|owner| probe::<u32>(owner as *const u8, NS_LEVEL.load()));
        level.is_some_and(|level| level > 0)
    }
}
