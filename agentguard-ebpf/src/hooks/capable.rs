//! `security_capable` (6.1 to 7.x), asked after the kernel's own answer was yes: some
//! capabilities are only there for what a session may not do. Modules, the clock, reboot and
//! kexec, ports and physical memory have no other hook, or a later one.
//!
//! `CAP_SYS_ADMIN` is for everything: there the system call tells what it is wanted for, where
//! no other hook is asked.
//!
//! In a user namespace of its own a session may use what capabilities it has there.

use agentguard_common::host::{self as powers, About, PERFMON, Power, SYS_ADMIN};
use agentguard_common::session::TaskLabel;
use aya_ebpf::helpers::generated::bpf_task_pt_regs;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::PASS;
use super::host::{self, Act, Tell};
use crate::kernel::{NS_LEVEL, REGS_CALL, TASK_CRED, member, probe};
use crate::session;

/// `CAP_OPT_NOAUDIT` of `linux/security.h`.
const NO_AUDIT: u32 = 1 << 1;

#[lsm(hook = "capable")]
fn capable(ctx: LsmContext) -> i32 {
    let capability: u32 = ctx.arg(2);
    if !powers::is_watched(capability) {
        return PASS;
    }
    let Some(label) = session::current() else { return PASS };
    let (credentials, namespace): (*const u8, *const u8) = (ctx.arg(0), ctx.arg(1));
    // SAFETY: members of the hook's argument and of the current task.
    let (level, own): (u32, *const u8) =
        unsafe { (member(namespace, &NS_LEVEL), member(session::current_task(), &TASK_CRED)) };
    // Of other tasks the kernel asks for purposes of its own.
    if level != 0 || own != credentials {
        return PASS;
    }
    if capability == SYS_ADMIN && session::note_refused(0) == PERFMON {
        return in_the_place_of(&label, capability);
    }
    let Some(power) = powers::of_capability(capability).or_else(|| of_call(capability)) else {
        return PASS;
    };
    if capability == PERFMON {
        let answer = in_the_place_of(&label, capability);
        session::note_refused(if answer == PASS { 0 } else { capability });
        return answer;
    }
    let silent = ctx.arg::<u32>(3) & NO_AUDIT != 0;
    let tell = if silent { Tell::Never } else { Tell::Always };
    host::host(&label, Act { power, about: About::Capability, number: capability, tell })
}

/// What is wanted is to measure others or to look into them. Told by the hook that was asked
/// before: this is a second way to the same.
#[inline(always)]
fn in_the_place_of(label: &TaskLabel, capability: u32) -> i32 {
    let act =
        Act { power: Power::Perf, about: About::Capability, number: capability, tell: Tell::Never };
    host::host(label, act)
}

/// Of the one capability that is for everything, what the system call says that it is used for.
#[inline(always)]
fn of_call(capability: u32) -> Option<Power> {
    if capability != SYS_ADMIN {
        return None;
    }
    // SAFETY: the current task; the helper's result is where its registers were saved.
    let call: u64 = unsafe {
        let registers = bpf_task_pt_regs(session::current_task().cast_mut().cast());
        probe(registers as *const u8, REGS_CALL.load())?
    };
    powers::of_call(call)
}
