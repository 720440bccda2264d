//! Reading the members of kernel structures. Their offsets differ between
//! kernels; the loader fills them in from BTF before it loads a program (the
//! table is `agentguard_common::offset`), and to the verifier they are constants.

use core::mem::MaybeUninit;

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

/// Declares the globals. Each name must stand in the loader's table.
macro_rules! offsets {
    ($($name:ident),+ $(,)?) => {
        $(
            #[unsafe(no_mangle)]
            pub(crate) static $name: Global<u32> = Global::new(0);
        )+
    };
}

offsets!(
    SOCKET_SK,
    SOCK_PROTOCOL,
    SOCK_FAMILY,
    SOCK_STATE,
    SOCK_PORT,
    SOCK_ADDRESS,
    SOCK_ADDRESS6,
    SOCK_PEER,
    SOCK_PEER6,
    SOCK_PEER_PORT,
    SOCK_NET,
    SOCK_V6ONLY,
    NET_NUMBER,
    UNIX_SOCK_ADDR,
    UNIX_ADDRESS_LEN,
    UNIX_ADDRESS_NAME,
    SKB_DATA,
    SKB_LEN,
    MSGHDR_CONTROL,
    MSGHDR_CONTROLLEN,
    MSGHDR_NAME,
    MSGHDR_NAMELEN,
    TASK_PID,
    TASK_TGID,
    TASK_COMM,
    TASK_REAL_PARENT,
    TASK_EXIT_CODE,
    TASK_SIGNAL,
    TASK_FS,
    FS_PWD,
    SIGNAL_LIVE,
    BPRM_FILE,
    BPRM_P,
    BPRM_ARGC,
    FILE_PATH,
    FILE_PRIVATE,
    FILE_DENTRY,
    FILE_MOUNT,
    FILE_INODE,
    FILE_FLAGS,
    FILE_MODE,
    PATH_DENTRY,
    DENTRY_PARENT,
    DENTRY_NAME,
    DENTRY_SB,
    DENTRY_INODE,
    INODE_NLINK,
    INODE_MODE,
    INODE_RDEV,
    INODE_SB,
    INODE_NUMBER,
    INODE_ENTRIES,
    DENTRY_ALIAS,
    PROC_INODE,
    PROC_PID,
    PID_TASKS,
    TASK_LINKS,
    TASK_GROUP_LEADER,
    NSPROXY_NET,
    SB_DEV,
    SB_FLAGS,
    SB_MAGIC,
    SB_USER_NS,
    NS_LEVEL,
    VMA_FILE,
    MOUNT_FLAGS,
    MOUNT_ROOT,
    SB_ROOT,
    TASK_NSPROXY,
    NSPROXY_MOUNTS,
    MOUNT_NAMESPACE_OWNER,
    TASK_CRED,
    TASK_REAL_CRED,
    TASK_IO_URING,
    TASK_FLAGS,
    REGS_CALL,
    REGS_RESULT,
    IATTR_VALID,
    SETATTR_PARAMETERS,
    HOST_NAMESPACE,
);

/// The address of the kernel's `rename_lock` (`fs/dcache.c`), 0 where it is not told.
#[unsafe(no_mangle)]
pub(crate) static RENAME_LOCK: Global<u64> = Global::new(0);

/// The keys of the digests by which questions are known that people are asked.
#[unsafe(no_mangle)]
pub(crate) static HOLD_KEY_FIRST: Global<u64> = Global::new(0);
/// The other one.
#[unsafe(no_mangle)]
pub(crate) static HOLD_KEY_SECOND: Global<u64> = Global::new(0);

/// Reads a member through a pointer whose type the verifier knows.
///
/// # Safety
///
/// `base` must come from a hook's argument, from `bpf_get_current_task_btf`, or
/// from such a read; `offset` must be the global of a member of that structure
/// that has type `T`. The kernel turns a fault in such a load into a zero.
#[inline(always)]
pub(crate) unsafe fn member<T: Copy>(base: *const u8, offset: &Global<u32>) -> T {
    // SAFETY: by the contract above.
    unsafe { base.add(offset.load() as usize).cast::<T>().read_volatile() }
}

/// Reads a member through a pointer whose type the verifier does not know; `None` where
/// the memory cannot be read.
///
/// # Safety
///
/// `T` must be a type for which any bytes are a value.
#[inline(always)]
pub(crate) unsafe fn probe<T: Copy>(base: *const u8, offset: u32) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: faults are caught, and the destination has the size that is given.
    let failed = unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            base.wrapping_add(offset as usize).cast(),
        )
    };
    // SAFETY: it was filled.
    if failed == 0 { Some(unsafe { value.assume_init() }) } else { None }
}

/// The address of a member that is itself a structure.
///
/// # Safety
///
/// As for [`member`].
#[inline(always)]
pub(crate) unsafe fn address_of(base: *const u8, offset: &Global<u32>) -> *const u8 {
    // SAFETY: by the contract above.
    unsafe { base.add(offset.load() as usize) }
}
