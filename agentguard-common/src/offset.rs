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
pub const OFFSETS: [Offset; 77] = [
    offset("SOCKET_SK", "socket", "sk"),
    offset("SOCK_PROTOCOL", "sock", "sk_protocol"),
    offset("SOCK_FAMILY", "sock", "__sk_common.skc_family"),
    offset("SOCK_STATE", "sock", "__sk_common.skc_state"),
    offset("SOCK_PORT", "sock", "__sk_common.skc_num"),
    offset("SOCK_ADDRESS", "sock", "__sk_common.skc_rcv_saddr"),
    offset("SOCK_ADDRESS6", "sock", "__sk_common.skc_v6_rcv_saddr"),
    offset("SOCK_PEER", "sock", "__sk_common.skc_daddr"),
    offset("SOCK_PEER6", "sock", "__sk_common.skc_v6_daddr"),
    offset("SOCK_PEER_PORT", "sock", "__sk_common.skc_dport"),
    offset("SOCK_NET", "sock", "__sk_common.skc_net"),
    offset("NET_NUMBER", "net", "ns.inum"),
    offset("UNIX_SOCK_ADDR", "unix_sock", "addr"),
    offset("UNIX_ADDRESS_LEN", "unix_address", "len"),
    offset("UNIX_ADDRESS_NAME", "unix_address", "name"),
    offset("SKB_DATA", "sk_buff", "data"),
    offset("SKB_LEN", "sk_buff", "len"),
    offset("MSGHDR_CONTROL", "msghdr", "msg_control"),
    offset("MSGHDR_CONTROLLEN", "msghdr", "msg_controllen"),
    offset("MSGHDR_NAME", "msghdr", "msg_name"),
    offset("MSGHDR_NAMELEN", "msghdr", "msg_namelen"),
    offset("TASK_PID", "task_struct", "pid"),
    offset("TASK_TGID", "task_struct", "tgid"),
    offset("TASK_COMM", "task_struct", "comm"),
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
    offset("FILE_PRIVATE", "file", "private_data"),
    offset("FILE_DENTRY", "file", "f_path.dentry"),
    offset("FILE_MOUNT", "file", "f_path.mnt"),
    offset("FILE_INODE", "file", "f_inode"),
    offset("FILE_FLAGS", "file", "f_flags"),
    offset("FILE_MODE", "file", "f_mode"),
    offset("PATH_DENTRY", "path", "dentry"),
    offset("DENTRY_PARENT", "dentry", "d_parent"),
    offset("DENTRY_NAME", "dentry", "d_name"),
    offset("DENTRY_SB", "dentry", "d_sb"),
    offset("DENTRY_INODE", "dentry", "d_inode"),
    offset("INODE_NLINK", "inode", "i_nlink"),
    offset("INODE_MODE", "inode", "i_mode"),
    offset("INODE_RDEV", "inode", "i_rdev"),
    offset("INODE_SB", "inode", "i_sb"),
    offset("INODE_NUMBER", "inode", "i_ino"),
    offset("INODE_ENTRIES", "inode", "i_dentry"),
    offset("DENTRY_ALIAS", "dentry", "d_u.d_alias"),
    offset("PROC_INODE", "proc_inode", "vfs_inode"),
    offset("PROC_PID", "proc_inode", "pid"),
    offset("PID_TASKS", "pid", "tasks"),
    offset("TASK_LINKS", "task_struct", "pid_links"),
    offset("TASK_GROUP_LEADER", "task_struct", "group_leader"),
    offset("SB_DEV", "super_block", "s_dev"),
    offset("SB_FLAGS", "super_block", "s_flags"),
    offset("SB_MAGIC", "super_block", "s_magic"),
    offset("SB_USER_NS", "super_block", "s_user_ns"),
    offset("NS_LEVEL", "user_namespace", "level"),
    offset("VMA_FILE", "vm_area_struct", "vm_file"),
    offset("MOUNT_FLAGS", "vfsmount", "mnt_flags"),
    offset("MOUNT_ROOT", "vfsmount", "mnt_root"),
    offset("SB_ROOT", "super_block", "s_root"),
    offset("TASK_NSPROXY", "task_struct", "nsproxy"),
    offset("NSPROXY_MOUNTS", "nsproxy", "mnt_ns"),
    offset("NSPROXY_NET", "nsproxy", "net_ns"),
    offset("MOUNT_NAMESPACE_OWNER", "mnt_namespace", "user_ns"),
    offset("TASK_CRED", "task_struct", "cred"),
    offset("TASK_REAL_CRED", "task_struct", "real_cred"),
    offset("TASK_IO_URING", "task_struct", "io_uring"),
    offset("TASK_FLAGS", "task_struct", "flags"),
    offset("REGS_CALL", "pt_regs", "orig_ax"),
    offset("REGS_RESULT", "pt_regs", "ax"),
    offset("IATTR_VALID", "iattr", "ia_valid"),
];

/// Bit fields: the global holds the offset in bits.
pub const BITS: [Offset; 1] = [offset("SOCK_V6ONLY", "sock", "__sk_common.skc_ipv6only")];

/// The global that holds the number of the host's network namespace, the daemon's own.
pub const HOST_NAMESPACE: &str = "HOST_NAMESPACE";

/// The global that holds the address of the kernel's `rename_lock`.
pub const RENAME_LOCK: &str = "RENAME_LOCK";

/// The globals that hold the keys of [`crate::hold::Digest`].
pub const HOLD_KEYS: [&str; 2] = ["HOLD_KEY_FIRST", "HOLD_KEY_SECOND"];

/// The global that holds how many parameters [`SETATTR`] has.
pub const SETATTR_PARAMETERS: &str = "SETATTR_PARAMETERS";
/// The function that BPF programs attach to for `security_inode_setattr`.
pub const SETATTR: &str = "bpf_lsm_inode_setattr";

/// Members that a kernel may have been built without, or has by another name: the global, and
/// the member of the same structure that is read instead.
pub const OPTIONAL: [(&str, &str); 2] = [
    // In a union that has no name.
    ("DENTRY_ALIAS", "d_alias"),
    // Never null, as if every task used io_uring.
    ("TASK_IO_URING", "real_cred"),
];
