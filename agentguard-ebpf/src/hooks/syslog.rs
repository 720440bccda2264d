//! `security_syslog`, called by `syslog(2)` and for `/dev/kmsg` (6.1 to 7.x): reading the
//! kernel's log is left to the kernel's own rules.

use agentguard_common::host::{About, Power, only_reads_log};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::PASS;
use super::host::{self, Act, Tell};
use crate::session;

#[lsm(hook = "syslog")]
fn syslog(ctx: LsmContext) -> i32 {
    let number: u32 = ctx.arg(0);
    if only_reads_log(number) {
        return PASS;
    }
    let Some(label) = session::current() else { return PASS };
    host::host(&label, Act { power: Power::Log, about: About::Log, number, tell: Tell::Always })
}
