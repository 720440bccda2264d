//! `security_file_fcntl`, called by `fcntl` (6.1 to 7.x): whom signals are sent to when a file
//! is ready, and which, can be set on a file. That may be the process itself and nobody else:
//! who makes the file ready, later, need not be of the session.

use agentguard_common::host::{About, F_SETOWN, F_SETOWN_EX, Power, tune};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::PASS;
use super::host::{self, Act, Tell};
use crate::{emit, session};

#[lsm(hook = "file_fcntl")]
fn file_fcntl(ctx: LsmContext) -> i32 {
    let (command, owner): (u32, u64) = (ctx.arg(1), ctx.arg(2));
    if command != F_SETOWN && command != F_SETOWN_EX {
        return PASS;
    }
    let Some(label) = session::current() else { return PASS };
    // The other command has a structure in the program's memory, where it can change under
    // our eyes. In a namespace of processes of its own, the number is another one.
    let number = owner as u32;
    if command == F_SETOWN && (number == 0 || number == emit::maker().pid) {
        return PASS;
    }
    let act = Act {
        power: Power::Process,
        about: About::Process,
        number: tune::OWNER,
        tell: Tell::Always,
    };
    host::host(&label, act)
}
