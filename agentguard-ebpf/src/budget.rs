//! What a session has used of its limits per time, and whether there is more.

use agentguard_common::counter::Count;
use agentguard_common::event::{Kind, Plain, flag};
use agentguard_common::limit::{LIMITS, Limit};
use agentguard_common::net::Destination;
use agentguard_common::opaque::cut;
use agentguard_common::session::{SocketLabel, State, TaskLabel};
use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;

use crate::emit::{self, Ring};
use crate::{atomic, session};

/// There is enough.
pub(crate) const ENOUGH: u64 = 0;
/// There is not, which was told of a moment ago.
pub(crate) const SPENT: u64 = 1;
/// There is not, and that is to be told of.
pub(crate) const TELL: u64 = 2;

/// A refusal is told of again after so many nanoseconds.
const PAUSE: u64 = 1_000_000_000;
/// How often several CPUs may get into one another's way.
const TURNS: u32 = 8;

/// Takes from a session's bucket, and counts.
#[inline(always)]
pub(crate) fn spend(label: &TaskLabel, limit: Limit, units: u32) -> u64 {
    budget_spend(label.slot, label.session, limit as u32, units)
}

/// See [`spend`]: walked through once by the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn budget_spend(slot: u32, of: u64, limit: u32, units: u32) -> u64 {
    let label = TaskLabel { session: of, slot, refused: 0 };
    // A session that is gone has no limits; other things are refused to it.
    let (Some(entry), Some(counts)) = (session::entry(&label), session::counts(&label)) else {
        return ENOUGH;
    };
    let at = cut(limit, 7);
    if at >= LIMITS.len() {
        return ENOUGH;
    }
    let rate = &entry.rates[at];
    // SAFETY: places in a live map value.
    let (used, bucket, told) = unsafe {
        (&raw mut (*counts).used[at], &raw mut (*counts).buckets[at], &raw mut (*counts).told[at])
    };
    if rate.window != 0 {
        // SAFETY: the helper has no preconditions.
        let now = unsafe { bpf_ktime_get_boot_ns() };
        let mut taken = false;
        for _ in 0..TURNS {
            // SAFETY: as above.
            let before = unsafe { bucket.read_volatile() };
            let Some(after) = rate.take(before, now, u64::from(units)) else {
                // SAFETY: as above. Two that are told of at once are two lines.
                return unsafe {
                    let due = now.wrapping_sub(told.read_volatile()) >= PAUSE;
                    if due && atomic::swap(told, now).wrapping_add(PAUSE) <= now {
                        TELL
                    } else {
                        SPENT
                    }
                };
            };
            // SAFETY: as above.
            if unsafe { atomic::exchange(bucket, before, after) } == before {
                taken = true;
                break;
            }
        }
        if !taken {
            return SPENT;
        }
    }
    // SAFETY: as above.
    unsafe { atomic::fetch_add(used, u64::from(units)) };
    ENOUGH
}

/// Takes one from a session's bucket; true where there is none, and it is not only watched. A
/// function of its own, for the sake of the stack.
#[inline(never)]
pub(crate) fn refuses(label: &TaskLabel, limit: Limit) -> bool {
    let spent = spend(label, limit, 1);
    if spent == ENOUGH {
        return false;
    }
    let observed = matches!(session::state(label), Some(State::Observe));
    if spent == TELL {
        emit::count(Kind::Limit, Count::Seen);
        let header = emit::header(Kind::Limit, label, if observed { flag::OBSERVED } else { 0 });
        let record = Plain { header, status: limit as u32, reserved: 0 };
        emit::emit(Ring::Decisions, Kind::Limit, &record);
    }
    !observed
}

/// Whether a packet leaves this host: only those count.
#[inline(always)]
pub(crate) fn is_elsewhere(end: &Destination) -> bool {
    !end.address.is_loopback()
}

/// A packet leaves this host.
#[inline(always)]
pub(crate) fn out(label: &SocketLabel, len: u32) -> u64 {
    let label = label.of_maker();
    if let Some(counts) = session::counts(&label) {
        // SAFETY: a live map value.
        unsafe { atomic::fetch_add(&raw mut (*counts).packets_out, 1) };
    }
    spend(&label, Limit::Egress, len)
}

/// A packet comes from elsewhere.
#[inline(always)]
pub(crate) fn came(label: &SocketLabel, len: u32) {
    let label = label.of_maker();
    if let (Some(_), Some(counts)) = (session::entry(&label), session::counts(&label)) {
        // SAFETY: a live map value.
        unsafe {
            atomic::fetch_add(&raw mut (*counts).packets_in, 1);
            atomic::fetch_add(&raw mut (*counts).bytes_in, u64::from(len));
        }
    }
}
