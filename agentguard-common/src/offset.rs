//! The members of kernel structures that hooks read. Where they stand is not the
//! same on all kernels: the loader looks them up in the running kernel's BTF and
//! sets the global of that name before it loads the programs.

/// A global of the kernel programs, and the member whose offset it holds.
#[derive(Clone, Copy, Debug)]
pub struct Offset {
    /// The name of the global, a `u32` of bytes.
    pub global: &'static str,
    /// The structure.
    pub structure: &'static str,
    /// The member; `a.b` for a member of a member that is itself a structure.
    pub member: &'static str,
}

const fn offset(global: &'static str, structure: &'static str, member: &'static str) -> Offset {
    Offset { global, structure, member }
}

/// All of them.
pub const OFFSETS: [Offset; 17] = [
    offset("SOCKET_SK", "socket", "sk"),
    offset("SOCK_PROTOCOL", "sock", "sk_protocol"),
    offset("SOCK_FAMILY", "sock", "__sk_common.skc_family"),
    offset("MSGHDR_NAME", "msghdr", "msg_name"),
    offset("MSGHDR_NAMELEN", "msghdr", "msg_namelen"),
    offset("TASK_PID", "task_struct", "pid"),
    offset("TASK_TGID", "task_struct", "tgid"),
    offset("TASK_REAL_PARENT", "task_struct", "real_parent"),
    offset("TASK_EXIT_CODE", "task_struct", "exit_code"),
    offset("TASK_SIGNAL", "task_struct", "signal"),
    offset("TASK_FS", "task_struct", "fs"),
    offset("FS_PWD", "fs_struct", "pwd"),
    offset("SIGNAL_LIVE", "signal_struct", "live"),
    offset("BPRM_FILE", "linux_binprm", "file"),
    offset("BPRM_P", "linux_binprm", "p"),
    offset("BPRM_ARGC", "linux_binprm", "argc"),
    offset("FILE_PATH", "file", "f_path"),
];
