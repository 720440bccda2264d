//! agentguard's own files, which no session may change, whatever its policy says. The daemon
//! says which they are; the kernel knows them by file system and number, so that no other
//! name, mount or link leads round it.

use bytemuck::{Pod, Zeroable};

/// How many directories and single files are known.
pub const MAX_OWN: u32 = 4096;

/// A file, whatever it is called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct InodeKey {
    /// The file system's number as the kernel has it (`super_block.s_dev`).
    pub device: u32,
    /// Zero.
    pub reserved: u32,
    /// The file's number in it.
    pub inode: u64,
}

/// It is not written, removed, moved or changed; where it is a directory, neither is what
/// stands directly in it.
pub const KEPT: u32 = 1;
/// It is not read, where it is a plain file; nor, where it is a directory, are those that
/// stand directly in it.
pub const HIDDEN: u32 = 2;
/// A directory on the way to our files: it is not moved.
pub const WAY: u32 = 4;
