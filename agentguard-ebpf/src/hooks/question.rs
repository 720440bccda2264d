//! Questions for names on their way out: read, decided by the policy, remembered until
//! their answer comes.

use agentguard_common::counter::Count;
use agentguard_common::dns::{self, Header};
use agentguard_common::event::Kind;
use agentguard_common::name;
use agentguard_common::net::IPPROTO_TCP;
use agentguard_common::opaque;
use agentguard_common::resolve::{AskedKey, Reference};
use agentguard_common::session::SocketLabel;
use agentguard_common::verdict::{Reason, Ruling, Verdict};
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::bpf_loop;
use bytemuck::Zeroable;

use super::egress::Ground;
use crate::emit::{self, Ring};
use crate::maps::{ASKED, Maps};
use crate::names;
use crate::packet::{Facts, Packet};
use crate::scratch::Desk;

/// How many questions a TCP segment may hold. glibc sends two in one.
const TOGETHER: u32 = 4;
/// The room for a question, a power of two.
const ROOM: u32 = 512;
const _: () = assert!(dns::QUESTION_MAX <= ROOM);

/// A packet with questions, and what decides on it. How far that has come is on the desk, of
/// which the verifier knows nothing: it would walk a round anew for everything it may find there.
struct Case<'a> {
    packet: Packet,
    facts: &'a Facts,
    label: &'a SocketLabel,
    ground: &'a Ground,
    desk: *mut Desk,
}

/// Decides all questions in a packet; false where it is not to go out.
///
/// A datagram is one question. A segment is filled to its end by questions behind their
/// lengths (RFC 1035, 4.2.2); one that holds a part of one is refused: no resolver library
/// sends such, and whoever does may ask by UDP.
#[inline(always)]
pub(super) fn decide(packet: Packet, facts: &Facts, label: &SocketLabel, ground: &Ground) -> bool {
    let (at, len) = match packet.payload(facts) {
        Some((_, 0)) => return true,
        Some(payload) => payload,
        // Shorter than it says: read as no question.
        None => (0, 0),
    };
    let Some(desk) = Desk::take() else {
        emit::count(Kind::Question, Count::Error);
        return ground.observed();
    };
    // What is cut into several packets later is no one question, and read as none.
    let left = if packet.is_cut_up() { 0 } else { len };
    let mut case = Case { packet, facts, label, ground, desk };
    // SAFETY: a live map value that nobody else uses.
    let on = unsafe { &mut *desk };
    (on.at, on.left, on.refused) = (at, left, 0);
    // In a loop by the helper, as the verifier then walks through it once.
    // SAFETY: the function has the type that the helper calls, and what it is given
    // lives longer than the call.
    unsafe {
        bpf_loop(TOGETHER, next as *mut core::ffi::c_void, (&raw mut case).cast(), 0);
    }
    // SAFETY: as above.
    let on = unsafe { &*desk };
    let passes = on.refused | on.left == 0;
    // SAFETY: taken above, and not used below.
    unsafe { Desk::give(desk) };
    passes || ground.observed()
}

/// Decides the next question; 1 ends the loop.
extern "C" fn next(_: u32, case: *mut Case<'_>) -> i64 {
    // SAFETY: what `decide` gave, which nobody else uses.
    let case = unsafe { &*case };
    // SAFETY: a live map value that nobody else uses.
    let desk = unsafe { &mut *case.desk };
    let mut len = desk.left;
    if case.facts.protocol == IPPROTO_TCP {
        let framed = case.packet.load::<u16>(desk.at).map_or(0, |len| u32::from(u16::from_be(len)));
        desk.at += 2;
        desk.left = desk.left.saturating_sub(2);
        len = if framed <= desk.left { framed } else { 0 };
    }
    let at = desk.at;
    desk.at += len;
    desk.left -= len;
    if !one(case, desk, at, len) {
        desk.refused = 1;
    }
    opaque::cut(u32::from(desk.left == 0 || len == 0 || desk.refused != 0), 1) as i64
}

/// One question. Without length, it is one that cannot be read.
#[inline(always)]
fn one(case: &Case<'_>, desk: &mut Desk, at: u32, len: u32) -> bool {
    let Case { packet, facts, label, ground, .. } = *case;
    emit::count(Kind::Question, Count::Seen);
    let readable = question_read(packet.skb, desk.number, at, len) != 0;
    let passes = judge(desk, ground, readable);
    if readable && (passes || ground.observed()) {
        wait(desk, packet.cookie(), facts);
    }
    desk.record.resolver = facts.to.address.octets();
    desk.record.port = facts.to.port;
    desk.record.protocol = facts.protocol;
    tell(desk, label, ground, Kind::Question);
    passes || ground.observed()
}

/// [`read`], as a program of its own to the verifier: whatever stands in a packet, what follows
/// is walked through once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn question_read(skb: *mut __sk_buff, number: u32, at: u32, len: u32) -> u64 {
    // SAFETY: taken by the caller, which does nothing meanwhile.
    match unsafe { Desk::at(number) } {
        Some(desk) => u64::from(read(Packet { skb }, desk, at, len)),
        None => 0,
    }
}

/// Reads a question; false where there is none in order.
#[inline(always)]
fn read(packet: Packet, desk: &mut Desk, at: u32, len: u32) -> bool {
    desk.key = name::Key::zeroed();
    desk.question = dns::Question::zeroed();
    if !(dns::HEADER..=dns::QUESTION_MAX).contains(&len) {
        return false;
    }
    // SAFETY: there is room for more.
    if !unsafe { packet.copy::<ROOM>(at, desk.bytes.as_mut_ptr(), len) } {
        return false;
    }
    let header = Header::read(&desk.bytes);
    if !header.asks() {
        return false;
    }
    dns::question(&mut desk.bytes, len, &mut desk.key, &mut desk.question)
        && dns::ends_well(&desk.bytes, len, &header, desk.question.end)
}

/// Decides a question, and writes the ruling into the record.
#[inline(never)]
fn judge(desk: &mut Desk, ground: &Ground, readable: bool) -> bool {
    let (ruling, of) = if readable {
        desk.key.policy = ground.slot as u16;
        desk.key.bits = name::WHOLE;
        name::ask(&Maps, ground.policy, &desk.key)
    } else {
        emit::count(Kind::Question, Count::Error);
        (Ruling::closed(Reason::Malformed), Reference::NONE)
    };
    desk.asked.of = of.0;
    desk.asked.lists = ground.policy.lists;
    desk.asked.rule = ruling.rule;
    desk.record.verdict = ruling.verdict as u8;
    desk.record.reason = ruling.reason as u8;
    desk.record.rule = ruling.rule;
    ruling.verdict.passes()
}

/// Remembers a question until its answer comes.
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value it would go through the stack, which has no room for it"
)]
#[inline(never)]
fn wait(desk: &mut Desk, socket: u64, facts: &Facts) {
    desk.asked.resolver = facts.to.address;
    names::copy(&mut desk.asked.name, &desk.key.name);
    let id = Header::read(&desk.bytes).id;
    let key = AskedKey::new(socket, id, desk.question.kind, &desk.asked.resolver);
    // Without room for it, its answer will be one that was not asked for.
    if ASKED.insert(key, &desk.asked, 0).is_err() {
        emit::count(Kind::Question, Count::Error);
    }
}

/// Hands over the record, whose verdict, resolver and addresses have been written.
#[inline(never)]
pub(super) fn tell(desk: &mut Desk, label: &SocketLabel, ground: &Ground, kind: Kind) {
    let record = &mut desk.record;
    let flags = ground.flags();
    record.header = emit::header_of_socket(kind, label, flags);
    record.kind = desk.question.kind;
    record.policy = ground.policy.tag;
    names::copy(&mut record.name, &desk.key.name);
    let refused = record.verdict != Verdict::Allow as u8;
    emit::emit(if refused { Ring::Decisions } else { Ring::Activity }, kind, record);
    record.count = 0;
}
