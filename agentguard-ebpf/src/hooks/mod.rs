//! The hooks, one a file. Each names the kernel function that calls it.

mod answering;
mod asking;
mod attributes;
mod bpf;
mod bprm_check_security;
mod bprm_check_security_too;
mod bprm_committed_creds;
mod bprm_creds_for_exec;
mod capable;
mod cgroup_skb_egress;
mod cgroup_skb_ingress;
mod current;
mod egress;
mod file_fcntl;
mod file_ioctl;
mod file_ioctl_compat;
mod file_ioctl_compat_host;
mod file_ioctl_host;
mod file_mprotect;
mod file_open;
mod file_open_host;
mod file_receive;
mod file_receive_too;
mod files;
mod hello;
mod host;
mod host_file;
mod inet_sock_set_state;
mod inode_link;
mod inode_permission;
mod inode_remove_acl;
mod inode_remove_acl_host;
mod inode_removexattr;
mod inode_removexattr_host;
mod inode_rename;
mod inode_rmdir;
mod inode_set_acl;
mod inode_set_acl_host;
mod inode_setattr;
mod inode_setattr_host;
mod inode_setxattr;
mod inode_setxattr_host;
mod inode_unlink;
mod mmap_file;
mod mounting;
mod move_mount;
mod netlink_send;
mod own_file;
mod path_chmod;
mod path_chown;
mod path_link;
mod path_mkdir;
mod path_mknod;
mod path_notify;
mod path_rename;
mod path_rmdir;
mod path_symlink;
mod path_truncate;
mod path_unlink;
mod perf_event_open;
mod plain;
mod ptrace_access_check;
mod question;
mod sb_kern_mount;
mod sb_kern_mount_host;
mod sb_mount;
mod sb_pivotroot;
mod sb_remount;
mod sb_umount;
mod sched_process_exit;
mod sock_graft;
mod socket_connect;
mod socket_create;
mod socket_post_create;
mod socket_recvmsg;
mod socket_sendmsg;
mod socket_setsockopt;
mod syslog;
mod task_alloc;
mod task_kill;
mod task_movememory;
mod task_newtask;
mod task_setioprio;
mod task_setnice;
mod task_setpgid;
mod task_setrlimit;
mod task_setscheduler;
mod tuning;
mod unix;
mod unix_may_send;
mod unix_stream_connect;

/// What an LSM hook returns to let the action go on.
const PASS: i32 = 0;
/// What an LSM hook returns to refuse it: `-EPERM`.
const REFUSE: i32 = -1;

/// What an LSM hook answers. The verifier wants to see a number that is no other, where the
/// compiler would reckon it out.
#[inline(always)]
fn answer(passes: bool) -> i32 {
    let mut answer = u64::from(passes);
    // SAFETY: sets a register.
    unsafe {
        core::arch::asm!(
            "if {answer} == 0 goto +2",
            "{answer} = 0",
            "goto +1",
            "{answer} = -1",
            answer = inout(reg) answer,
            options(nomem, nostack),
        );
    }
    answer as i32
}

/// What an LSM hook answers that can have the call started again, by what [`egress`] decided.
#[inline(always)]
fn answer_or_wait(decided: u64) -> i32 {
    if decided == egress::WAITS {
        return agentguard_common::hold::AGAIN;
    }
    answer(decided == egress::GOES_ON)
}

const _: () = assert!(PASS == 0 && REFUSE == -1);

/// What a cgroup_skb program returns to let a packet pass.
const KEEP: i32 = 1;
/// What it returns to drop it: the sender of a datagram sees `EPERM`.
const DROP: i32 = 0;
