//! `security_bprm_creds_for_exec`, called by `bprm_execve` (6.1 to 7.x) once for each program
//! that is to be executed, its interpreters not counted: keeps the limit on those.

use agentguard_common::limit::Limit;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::PASS;
use crate::{budget, session};

#[lsm(hook = "bprm_creds_for_exec")]
fn bprm_creds_for_exec(_: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    super::answer(!budget::refuses(&label, Limit::Execs))
}
