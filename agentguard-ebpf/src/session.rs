//! Which session a task belongs to.

use agentguard_common::session::{SessionCount, SessionEntry, State, TaskLabel, Terms};
use aya_ebpf::bindings::BPF_LOCAL_STORAGE_GET_F_CREATE;
use aya_ebpf::helpers::generated::{
    bpf_get_current_task_btf, bpf_ktime_get_boot_ns, bpf_task_storage_get,
};

use crate::maps::{SESSION_COUNTS, SESSIONS, TASKS};

/// The current task, as a pointer whose type the verifier knows.
#[inline(always)]
pub(crate) fn current_task() -> *const u8 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_task_btf() }.cast_const().cast()
}

/// The label of the current task; `None` for a task of no session.
#[inline(always)]
pub(crate) fn current() -> Option<TaskLabel> {
    // SAFETY: the current task is alive.
    unsafe { of(current_task()) }
}

/// The label of a task.
///
/// # Safety
///
/// `task` must be a task pointer that the verifier knows to be one.
#[inline(always)]
pub(crate) unsafe fn of(task: *const u8) -> Option<TaskLabel> {
    let map = (&raw const TASKS).cast_mut().cast();
    // SAFETY: a task-storage map and a task, by the contract; no value is made.
    let label =
        unsafe { bpf_task_storage_get(map, task.cast_mut().cast(), core::ptr::null_mut(), 0) };
    // SAFETY: the helper returns null or the task's value, which lives as long as
    // the task and is written only when it is made.
    unsafe { label.cast::<TaskLabel>().as_ref() }.copied()
}

/// Remembers which capability the current task was just refused; that of before.
#[inline(always)]
pub(crate) fn note_refused(capability: u32) -> u32 {
    let map = (&raw const TASKS).cast_mut().cast();
    let task = current_task().cast_mut().cast();
    // SAFETY: as in `of`; the task that runs is the only one that changes this member.
    unsafe {
        match bpf_task_storage_get(map, task, core::ptr::null_mut(), 0).cast::<TaskLabel>() {
            label if label.is_null() => 0,
            label => {
                let before = (&raw const (*label).refused).read_volatile();
                (&raw mut (*label).refused).write_volatile(capability);
                before
            }
        }
    }
}

/// Puts a label on a new task; false when there was no memory for it.
///
/// # Safety
///
/// As for [`of`].
#[inline(always)]
pub(crate) unsafe fn put(task: *const u8, mut label: TaskLabel) -> bool {
    let map = (&raw const TASKS).cast_mut().cast();
    // SAFETY: as in `of`; the value is on our stack for the whole call.
    let made = unsafe {
        bpf_task_storage_get(
            map,
            task.cast_mut().cast(),
            (&raw mut label).cast(),
            u64::from(BPF_LOCAL_STORAGE_GET_F_CREATE),
        )
    };
    !made.is_null()
}

/// The entry that a label points to; `None`, which callers must take for "deny",
/// when the slot is not this session's any more.
#[inline(always)]
pub(crate) fn entry(label: &TaskLabel) -> Option<&'static SessionEntry> {
    let entry = SESSIONS.get(label.slot)?;
    if entry.session == label.session { Some(entry) } else { None }
}

/// What the kernel is to do with the session; `None` means deny.
#[inline(always)]
pub(crate) fn state(label: &TaskLabel) -> Option<State> {
    State::from_u32(terms(entry(label)?).state)
}

/// What decides on a session, at one moment: once for a decision.
#[inline(always)]
pub(crate) fn terms(entry: &SessionEntry) -> Terms {
    // SAFETY: a live map value; the daemon writes the number whole.
    Terms::unpack(unsafe { (&raw const entry.terms).read_volatile() })
}

/// The counters of a session.
#[inline(always)]
pub(crate) fn counts(label: &TaskLabel) -> Option<*mut SessionCount> {
    SESSION_COUNTS.get_ptr_mut(label.slot)
}

/// Seconds since boot.
#[inline(always)]
pub(crate) fn seconds() -> u32 {
    // SAFETY: the helper has no preconditions.
    (unsafe { bpf_ktime_get_boot_ns() } / 1_000_000_000) as u32
}
