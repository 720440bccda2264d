//! The hooks, one a file. Each names the kernel function that calls it.

mod bprm_check_security;
mod bprm_committed_creds;
mod egress;
mod sched_process_exit;
mod socket_connect;
mod socket_sendmsg;
mod task_alloc;
mod task_newtask;

/// What an LSM hook returns to let the action go on.
const PASS: i32 = 0;
/// What an LSM hook returns to refuse it: `-EPERM`.
const REFUSE: i32 = -1;
