//! Which files are agentguard's own: see `agentguard_common::own`.

use agentguard_common::own::{InodeKey, KEPT};

use crate::kernel::{
    DENTRY_ALIAS, DENTRY_INODE, DENTRY_PARENT, INODE_ENTRIES, INODE_NUMBER, INODE_SB, SB_DEV, probe,
};
use crate::maps::OWN;

/// The inode of an entry; null where there is none.
#[inline(always)]
pub(crate) fn inode_of(entry: *const u8) -> *const u8 {
    // SAFETY: any bytes are a number.
    unsafe { probe::<u64>(entry, DENTRY_INODE.load()) }.unwrap_or(0) as *const u8
}

/// An entry of an inode, one of several where it has more names; null where it has none.
#[inline(always)]
pub(crate) fn entry_of(inode: *const u8) -> *const u8 {
    // SAFETY: any bytes are a number.
    match unsafe { probe::<u64>(inode, INODE_ENTRIES.load()) } {
        None | Some(0) => core::ptr::null(),
        Some(alias) => alias.wrapping_sub(u64::from(DENTRY_ALIAS.load())) as *const u8,
    }
}

/// What is known of an inode: flags, 0 for most.
#[inline(always)]
pub(crate) fn flags(inode: *const u8) -> u32 {
    // SAFETY: any bytes are numbers.
    let (device, number) = unsafe {
        let Some(block) = probe::<u64>(inode, INODE_SB.load()) else { return 0 };
        let device = probe::<u32>(block as *const u8, SB_DEV.load()).unwrap_or(0);
        (device, probe::<u64>(inode, INODE_NUMBER.load()).unwrap_or(0))
    };
    let key = InodeKey { device, reserved: 0, inode: number };
    // SAFETY: a number, copied at once.
    unsafe { OWN.get(key) }.copied().unwrap_or(0)
}

/// Whether the directory that a file stands in has any of these flags.
#[inline(always)]
pub(crate) fn parent_has(entry: *const u8, wanted: u32) -> bool {
    // SAFETY: any bytes are a number.
    let parent = unsafe { probe::<u64>(entry, DENTRY_PARENT.load()) }.unwrap_or(0);
    flags(inode_of(parent as *const u8)) & wanted != 0
}

/// Whether nothing is to be changed of a file, which stands at that entry.
#[inline(always)]
pub(crate) fn is_kept(inode: *const u8, entry: *const u8) -> bool {
    flags(inode) & KEPT != 0 || parent_has(entry, KEPT)
}
