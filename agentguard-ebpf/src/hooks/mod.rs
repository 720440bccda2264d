//! The hooks, one a file. Each names the kernel function that calls it.

mod answering;
mod bprm_check_security;
mod bprm_committed_creds;
mod cgroup_skb_egress;
mod cgroup_skb_ingress;
mod egress;
mod file_ioctl;
mod file_ioctl_compat;
mod file_open;
mod file_receive;
mod files;
mod inet_sock_set_state;
mod netlink_send;
mod plain;
mod question;
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
/// What an LSM hook on files returns to refuse: `-EACCES`.
const FORBID: i32 = -13;
/// What it returns where a copy would be decided file by file: `-EXDEV`.
const ELSEWHERE: i32 = -18;

/// What a cgroup_skb program returns to let a packet pass.
const KEEP: i32 = 1;
/// What it returns to drop it: the sender of a datagram sees `EPERM`.
const DROP: i32 = 0;
