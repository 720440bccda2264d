//! What the hooks on unix sockets share: the name of the other socket, the call of the
//! evaluator, and the record of the decision.

use core::mem::offset_of;

use agentguard_common::counter::Count;
use agentguard_common::event::{self, Kind, flag};
use agentguard_common::session::{State, TaskLabel};
use agentguard_common::unix::{self, Key, NAME_LEN, Name};
use agentguard_common::verdict::{Reason, Ruling, Verdict};
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

use crate::emit::{self, Ring};
use crate::kernel::{UNIX_ADDRESS_LEN, UNIX_ADDRESS_NAME, UNIX_SOCK_ADDR, probe};
use crate::maps::{Maps, POLICIES};
use crate::scratch::{self, Scratch};
use crate::{session, socket};

/// Where the key stands behind the record.
const KEY: usize = size_of::<event::Unix>();
const _: () = assert!(KEY + size_of::<Key>() <= scratch::BYTES);
/// The bytes of the family, before the name.
const FAMILY: u32 = 2;

/// Decides on the other socket, records, and says whether the action goes on.
///
/// # Safety
///
/// `other` must be a `struct sock` of the family `AF_UNIX` that the verifier knows to be
/// one.
#[inline(always)]
pub(super) unsafe fn decide(kind: Kind, label: &TaskLabel, other: *const u8) -> bool {
    // SAFETY: by the contract above.
    let session = unsafe { socket::session(other) };
    if session == Some(label.session) {
        return true;
    }
    emit::count(kind, Count::Seen);
    let Some(piece) = Scratch::take() else {
        emit::count(kind, Count::Error);
        return false;
    };
    // SAFETY: the piece is ours until it is given back.
    unsafe {
        let bytes: *mut u8 = (&raw mut (*piece).bytes).cast();
        let passes = match name(other, bytes.add(KEY).cast()) {
            // Nobody can ask for a socket without a name: they are one half of a pair.
            Ok(false) => true,
            Ok(true) => ruled(kind, label, session.is_some(), true, bytes),
            Err(()) => ruled(kind, label, session.is_some(), false, bytes),
        };
        Scratch::give(piece);
        passes
    }
}

/// Puts the name of a unix socket into the key; false where it has none.
///
/// # Safety
///
/// As for [`decide`]; `key` must be good for writing.
#[inline(always)]
unsafe fn name(other: *const u8, key: *mut Key) -> Result<bool, ()> {
    // SAFETY: any bytes are an address or a number; they are used only to read what is
    // there, with faults caught. The rest by the contract above.
    unsafe {
        (*key).name.0 = [0; NAME_LEN];
        let address: *const u8 = probe(other, UNIX_SOCK_ADDR.load()).ok_or(())?;
        if address.is_null() {
            return Ok(false);
        }
        let len: u32 = probe(address, UNIX_ADDRESS_LEN.load()).ok_or(())?;
        if len <= FAMILY {
            return Ok(false);
        }
        let len = len - FAMILY;
        let len = if len > NAME_LEN as u32 { NAME_LEN as u32 } else { len };
        let from = address.wrapping_add((UNIX_ADDRESS_NAME.load() + FAMILY) as usize);
        let to = (&raw mut (*key).name.0).cast();
        if bpf_probe_read_kernel(to, len, from.cast()) != 0 {
            return Err(());
        }
    }
    Ok(true)
}

/// The ruling on the name in the key, and its record.
///
/// # Safety
///
/// `bytes` must be good for `scratch::BYTES`, with the name in the key at [`KEY`].
#[inline(always)]
unsafe fn ruled(
    kind: Kind,
    label: &TaskLabel,
    of_another: bool,
    readable: bool,
    bytes: *mut u8,
) -> bool {
    // SAFETY: by the contract above.
    let (ruling, policy, observed) = unsafe { rule(label, of_another, readable, bytes) };
    let passes = ruling.verdict.passes();
    if matches!(ruling.reason, Reason::Malformed | Reason::NoPolicy) {
        emit::count(kind, Count::Error);
    }
    let flags = if observed { flag::OBSERVED } else { 0 };
    let record = bytes.cast::<event::Unix>();
    // SAFETY: by the contract above; every member is written, and there is no padding.
    unsafe {
        (*record).header = emit::header(kind, label, flags);
        copy_name(bytes);
        (*record).verdict = ruling.verdict as u8;
        (*record).reason = ruling.reason as u8;
        (*record).reserved = 0;
        (*record).rule = ruling.rule;
        (*record).reserved_too = 0;
        (*record).policy = policy;
        let ring = if passes { Ring::Activity } else { Ring::Decisions };
        emit::emit_bytes(ring, kind as u16, bytes, size_of::<event::Unix>() as u64);
    }
    passes || observed
}

/// Copies the name from the key into the record.
///
/// # Safety
///
/// As for [`ruled`].
#[inline(always)]
unsafe fn copy_name(bytes: *mut u8) {
    const WORDS: usize = NAME_LEN / size_of::<u32>();
    const _: () = assert!(NAME_LEN.is_multiple_of(size_of::<u32>()));
    // SAFETY: by the contract above; both stand at multiples of four.
    unsafe {
        let from = bytes.add(KEY + offset_of!(Key, name)).cast::<u32>();
        let to = bytes.add(offset_of!(event::Unix, name)).cast::<u32>();
        for word in 0..WORDS {
            to.add(word).write(from.add(word).read());
        }
    }
}

/// The ruling, the tag of the policy, and whether it is only observed.
///
/// # Safety
///
/// As for [`ruled`].
#[inline(always)]
unsafe fn rule(
    label: &TaskLabel,
    of_another: bool,
    readable: bool,
    bytes: *mut u8,
) -> (Ruling, u64, bool) {
    let closed = |reason| (Ruling::closed(reason), 0, false);
    let Some(entry) = session::entry(label) else { return closed(Reason::NoPolicy) };
    let terms = session::terms(entry);
    let observed = match State::from_u32(terms.state) {
        Some(State::Enforce) => false,
        Some(State::Observe) => true,
        Some(State::Ending) => return closed(Reason::Ending),
        None => return closed(Reason::NoPolicy),
    };
    let Some(policy) = POLICIES.get(terms.policy) else { return closed(Reason::NoPolicy) };
    if of_another {
        return (Ruling::closed(Reason::OtherSession), policy.tag, observed);
    }
    if !readable {
        return (Ruling::closed(Reason::Malformed), policy.tag, observed);
    }
    // SAFETY: by the contract above.
    let key = unsafe {
        let key = bytes.add(KEY).cast::<Key>();
        (*key).bits = Key::WHOLE;
        (*key).policy = terms.policy;
        &mut *key
    };
    let mut ruling = unix::decide(&Maps, policy, key);
    if ruling.verdict as u8 == Verdict::Ask as u8 && !observed {
        // The kernel holds a lock here.
        ruling = Ruling { verdict: Verdict::Deny, reason: Reason::Unheld, ..ruling };
    }
    (ruling, policy.tag, observed)
}

/// The name in a record is the evaluator's.
const _: () = assert!(size_of::<Name>() == NAME_LEN);
