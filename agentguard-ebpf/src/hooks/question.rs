//! Questions for names on their way out: read, decided by the policy, remembered until
//! their answer comes.

use core::ptr;

use agentguard_common::counter::Count;
use agentguard_common::dns::{self, Header};
use agentguard_common::event::{self, Kind, flag};
use agentguard_common::name;
use agentguard_common::net::IPPROTO_TCP;
use agentguard_common::resolve::AskedKey;
use agentguard_common::session::SocketLabel;
use agentguard_common::verdict::{Reason, Ruling};
use aya_ebpf::helpers::generated::bpf_loop;
use bytemuck::Zeroable;

use super::egress::Ground;
use crate::emit::{self, Ring};
use crate::maps::{ASKED, Maps};
use crate::packet::{Facts, Packet};
use crate::scratch::Desk;

/// How many questions a TCP segment may hold. glibc sends two in one.
const TOGETHER: u32 = 4;
/// The room for a question, a power of two.
const ROOM: u32 = 512;
const _: () = assert!(dns::QUESTION_MAX <= ROOM);

/// A packet with questions, what decides on it, and how far that has come.
struct Case<'a> {
    packet: Packet,
    facts: &'a Facts,
    label: &'a SocketLabel,
    ground: &'a Ground,
    desk: *mut Desk,
    /// Where the next question is.
    at: u32,
    /// How many bytes there are from there on.
    left: u32,
    /// 1 once a question was refused.
    refused: u32,
}

/// Decides all questions in a packet; false where it is not to go out.
///
/// A datagram is one question. A segment is filled to its end by questions behind their
/// lengths (RFC 1035, 4.2.2); one that holds a part of one is refused: no resolver library
/// sends such, and whoever does may ask by UDP.
#[inline(always)]
pub(super) fn decide(packet: Packet, facts: &Facts, label: &SocketLabel, ground: &Ground) -> bool {
    if facts.len == 0 {
        return true;
    }
    let Some(desk) = Desk::take() else {
        emit::count(Kind::Question, Count::Error);
        return ground.observed;
    };
    // What is cut into several packets later is no one question, and read as none.
    let left = if packet.is_cut_up() { 0 } else { facts.len };
    let mut case = Case { packet, facts, label, ground, desk, at: facts.payload, left, refused: 0 };
    // In a loop by the helper, as the verifier then walks through it once.
    // SAFETY: the function has the type that the helper calls, and what it is given
    // lives longer than the call.
    unsafe {
        bpf_loop(TOGETHER, next as *mut core::ffi::c_void, (&raw mut case).cast(), 0);
    }
    let passes = case.refused | case.left == 0;
    // SAFETY: taken above, and not used below.
    unsafe { Desk::give(desk) };
    passes || ground.observed
}

/// Decides the next question; 1 ends the loop.
extern "C" fn next(_: u32, case: *mut Case<'_>) -> i64 {
    // SAFETY: what `decide` gave, which nobody else uses.
    let case = unsafe { &mut *case };
    let mut len = case.left;
    if case.facts.protocol == IPPROTO_TCP {
        let framed = case.packet.load::<u16>(case.at).map_or(0, |len| u32::from(u16::from_be(len)));
        case.at += 2;
        case.left = case.left.saturating_sub(2);
        len = if framed <= case.left { framed } else { 0 };
    }
    if !one(case, len) {
        case.refused = 1;
    }
    case.at += len;
    case.left -= len;
    i64::from(case.left == 0 || len == 0 || case.refused != 0)
}

/// One question. Without length, it is one that cannot be read.
#[inline(always)]
fn one(case: &Case<'_>, len: u32) -> bool {
    let Case { packet, facts, label, ground, desk, .. } = *case;
    emit::count(Kind::Question, Count::Seen);
    // SAFETY: a live map value that nobody else uses.
    let desk = unsafe { &mut *desk };
    desk.key = name::Key::zeroed();
    let read = read(packet, desk, case.at, len);
    let (ruling, list) = match read {
        Some(_) => {
            desk.key.policy = ground.slot as u16;
            desk.key.bits = name::WHOLE;
            name::ask(&Maps, ground.policy, &desk.key)
        }
        None => (Ruling::closed(Reason::Malformed), 0),
    };
    let passes = ruling.verdict.passes();
    if let (Some((id, kind)), true) = (read, passes || ground.observed) {
        wait(
            case,
            desk,
            AskedKey { socket: packet.cookie(), id, kind, reserved: 0 },
            list,
            &ruling,
        );
    } else if matches!(ruling.reason, Reason::Malformed) {
        emit::count(Kind::Question, Count::Error);
    }
    let flags = if ground.observed { flag::OBSERVED } else { 0 };
    fill(&mut desk.record, Kind::Question, label, flags);
    let record = &mut desk.record;
    record.resolver = facts.to.address.octets();
    record.port = facts.to.port;
    record.protocol = facts.protocol;
    record.kind = read.map_or(0, |(_, kind)| kind);
    record.verdict = ruling.verdict as u8;
    record.reason = ruling.reason as u8;
    record.rule = ruling.rule;
    record.policy = ground.policy.tag;
    record.name = desk.key.name;
    emit::emit(if passes { Ring::Activity } else { Ring::Decisions }, Kind::Question, record);
    passes || ground.observed
}

/// Remembers a question until its answer comes.
#[inline(always)]
fn wait(case: &Case<'_>, desk: &mut Desk, key: AskedKey, list: u32, ruling: &Ruling) {
    desk.asked.resolver = case.facts.to.address;
    desk.asked.list = list;
    desk.asked.rule = ruling.rule;
    desk.asked.name = desk.key.name;
    // Without room for it, its answer will be one that was not asked for.
    if ASKED.insert(&key, &desk.asked, 0).is_err() {
        emit::count(Kind::Question, Count::Error);
    }
}

/// Reads a question; its id and the type of records it asks for.
#[inline(always)]
fn read(packet: Packet, desk: &mut Desk, at: u32, len: u32) -> Option<(u16, u16)> {
    if len < dns::HEADER || len > dns::QUESTION_MAX {
        return None;
    }
    // SAFETY: there is room for more.
    if !unsafe { packet.copy::<ROOM>(at, desk.bytes.as_mut_ptr(), len) } {
        return None;
    }
    let header = Header::read(&desk.bytes);
    if !header.asks() {
        return None;
    }
    let question = dns::question(&mut desk.bytes, len, &mut desk.key)?;
    if !dns::ends_well(&desk.bytes, len, &header, question.end) {
        return None;
    }
    Some((header.id, question.kind))
}

/// Begins a record anew.
#[inline(always)]
pub(super) fn fill(record: &mut event::Dns, kind: Kind, label: &SocketLabel, flags: u16) {
    record.header = emit::header_of_socket(kind, label, flags);
    record.count = 0;
    // SAFETY: numbers, which may be zero.
    unsafe { ptr::write_bytes(&raw mut record.addresses, 0, 1) };
}
