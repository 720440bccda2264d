//! The hooks, one a file. Each names the kernel function that calls it.

mod answering;
mod attributes;
mod bprm_check_security;
mod bprm_check_security_too;
mod bprm_committed_creds;
mod cgroup_skb_egress;
mod cgroup_skb_ingress;
mod egress;
mod file_ioctl;
mod file_ioctl_compat;
mod file_mprotect;
mod file_open;
mod file_receive;
mod file_receive_too;
mod files;
mod inet_sock_set_state;
mod inode_remove_acl;
mod inode_removexattr;
mod inode_set_acl;
mod inode_setattr;
mod inode_setxattr;
mod mmap_file;
mod mounting;
mod move_mount;
mod netlink_send;
mod path_chmod;
mod path_chown;
mod path_link;
mod path_mkdir;
mod path_mknod;
mod path_rename;
mod path_rmdir;
mod path_symlink;
mod path_truncate;
mod path_unlink;
mod plain;
mod question;
mod sb_kern_mount;
mod sb_mount;
mod sb_pivotroot;
mod sb_umount;
mod sched_process_exit;
mod sock_graft;
mod socket_connect;
mod socket_create;
mod socket_post_create;
mod socket_recvmsg;
mod socket_sendmsg;
mod socket_setsockopt;
mod task_alloc;
mod task_newtask;
mod unix;
mod unix_may_send;
mod unix_stream_connect;

/// What an LSM hook returns to let the action go on.
const PASS: i32 = 0;
/// What an LSM hook returns to refuse it: `-EPERM`.
const REFUSE: i32 = -1;

/// What a cgroup_skb program returns to let a packet pass.
const KEEP: i32 = 1;
/// What it returns to drop it: the sender of a datagram sees `EPERM`.
const DROP: i32 = 0;
