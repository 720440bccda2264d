//! Calls that a rule says `ask` of: waiting, let through or refused.

use agentguard_common::hold::{
    AGAIN, HELLO, Held, Hold, HoldKey, LEASE, MAX_HELD, can_wait, goes_on, state, step,
};
use agentguard_common::session::TaskLabel;
use agentguard_common::verdict::Reason;
use aya_ebpf::helpers::generated::{
    bpf_get_current_pid_tgid, bpf_ktime_get_boot_ns, bpf_send_signal, bpf_task_pt_regs,
};

use crate::kernel::{HOLD_KEY_FIRST, HOLD_KEY_SECOND, REGS_CALL, REGS_RESULT, TASK_FLAGS, probe};
use crate::maps::{DROPPED, HOLDS, SEEN, SESSION_COUNTS};
use crate::{atomic, session};

/// `BPF_NOEXIST` of `linux/bpf.h`: what is there already is left alone.
const NEW: u64 = 1;
/// `PF_IO_WORKER` of `linux/sched.h`: a thread of the kernel that works for `io_uring`.
const IO_WORKER: u32 = 0x10;
/// `ENOSYS` of `errno.h`, below zero: what stands in the place of a system call's result while
/// it runs (`entry_SYSCALL_64`). Work that is done on the way back from a call finds its result.
const RUNNING: u64 = (-38i64).cast_unsigned();
/// `SIGSTOP` and `SIGCONT`.
const STOP: u32 = 19;
const CONTINUE: u32 = 18;

/// The keys of digests.
#[inline(always)]
pub(crate) fn keys() -> [u64; 2] {
    [HOLD_KEY_FIRST.load(), HOLD_KEY_SECOND.load()]
}

/// A deed within a system call that is no part of a longer one.
pub(crate) const WHOLE: u32 = 0;

/// What is to become of the current call, of which a rule says `ask`. `patience` is how long it
/// may wait, in seconds, `at` a [`step`] or [`WHOLE`].
#[inline(always)]
pub(crate) fn ask(label: &TaskLabel, digest: u64, patience: u32, at: u32) -> Held {
    let standing = hold_standing(label.session, digest);
    if standing != NOTHING {
        hold_over(label.session, digest, label.slot);
        return Held(standing);
    }
    let how = u64::from(patience) << 32 | u64::from(at);
    Held(hold_wait(label.session, digest, label.slot, how))
}

/// What is said where nothing has been answered.
const NOTHING: u64 = 1 << 32;
/// What was asked is over, and is to be taken out of the table.
const REMOVED: u64 = 1 << 33;
/// The call waits no longer.
const GONE: u64 = 1 << 34;
/// What there is beside those.
const HELD: u64 = NOTHING - 1;

/// What was answered for all such calls of the session.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hold_standing(session: u64, digest: u64) -> u64 {
    // SAFETY: replaced whole by the daemon.
    let Some(hold) = (unsafe { HOLDS.get(HoldKey::new(session, digest, 0)) }) else {
        return NOTHING;
    };
    // SAFETY: the helper has no preconditions.
    if hold.until != 0 && hold.until <= unsafe { bpf_ktime_get_boot_ns() } {
        return NOTHING;
    }
    match hold.state {
        state::ALLOWED => Held::PASSES.0,
        state::DENIED => Held::refused_as(hold.detail).0,
        _ => NOTHING,
    }
}

/// Whether such an answer lets something through.
#[inline(always)]
pub(crate) fn is_allowed(session: u64, digest: u64) -> bool {
    hold_standing(session, digest) == Held::PASSES.0
}

/// Lets the TLS handshake of a connection through that was let through once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn hold_hello(session: u64, digest: u64) -> u64 {
    // SAFETY: the helper has no preconditions.
    let until = unsafe { bpf_ktime_get_boot_ns() } + HELLO;
    let hold = Hold { until, state: state::ALLOWED, detail: 0, step: 0, process: 0 };
    // Without room, the handshake is refused.
    u64::from(HOLDS.insert(HoldKey::new(session, digest, 0), hold, 0).is_ok())
}

/// The current call was answered together with others.
#[expect(clippy::needless_borrows_for_generic_args, reason = "as below")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hold_over(session: u64, digest: u64, slot: u32) -> u64 {
    let (key, _) = key(session, digest);
    if HOLDS.remove(&key).is_ok() {
        gone(slot);
    }
    0
}

/// See [`ask`]: what was answered to the current call, or the beginning of its wait.
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value they would be copied, and the stack has no room for it"
)]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hold_wait(session: u64, digest: u64, slot: u32, how: u64) -> u64 {
    let (patience, at) = ((how >> 32) as u32, how as u32);
    let (key, call) = key(session, digest);
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if let Some(hold) = HOLDS.get_ptr_mut(&key) {
        // SAFETY: a live map value.
        let found = unsafe { asked(hold, now, at, call) };
        if found == Held::AGAIN.0 {
            return stop(&key, slot, Held::AGAIN);
        }
        if found & REMOVED != 0 {
            let _ = HOLDS.remove(&key);
        }
        if found & GONE != 0 {
            gone(slot);
        }
        if found & NOTHING == 0 {
            return found & HELD;
        }
    }
    let reason = begins(slot, now, at, call);
    if reason != 0 {
        return Held::refused_as(reason).0;
    }
    let until = now + u64::from(patience) * 1_000_000_000;
    // SAFETY: the helper has no preconditions.
    let process = (unsafe { bpf_get_current_pid_tgid() } >> 32) as u32;
    let hold = Hold { until, state: state::WAITING, detail: 0, step: 0, process };
    if HOLDS.insert(&key, &hold, NEW).is_err() {
        gone(slot);
        return Held::refused(Reason::Crowded).0;
    }
    stop(&key, slot, Held::NEW)
}

/// By what the current call is known, and its number.
#[inline(always)]
fn key(session: u64, digest: u64) -> (HoldKey, u32) {
    // SAFETY: the helper has no preconditions.
    let ids = unsafe { bpf_get_current_pid_tgid() };
    let call = call();
    // An exec makes its thread the first of the process.
    let executes = call == EXECVE || call == EXECVEAT;
    (HoldKey::new(session, digest, if executes { (ids >> 32) as u32 } else { ids as u32 }), call)
}

/// What is to become of a call that was asked about, and of the question; [`NOTHING`] where
/// that was another one.
///
/// # Safety
///
/// `hold` must be a live map value. The daemon replaces those that wait, and no others.
#[inline(always)]
unsafe fn asked(hold: *mut Hold, now: u64, at: u32, call: u32) -> u64 {
    // SAFETY: by the contract above.
    let (is, until, detail) = unsafe {
        (
            (&raw const (*hold).state).read_volatile(),
            (&raw const (*hold).until).read_volatile(),
            (&raw const (*hold).detail).read_volatile(),
        )
    };
    let refused = |reason| Held::refused(reason).0 | REMOVED | GONE;
    match is {
        state::WAITING if until <= now => refused(Reason::Unanswered),
        state::WAITING if !attended(now) => refused(Reason::Unattended),
        state::WAITING if !can_be_held(at, call) => refused(Reason::Unheld),
        state::WAITING => Held::AGAIN.0,
        state::ONCE if at == WHOLE => Held::PASSES.0 | REMOVED | GONE,
        state::ONCE => {
            // SAFETY: by the contract above.
            unsafe {
                (&raw mut (*hold).detail).write_volatile(call);
                (&raw mut (*hold).step).write_volatile(at);
                (&raw mut (*hold).state).write_volatile(state::USED);
            }
            Held::PASSES.0 | GONE
        }
        state::USED => {
            // SAFETY: by the contract above.
            let goes_on = at != WHOLE && unsafe { goes_on(&*hold, at, call) };
            if !goes_on {
                // It was used, and this is another call: asked anew.
                return NOTHING | REMOVED;
            }
            // SAFETY: by the contract above.
            unsafe { (&raw mut (*hold).step).write_volatile(at) };
            Held::PASSES.0
        }
        state::REFUSED => Held::refused_as(detail).0 | REMOVED | GONE,
        _ => NOTHING | REMOVED,
    }
}

/// Whether a call may begin to wait: 0, or the number of the [`Reason`] why not.
#[inline(always)]
fn begins(slot: u32, now: u64, at: u32, call: u32) -> u32 {
    if !can_be_held(at, call) {
        return Reason::Unheld as u32;
    }
    if !attended(now) {
        return Reason::Unattended as u32;
    }
    let Some(counts) = SESSION_COUNTS.get_ptr_mut(slot) else { return Reason::Crowded as u32 };
    let dropped = DROPPED.get(slot).copied().unwrap_or(0);
    // SAFETY: a live map value.
    let held = unsafe {
        let released = (&raw const (*counts).released).read_volatile() + dropped;
        atomic::fetch_add(&raw mut (*counts).held, 1).wrapping_sub(released)
    };
    if held >= MAX_HELD {
        gone(slot);
        return Reason::Crowded as u32;
    }
    0
}

/// A call of the session waits no longer.
#[inline(always)]
fn gone(slot: u32) {
    if let Some(counts) = SESSION_COUNTS.get_ptr_mut(slot) {
        // SAFETY: a live map value.
        unsafe { atomic::fetch_add(&raw mut (*counts).released, 1) };
    }
}

/// Has the kernel start the call again. A signal must be about to be delivered for that, or the
/// program would see the number; it is taken back at once, so that nothing stops and nobody is
/// told of it. Until the daemon makes the thread stand still, it goes round in circles.
#[inline(always)]
fn stop(key: &HoldKey, slot: u32, held: Held) -> u64 {
    // SAFETY: the helper has no preconditions.
    if unsafe { bpf_send_signal(STOP) } != 0 {
        if HOLDS.remove(key).is_ok() {
            gone(slot);
        }
        return Held::refused(Reason::Unheld).0;
    }
    // SAFETY: as above. Should it fail, the process stands still until somebody wakes it.
    unsafe { bpf_send_signal(CONTINUE) };
    held.0
}

/// Whether a daemon is there to ask somebody.
#[inline(always)]
fn attended(now: u64) -> bool {
    SEEN.get(0).is_some_and(|seen| {
        // SAFETY: a live map value.
        let seen = unsafe { core::ptr::from_ref(seen).read_volatile() };
        seen != 0 && now.wrapping_sub(seen) < LEASE
    })
}

/// Whether the current call can be started again. What an exec maps cannot: the old program is
/// gone by then.
#[inline(always)]
fn can_be_held(at: u32, call: u32) -> bool {
    let maps = at == step::AFTER && (call == EXECVE || call == EXECVEAT);
    can_wait(u64::from(call)) && !maps
}

/// No system call.
const NO_CALL: u32 = u32::MAX;
/// `__NR_execve` and `__NR_execveat` of `x86_64`.
const EXECVE: u32 = 59;
const EXECVEAT: u32 = 322;

/// The number of the system call that the current task is in, if it has no result yet.
#[inline(always)]
fn call() -> u32 {
    let task = session::current_task();
    // SAFETY: the current task; the helper's result is where its registers were saved.
    unsafe {
        let registers = bpf_task_pt_regs(task.cast_mut().cast()) as *const u8;
        let flags: u32 = probe(task, TASK_FLAGS.load()).unwrap_or(IO_WORKER);
        let call: u64 = probe(registers, REGS_CALL.load()).unwrap_or(u64::MAX);
        let result: u64 = probe(registers, REGS_RESULT.load()).unwrap_or(0);
        if flags & IO_WORKER != 0 || result != RUNNING || call >= u64::from(NO_CALL) {
            return NO_CALL;
        }
        call as u32
    }
}

const _: () = assert!(AGAIN == -513);
