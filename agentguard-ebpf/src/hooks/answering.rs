//! Answers for names on their way in: held against what was asked, and their addresses
//! learned before the socket sees them.

use agentguard_common::counter::Count;
use agentguard_common::dns::{self, Header, Step, Walk};
use agentguard_common::event::{ANSWERED, Kind};
use agentguard_common::name::{self, NAME_BYTES};
use agentguard_common::net::{Address, IPPROTO_TCP};
use agentguard_common::opaque;
use agentguard_common::resolve::{self, AskedKey, Reference};
use agentguard_common::session::SocketLabel;
use agentguard_common::verdict::{RULE_NONE, Reason, Verdict};
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::bpf_loop;
use bytemuck::Zeroable;

use super::egress::Ground;
use super::question::tell;
use crate::emit;
use crate::maps::ASKED;
use crate::packet::{Facts, Packet};
use crate::scratch::Desk;
use crate::{names, session};

/// Decides an answer; false where the socket is not to have it.
#[inline(always)]
pub(super) fn decide(packet: Packet, facts: &Facts, label: &SocketLabel, ground: &Ground) -> bool {
    let (at, len) = match packet.payload(facts) {
        Some((_, 0)) => return true,
        Some(payload) => payload,
        // Shorter than it says: read as no answer.
        None => (0, 0),
    };
    emit::count(Kind::Answer, Count::Seen);
    let Some(desk) = Desk::take() else {
        emit::count(Kind::Answer, Count::Error);
        return ground.observed();
    };
    // SAFETY: a live map value that nobody else uses.
    let passes = one(packet, facts, (at, len), label, ground, unsafe { &mut *desk });
    // SAFETY: taken above, and not used below.
    unsafe { Desk::give(desk) };
    passes || ground.observed()
}

#[inline(always)]
fn one(
    packet: Packet,
    facts: &Facts,
    payload: (u32, u32),
    label: &SocketLabel,
    ground: &Ground,
    desk: &mut Desk,
) -> bool {
    let (at, len) = message(packet, facts, payload);
    desk.record.resolver = facts.from.address.octets();
    desk.record.port = facts.from.port;
    desk.record.protocol = facts.protocol;
    desk.record.rule = RULE_NONE;
    let what = match answer_read(packet.skb, desk.number, at, len) {
        READ if claim(desk, packet.cookie(), &facts.from.address) => {
            learn_all(desk, len, label, ground)
        }
        READ => Reason::Unasked as u64,
        // A refusal to one of the questions, of which it does not say which.
        GIVEN_UP => return true,
        _ => Reason::Malformed as u64,
    };
    desk.record.reason = what as u8;
    let passes = what == Reason::Rule as u64;
    desk.record.verdict = if passes { Verdict::Allow } else { Verdict::Deny } as u8;
    tell(desk, label, ground, Kind::Answer);
    // An address inside is not learned, and the socket may see it.
    let goes_on = passes || what == Reason::Rebinding as u64;
    if !goes_on {
        emit::count(Kind::Answer, Count::Error);
    }
    goes_on
}

/// Where the message is: all of a datagram, or what stands behind its length in a segment.
/// No length where it is not whole.
#[inline(always)]
fn message(packet: Packet, facts: &Facts, payload: (u32, u32)) -> (u32, u32) {
    if facts.protocol != IPPROTO_TCP {
        return payload;
    }
    let (at, all) = payload;
    let len = packet.load::<u16>(at).map_or(0, |len| u32::from(u16::from_be(len)));
    if len + 2 == all { (at + 2, len) } else { (0, 0) }
}

/// What [`read`] says of an answer whose question is in order.
const READ: u64 = 1;
/// Of a refusal that does not repeat the question.
const GIVEN_UP: u64 = 2;

/// [`read`], as a program of its own to the verifier, as for questions.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn answer_read(skb: *mut __sk_buff, number: u32, at: u32, len: u32) -> u64 {
    // SAFETY: taken by the caller, which does nothing meanwhile.
    match unsafe { Desk::at(number) } {
        Some(desk) => read(Packet { skb }, desk, at, len),
        None => 0,
    }
}

/// Reads an answer as far as its question.
#[inline(always)]
fn read(packet: Packet, desk: &mut Desk, at: u32, len: u32) -> u64 {
    desk.key = name::Key::zeroed();
    desk.question = dns::Question::zeroed();
    if len < dns::HEADER {
        return 0;
    }
    // SAFETY: there is room for as much.
    if !unsafe { packet.copy::<{ dns::BYTES as u32 }>(at, desk.bytes.as_mut_ptr(), len) } {
        return 0;
    }
    let header = Header::read(&desk.bytes);
    if header.gives_up() {
        return GIVEN_UP;
    }
    let reads =
        header.answers() && dns::question(&mut desk.bytes, len, &mut desk.key, &mut desk.question);
    if reads { READ } else { 0 }
}

/// Finds the question to an answer and takes it off the list; false where there is none.
#[inline(never)]
fn claim(desk: &mut Desk, socket: u64, from: &Address) -> bool {
    let id = Header::read(&desk.bytes).id;
    let key = AskedKey::new(socket, id, desk.question.kind, from);
    // SAFETY: the value stays readable for as long as the program runs. One that is
    // written over meanwhile is another question of the same socket, id and type.
    let Some(asked) = (unsafe { ASKED.get(key) }) else { return false };
    let mut different = (asked.resolver.high ^ from.high) | (asked.resolver.low ^ from.low);
    for at in 0..NAME_BYTES {
        different |= u64::from(asked.name[at] ^ desk.key.name[at]);
    }
    desk.asked.of = asked.of;
    desk.asked.lists = asked.lists;
    desk.record.rule = asked.rule;
    if different != 0 {
        return false;
    }
    let _ = ASKED.remove(key);
    true
}

/// What the steps through an answer share. What changes is on the desk, of which the
/// verifier knows nothing: it would walk a step anew for everything that it may find there.
struct Lesson<'a> {
    desk: &'a mut Desk,
    label: &'a SocketLabel,
    ground: &'a Ground,
}

/// Learns what an answer gives. The [`Reason`] tells what is wrong with it, if anything is.
#[inline(never)]
fn learn_all(desk: &mut Desk, len: u32, label: &SocketLabel, ground: &Ground) -> u64 {
    desk.walk = Walk::new(&Header::read(&desk.bytes), desk.question.end, len);
    desk.rebinding = 0;
    let mut lesson = Lesson { desk, label, ground };
    // SAFETY: the function has the type that the helper calls, and what it is given
    // lives longer than the call.
    unsafe {
        bpf_loop(dns::STEPS, one_step as *mut core::ffi::c_void, (&raw mut lesson).cast(), 0);
    }
    let desk = lesson.desk;
    let whole = desk.step == Step::End as u32;
    let reason = if desk.rebinding != 0 {
        Reason::Rebinding
    } else if whole || dns::is_cut(&Header::read(&desk.bytes)) {
        Reason::Rule
    } else {
        Reason::Malformed
    };
    reason as u64
}

/// A step; 1 ends the loop.
extern "C" fn one_step(_: u32, lesson: *mut Lesson<'_>) -> i64 {
    // SAFETY: what `learn_all` gave, which nobody else uses.
    let lesson = unsafe { &mut *lesson };
    let step = answer_step(lesson.desk.number) as u32;
    if step == Step::Address as u32 {
        learn(lesson);
    }
    opaque::cut(u32::from(step == Step::End as u32 || step == Step::Malformed as u32), 1) as i64
}

/// Takes a step of the walk on the desk with that number; says which [`Step`] it was.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn answer_step(number: u32) -> u64 {
    // SAFETY: taken by the caller, which does nothing meanwhile.
    let Some(desk) = (unsafe { Desk::at(number) }) else { return Step::Malformed as u64 };
    desk.step = desk.walk.step(&desk.bytes) as u32;
    u64::from(desk.step)
}

#[inline(never)]
fn learn(lesson: &mut Lesson<'_>) {
    let Lesson { desk, label, ground } = lesson;
    let address = desk.walk.address;
    let may = resolve::may_learn(ground.policy, address);
    note(desk, address, may);
    // Where names are allowed that no rule speaks of, so are their addresses.
    if may && desk.asked.of != 0 {
        let until = resolve::until(ground.policy, desk.walk.ttl, session::seconds());
        let reference = Reference(desk.asked.of).ending(until);
        names::learn(label, address, desk.asked.lists, reference);
    }
}

/// Writes an address into the record; the first one that is refused first of all.
#[inline(always)]
fn note(desk: &mut Desk, address: Address, may: bool) {
    let count = desk.record.count;
    let at = if may || desk.rebinding != 0 { count } else { 0 };
    if !may {
        desk.rebinding = 1;
    }
    if at < ANSWERED as u32 {
        desk.record.addresses[opaque::cut(at, ANSWERED as u32 - 1)] = address;
        if count <= at {
            desk.record.count = at + 1;
        }
    }
}

const _: () = assert!(ANSWERED.is_power_of_two());
