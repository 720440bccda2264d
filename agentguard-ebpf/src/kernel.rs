//! Reading the members of kernel structures. Their offsets differ between
//! kernels; the loader fills them in from BTF before it loads a program (the
//! table is `agentguard_common::offset`), and to the verifier they are constants.

use aya_ebpf::Global;

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
    MSGHDR_NAME,
    MSGHDR_NAMELEN,
    TASK_PID,
    TASK_TGID,
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
);

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
