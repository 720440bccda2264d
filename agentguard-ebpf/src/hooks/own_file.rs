//! What the hooks share that are asked whether a file may go, or be changed, by its entry.

use agentguard_common::file::Deed;
use agentguard_common::hostfile::of_filesystem;
use agentguard_common::own::{KEPT, WAY};

use super::PASS;
use super::host_file::{self, Owner};
use crate::kernel::{DENTRY_SB, SB_MAGIC, probe};
use crate::{own, session};

/// Decides a deed that would take a file away from where it is.
#[inline(always)]
pub(super) fn stays(entry: *const u8, deed: Deed) -> i32 {
    let Some(label) = session::current() else { return PASS };
    if own::flags(own::inode_of(entry)) & (KEPT | WAY) == 0 {
        return PASS;
    }
    host_file::decide(&label, entry, deed, Owner::Us, false)
}

/// Decides a change of what is known of a file: mode, owner, times, attributes.
#[inline(always)]
pub(super) fn changes(entry: *const u8, deed: Deed) -> i32 {
    let Some(label) = session::current() else { return PASS };
    // SAFETY: any bytes are numbers.
    let magic = unsafe {
        probe::<u64>(entry, DENTRY_SB.load())
            .and_then(|block| probe::<u64>(block as *const u8, SB_MAGIC.load()))
    };
    let owner = if let Some(power) = magic.and_then(of_filesystem) {
        Owner::Host(power)
    } else if own::is_kept(own::inode_of(entry), entry) {
        Owner::Us
    } else {
        return PASS;
    };
    host_file::decide(&label, entry, deed, owner, false)
}
