//! Sessions that have read a secret.

use agentguard_common::session::{Taint, TaskLabel, Terms};
use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;

use crate::maps::{POLICIES, TAINTED};

/// `BPF_NOEXIST` of `linux/bpf.h`: what is there already is left alone.
const NEW: u64 = 1;

/// Since when a session is tainted, and by what it was held then; `None` for one that is not.
#[inline(always)]
pub(crate) fn of(session: u64) -> Option<&'static Taint> {
    // SAFETY: written once, and taken away whole.
    unsafe { TAINTED.get(session) }
}

/// The slot of what holds for the egress of a session.
#[inline(always)]
pub(crate) fn slot(session: u64, terms: &Terms) -> u32 {
    let same = terms.tainted == terms.policy;
    if same || of(session).is_none() { terms.policy } else { terms.tainted }
}

/// The session was tainted already.
pub(crate) const WAS: u64 = 0;
/// It is from now on.
pub(crate) const NOW: u64 = 1;
/// There is no room to remember it: it is not to get what would taint it.
pub(crate) const CANNOT: u64 = 2;

/// Marks a session, for good as far as the kernel is concerned.
#[inline(never)]
pub(crate) fn mark(label: &TaskLabel, terms: &Terms) -> u64 {
    if of(label.session).is_some() {
        return WAS;
    }
    let policy = match POLICIES.get(terms.tainted) {
        Some(policy) if terms.tainted != terms.policy => policy.tag as u32,
        _ => 0,
    };
    // SAFETY: the helper has no preconditions.
    let since = unsafe { bpf_ktime_get_boot_ns() };
    match TAINTED.insert(label.session, Taint { since, policy, reserved: 0 }, NEW) {
        Ok(()) => NOW,
        // Another task was first, or there is no room.
        Err(_) if of(label.session).is_some() => WAS,
        Err(_) => CANNOT,
    }
}
