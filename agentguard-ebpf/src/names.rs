//! Names and what they lead to, as the kernel's tables have them: which servers may be
//! asked, and which addresses a session has learned.

use agentguard_common::answer::Answer;
use agentguard_common::counter::Count;
use agentguard_common::egress::{PolicyEntry, Table as _, dns};
use agentguard_common::event::Kind;
use agentguard_common::name::{NAME_BYTES, list_key};
use agentguard_common::net::{Address, Destination, Protocols};
use agentguard_common::opaque::cut;
use agentguard_common::resolve::{
    self, LEARN_LIMIT, LearnKey, Learned, REFERENCES, Reference, ResolverKey, WINDOW,
};
use agentguard_common::session::SocketLabel;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

use crate::maps::{LEARNED, Maps, RESOLVERS};
use crate::{atomic, emit, session};

/// `BPF_NOEXIST` of `linux/bpf.h`: what is there already is left alone.
const NEW: u64 = 1;

/// Copies a name, to where there is room for one. By a helper, as the compiler would go
/// byte by byte.
#[inline(always)]
pub(crate) fn copy(to: &mut [u8; NAME_BYTES], from: &[u8; NAME_BYTES]) {
    // SAFETY: both are memory of ours, of that size. It does not fail on such.
    unsafe {
        bpf_probe_read_kernel(to.as_mut_ptr().cast(), NAME_BYTES as u32, from.as_ptr().cast());
    }
}

/// Whether a policy's sessions may ask there for names.
#[inline(always)]
pub(crate) fn is_resolver(slot: u32, policy: &PolicyEntry, address: Address) -> bool {
    let mut key = ResolverKey { address, policy: slot, reserved: 0 };
    // SAFETY: only whether it is there counts.
    if unsafe { RESOLVERS.get(key) }.is_some() {
        return true;
    }
    key.policy = resolve::SYSTEM;
    // SAFETY: as above.
    policy.dns & dns::SYSTEM != 0 && unsafe { RESOLVERS.get(key) }.is_some()
}

/// What the names say that led the session to an address.
#[inline(always)]
pub(crate) fn ruling(
    session: u64,
    namespace: u32,
    slot: u32,
    lists: u32,
    to: Destination,
    protocol: Protocols,
) -> Answer {
    let key = LearnKey { address: to.address, session, namespace, lists };
    // SAFETY: a value's references are replaced one by one, each whole.
    let Some(learned) = (unsafe { LEARNED.get(key) }) else { return Answer::NONE };
    resolve::decide(&Maps, slot, learned, session::seconds(), to, protocol)
}

/// The one name that the policy says `ask` of and that led the session to an address, as a
/// [`Reference`] without an end; 0 where there is none, or several.
#[inline(always)]
pub(crate) fn only(
    session: u64,
    namespace: u32,
    (slot, lists): (u32, u32),
    to: Destination,
    protocol: Protocols,
) -> u64 {
    let key = LearnKey { address: to.address, session, namespace, lists };
    // SAFETY: as above.
    let Some(learned) = (unsafe { LEARNED.get(key) }) else { return 0 };
    let now = session::seconds();
    let mut only = 0;
    for reference in &learned.references {
        let reference = Reference(*reference);
        let list = list_key(slot, reference.list());
        if !reference.lives(now) || !Maps.says(&list, to.port, protocol).asks() {
            continue;
        }
        if only != 0 || reference.number() == 0 {
            return 0;
        }
        only = Reference::of(reference.list(), reference.number()).0;
    }
    only
}

/// Remembers that a name with a list of port rules, one of `lists`, was answered with an
/// address. Without room, it is not remembered, and counted.
#[inline(never)]
pub(crate) fn learn(label: &SocketLabel, address: Address, lists: u32, reference: Reference) {
    let key = LearnKey { address, session: label.session, namespace: label.namespace, lists };
    if let Some(learned) = LEARNED.get_ptr_mut(key) {
        refer(learned, reference);
        return;
    }
    if !has_room(label) {
        emit::count(Kind::Answer, Count::Error);
        return;
    }
    let mut fresh = Learned::default();
    fresh.references[0] = reference.0;
    if LEARNED.insert(key, fresh, NEW).is_ok() {
        return;
    }
    // Another CPU was first, or there is no room at all.
    match LEARNED.get_ptr_mut(key) {
        Some(learned) => refer(learned, reference),
        None => emit::count(Kind::Answer, Count::Error),
    }
}

/// Puts a reference into a value, in the place of one to the same list, of one that has
/// ended, or, where all places are taken, of one of the others.
#[inline(never)]
fn refer(learned: *mut Learned, reference: Reference) {
    let now = session::seconds();
    let mut carried = reference;
    for at in 0..REFERENCES as u32 {
        let at = cut(at, REFERENCES as u32 - 1);
        // SAFETY: a live map value.
        let place = unsafe { &raw mut (*learned).references[at] };
        // SAFETY: as above.
        let here = Reference(unsafe { place.read_volatile() });
        if here.lives(now) && here.list() != carried.list() {
            continue;
        }
        if here.lives(now) {
            carried = carried.with(here);
            if here.0 == carried.0 {
                return;
            }
        }
        // SAFETY: as above. Another CPU may have put one there in between: it is carried on.
        let before = Reference(unsafe { atomic::swap(place, carried.0) });
        if before.list() == carried.list() || !before.lives(now) {
            return;
        }
        carried = before;
    }
    let at = cut(carried.list(), REFERENCES as u32 - 1);
    // SAFETY: as above.
    unsafe { atomic::swap(&raw mut (*learned).references[at], carried.0) };
}

/// Whether the session may learn one more address in this window.
#[inline(never)]
fn has_room(label: &SocketLabel) -> bool {
    let Some(counts) = session::counts(&label.of_maker()) else { return false };
    let now = u64::from(session::seconds());
    // SAFETY: a live map value. What races here is off by a few addresses.
    unsafe {
        let window = &raw mut (*counts).window;
        if now.wrapping_sub(window.read_volatile()) >= WINDOW {
            atomic::swap(window, now);
            atomic::swap(&raw mut (*counts).learned, 0);
        }
        atomic::fetch_add(&raw mut (*counts).learned, 1) < LEARN_LIMIT
    }
}
