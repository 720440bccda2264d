//! Answers for names on their way in: held against what was asked, and their addresses
//! learned before the socket sees them.

use agentguard_common::counter::Count;
use agentguard_common::dns::{self, Header, Step, Walk};
use agentguard_common::event::{ANSWERED, Kind, flag};
use agentguard_common::name::{self, NAME_BYTES};
use agentguard_common::net::{Address, IPPROTO_TCP};
use agentguard_common::resolve::{self, Asked, AskedKey};
use agentguard_common::session::SocketLabel;
use agentguard_common::verdict::{RULE_NONE, Reason, Verdict};
use aya_ebpf::helpers::generated::bpf_loop;
use bytemuck::Zeroable;

use super::egress::Ground;
use super::question::fill;
use crate::emit::{self, Ring};
use crate::maps::ASKED;
use crate::packet::{Facts, Packet};
use crate::scratch::Desk;
use crate::{names, session};

/// Decides an answer; false where the socket is not to have it.
#[inline(always)]
pub(super) fn decide(packet: Packet, facts: &Facts, label: &SocketLabel, ground: &Ground) -> bool {
    if facts.len == 0 {
        return true;
    }
    emit::count(Kind::Answer, Count::Seen);
    let Some(desk) = Desk::take() else {
        emit::count(Kind::Answer, Count::Error);
        return ground.observed;
    };
    // SAFETY: a live map value that nobody else uses.
    let passes = one(packet, facts, label, ground, unsafe { &mut *desk });
    // SAFETY: taken above, and not used below.
    unsafe { Desk::give(desk) };
    passes || ground.observed
}

#[inline(always)]
fn one(
    packet: Packet,
    facts: &Facts,
    label: &SocketLabel,
    ground: &Ground,
    desk: &mut Desk,
) -> bool {
    let (at, len) = message(packet, facts);
    desk.key = name::Key::zeroed();
    let read = read(packet, desk, at, len);
    let now = session::seconds();
    let outcome = match &read {
        None => Err(Reason::Malformed),
        Some(read) => claim(packet, facts, desk, read),
    };
    let flags = if ground.observed { flag::OBSERVED } else { 0 };
    fill(&mut desk.record, Kind::Answer, label, flags);
    let (list, rule, reason) = match outcome {
        Ok(Some(asked)) => (asked.list, asked.rule, Reason::Rule),
        // A refusal to one of the questions, of which it does not say which.
        Ok(None) => return true,
        Err(reason) => (0, RULE_NONE, reason),
    };
    let reason = match (&read, reason) {
        (Some(read), Reason::Rule) => learn_all(desk, read, label, ground, list, now),
        (_, reason) => reason,
    };
    let refused = matches!(reason, Reason::Malformed | Reason::Unasked);
    if refused {
        emit::count(Kind::Answer, Count::Error);
    }
    let passes = matches!(reason, Reason::Rule);
    let record = &mut desk.record;
    record.resolver = facts.from.address.octets();
    record.port = facts.from.port;
    record.protocol = facts.protocol;
    record.kind = read.map_or(0, |read| read.kind);
    record.verdict = if passes { Verdict::Allow } else { Verdict::Deny } as u8;
    record.reason = reason as u8;
    record.rule = rule;
    record.policy = ground.policy.tag;
    record.name = desk.key.name;
    emit::emit(if passes { Ring::Activity } else { Ring::Decisions }, Kind::Answer, record);
    !refused
}

/// Where the message is: all of a datagram, or what stands behind its length in a segment.
/// No length where it is not whole.
#[inline(always)]
fn message(packet: Packet, facts: &Facts) -> (u32, u32) {
    if facts.protocol != IPPROTO_TCP {
        return (facts.payload, facts.len);
    }
    let len = packet.load::<u16>(facts.payload).map_or(0, |len| u32::from(u16::from_be(len)));
    if len + 2 == facts.len { (facts.payload + 2, len) } else { (0, 0) }
}

/// An answer, as far as its question.
#[derive(Clone, Copy)]
struct Read {
    header: Header,
    kind: u16,
    /// Where the question ends; 0 where it is not repeated.
    end: u32,
    len: u32,
}

#[inline(always)]
fn read(packet: Packet, desk: &mut Desk, at: u32, len: u32) -> Option<Read> {
    if len < dns::HEADER {
        return None;
    }
    // SAFETY: there is room for as much.
    if !unsafe { packet.copy::<{ dns::BYTES as u32 }>(at, desk.bytes.as_mut_ptr(), len) } {
        return None;
    }
    let header = Header::read(&desk.bytes);
    if header.gives_up() {
        return Some(Read { header, kind: 0, end: 0, len });
    }
    if !header.answers() {
        return None;
    }
    let question = dns::question(&mut desk.bytes, len, &mut desk.key)?;
    Some(Read { header, kind: question.kind, end: question.end, len })
}

/// Finds the question to an answer and takes it off the list; `None` for a refusal that
/// needs none.
#[inline(always)]
fn claim(
    packet: Packet,
    facts: &Facts,
    desk: &mut Desk,
    read: &Read,
) -> Result<Option<&'static Asked>, Reason> {
    if read.end == 0 {
        return Ok(None);
    }
    let key =
        AskedKey { socket: packet.cookie(), id: read.header.id, kind: read.kind, reserved: 0 };
    // SAFETY: the value stays readable for as long as the program runs. One that is
    // written over meanwhile is another question of the same socket, id and type.
    let Some(asked) = (unsafe { ASKED.get(key) }) else { return Err(Reason::Unasked) };
    let different = (asked.resolver.high ^ facts.from.address.high)
        | (asked.resolver.low ^ facts.from.address.low)
        | differ(&asked.name, &desk.key.name);
    if different != 0 {
        return Err(Reason::Unasked);
    }
    desk.asked = *asked;
    let _ = ASKED.remove(key);
    Ok(Some(asked))
}

/// Something else than 0 where two names differ.
#[inline(always)]
fn differ(one: &[u8; NAME_BYTES], other: &[u8; NAME_BYTES]) -> u64 {
    let mut different = 0;
    for at in 0..NAME_BYTES {
        different |= u64::from(one[at] ^ other[at]);
    }
    different
}

/// What the steps through an answer share.
struct Lesson<'a> {
    desk: &'a mut Desk,
    label: &'a SocketLabel,
    ground: &'a Ground,
    walk: Walk,
    list: u32,
    now: u32,
    step: u32,
    rebinding: u32,
}

/// Learns what an answer gives. The reason tells what is wrong with it, if anything is.
#[inline(always)]
fn learn_all(
    desk: &mut Desk,
    read: &Read,
    label: &SocketLabel,
    ground: &Ground,
    list: u32,
    now: u32,
) -> Reason {
    let walk = Walk::new(&read.header, read.end, read.len);
    let step = Step::On as u32;
    let mut lesson = Lesson { desk, label, ground, walk, list, now, step, rebinding: 0 };
    // SAFETY: the function has the type that the helper calls, and what it is given
    // lives longer than the call.
    unsafe {
        bpf_loop(dns::STEPS, one_step as *mut core::ffi::c_void, (&raw mut lesson).cast(), 0);
    }
    let whole = lesson.step == Step::End as u32;
    if lesson.rebinding != 0 {
        Reason::Rebinding
    } else if whole || dns::is_cut(&read.header) {
        Reason::Rule
    } else {
        Reason::Malformed
    }
}

/// A step; 1 ends the loop.
extern "C" fn one_step(_: u32, lesson: *mut Lesson<'_>) -> i64 {
    // SAFETY: what `learn_all` gave, which nobody else uses.
    let lesson = unsafe { &mut *lesson };
    let step = lesson.walk.step(&lesson.desk.bytes);
    lesson.step = step as u32;
    match step {
        Step::On => 0,
        Step::Address => {
            learn(lesson);
            0
        }
        Step::End | Step::Malformed => 1,
    }
}

#[inline(always)]
fn learn(lesson: &mut Lesson<'_>) {
    let address = lesson.walk.address;
    let policy = lesson.ground.policy;
    let may = resolve::may_learn(policy, address);
    note(lesson, address, may);
    if !may {
        lesson.rebinding = 1;
        return;
    }
    // Where names are allowed that no rule speaks of, so are their addresses.
    if lesson.list != 0 {
        let until = resolve::until(policy, lesson.walk.ttl, lesson.now);
        names::learn(lesson.label, address, lesson.list, until);
    }
}

/// Writes an address into the record; the first one that is refused first of all.
#[inline(always)]
fn note(lesson: &mut Lesson<'_>, address: Address, may: bool) {
    let record = &mut lesson.desk.record;
    let at = if may || lesson.rebinding != 0 { record.count } else { 0 };
    if let Some(place) = record.addresses.get_mut(at as usize) {
        *place = address;
        if record.count <= at {
            record.count = at + 1;
        }
    }
    const _: () = assert!(ANSWERED > 1);
}
