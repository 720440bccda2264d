//! `security_file_open` again, for files that are the host's: devices, `/proc`, what is pinned
//! in the BPF file system, namespaces; and for what agentguard keeps to itself.

use agentguard_common::file::Deed;
use agentguard_common::host::Power;
use agentguard_common::hostfile::{BPF, NAMESPACES, PROC, of_device};
use agentguard_common::own::HIDDEN;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::PASS;
use super::file_open::FMODE_WRITE;
use super::host_file::{self, Owner};
use crate::kernel::{
    FILE_DENTRY, FILE_INODE, FILE_MODE, FILE_MOUNT, INODE_MODE, INODE_RDEV, INODE_SB, MOUNT_FLAGS,
    SB_MAGIC, member,
};
use crate::{own, procfs, session};

/// `S_IFMT` and `S_IFREG` of `linux/stat.h`.
const TYPE: u16 = 0o170_000;
const PLAIN: u16 = 0o100_000;

#[lsm(hook = "file_open")]
fn file_open_host(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let file: *const u8 = ctx.arg(0);
    // SAFETY: members of the hook's argument and of what it refers to.
    let (entry, inode, open): (*const u8, *const u8, u32) = unsafe {
        (member(file, &FILE_DENTRY), member(file, &FILE_INODE), member(file, &FILE_MODE))
    };
    // SAFETY: as above.
    let (mode, device, block): (u16, u32, *const u8) = unsafe {
        (member(inode, &INODE_MODE), member(inode, &INODE_RDEV), member(inode, &INODE_SB))
    };
    // SAFETY: as above.
    let magic: u64 = unsafe { member(block, &SB_MAGIC) };
    let writes = open & FMODE_WRITE != 0;
    let owner = if magic == PROC {
        if !writes || procfs::is_free(inode, entry) {
            return PASS;
        }
        Owner::Host(if procfs::is_of_process(inode) { Power::Process } else { Power::Settings })
    } else if let Some(power) = of_device(u32::from(mode), device) {
        Owner::Host(power)
    } else if mode & TYPE != PLAIN {
        return PASS;
    } else if magic == NAMESPACES {
        if !is_bound(file) {
            return PASS;
        }
        Owner::Host(Power::Namespaces)
    } else if magic == BPF {
        Owner::Host(Power::Bpf)
    } else if own::flags(inode) & HIDDEN != 0 || own::parent_has(entry, HIDDEN) {
        Owner::Us
    } else {
        return PASS;
    };
    let deed = if writes { Deed::Write } else { Deed::Read };
    host_file::decide(&label, entry, deed, owner, false)
}

/// `MNT_INTERNAL` of `linux/mount.h`: of the kernel's own mounts.
const INTERNAL: u32 = 0x4000;

/// Whether a namespace was found where somebody has bound it to a name (`/run/netns`): those of
/// processes are below `/proc`, where tracing is what is decided.
#[inline(always)]
fn is_bound(file: *const u8) -> bool {
    // SAFETY: members of a hook's argument and of what it refers to.
    let flags: u32 = unsafe { member(member::<*const u8>(file, &FILE_MOUNT), &MOUNT_FLAGS) };
    flags & INTERNAL == 0
}
