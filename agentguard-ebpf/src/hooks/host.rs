//! What the hooks share that keep a session away from the host and from processes that are
//! not its own: the ruling, which is a bit of the policy, and the record of it.

use agentguard_common::counter::Count;
use agentguard_common::event::{Kind, flag};
use agentguard_common::file::Told;
use agentguard_common::host::{About, Decision, Power};
use agentguard_common::session::TaskLabel;
use agentguard_common::verdict::{Reason, Verdict};

use super::{PASS, egress};
use crate::emit::{self, Ring};
use crate::kernel::{TASK_COMM, TASK_TGID, member, probe};
use crate::{recent, session};

/// What is to be done.
#[derive(Clone, Copy)]
pub(super) struct Act {
    pub(super) power: Power,
    pub(super) about: About,
    pub(super) number: u32,
    pub(super) tell: Tell,
}

/// How a refusal is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tell {
    /// Each time.
    Always,
    /// Once in a while for the same thing done by the same thread: programs do it over and
    /// over, on the look for something else.
    Once,
    /// Not at all: the kernel asks for its own purposes, and only leaves something out.
    Never,
}

/// To whom.
struct Target {
    pid: u32,
    comm: [u8; 16],
}

/// Decides what would be done to a process. To those of its own session a task may do what
/// the kernel lets it.
///
/// # Safety
///
/// `task` must be a hook's argument, a `struct task_struct`.
#[inline(always)]
pub(super) unsafe fn process(task: *const u8, act: Act) -> i32 {
    let Some(label) = session::current() else { return PASS };
    // SAFETY: by the contract above.
    let reason = match unsafe { session::of(task) } {
        Some(other) if other.session == label.session => return PASS,
        Some(_) => Reason::OtherSession,
        None => Reason::Outside,
    };
    // SAFETY: members of that structure; any bytes are numbers.
    let target = unsafe {
        Target {
            pid: member(task, &TASK_TGID),
            comm: probe(task, TASK_COMM.load()).unwrap_or_default(),
        }
    };
    decide(&label, act, reason, &target)
}

/// Decides what would be done to the host itself.
#[inline(always)]
pub(super) fn host(label: &TaskLabel, act: Act) -> i32 {
    decide(label, act, Reason::Host, &Target { pid: 0, comm: [0; 16] })
}

#[inline(always)]
fn decide(label: &TaskLabel, act: Act, reason: Reason, target: &Target) -> i32 {
    let Act { power, tell, .. } = act;
    let (open, observed, policy, reason) = match egress::ground_apart(label) {
        Ok(ground) => {
            let open = ground.policy.host & power.bit() != 0;
            (open, ground.observed(), ground.policy.tag, reason)
        }
        Err(reason) => (false, false, 0, reason),
    };
    let answer = || super::answer(open || observed);
    let once = open || tell == Tell::Once;
    if tell == Tell::Never || once && was_told(label, &act, target) {
        return answer();
    }
    emit::count(Kind::Host, Count::Seen);
    let record = Decision {
        header: emit::header(Kind::Host, label, if observed { flag::OBSERVED } else { 0 }),
        power: power as u8,
        verdict: if open { Verdict::Allow } else { Verdict::Deny } as u8,
        reason: if open { Reason::Rule } else { reason } as u8,
        about: act.about as u8,
        number: act.number,
        pid: target.pid,
        reserved: 0,
        comm: target.comm,
        policy,
    };
    let ring = if open { Ring::Activity } else { Ring::Decisions };
    emit::emit(ring, Kind::Host, &record);
    answer()
}

/// What [`Told::deed`] is here; deeds with files are smaller.
const DEEDS: u64 = 0x100;

#[inline(always)]
fn was_told(label: &TaskLabel, act: &Act, target: &Target) -> bool {
    let thread = emit::maker().tid;
    recent::was_told(&Told {
        session: label.session,
        entry: u64::from(thread) << 32 | u64::from(target.pid),
        name: u64::from(act.number),
        deed: DEEDS | act.power as u64,
    })
}
