//! The first bytes of a connection on their way out: a connection to which a name led is
//! read until its TLS ClientHello has come, and goes on if that carries a name that the
//! policy allows there.
//!
//! What has been read stands beside the socket, so segments may be cut, sent again and
//! overlap as they like. What is sent again was copied by the kernel when it was sent first.

use agentguard_common::answer::Answer;
use agentguard_common::counter::Count;
use agentguard_common::egress::dns;
use agentguard_common::event::Kind;
use agentguard_common::hello::{self, Brings, Next, Watch, state};
use agentguard_common::name;
use agentguard_common::net::IPPROTO_TCP;
use agentguard_common::opaque;
use agentguard_common::session::SocketLabel;
use agentguard_common::tls::{self, Bytes};
use agentguard_common::verdict::{Reason, Ruling, Verdict};
use aya_ebpf::helpers::generated::bpf_loop;
use bytemuck::Zeroable as _;

use super::egress::{self, Ground};
use super::{asking, question};
use crate::emit;
use crate::maps::Maps;
use crate::packet::{Facts, Packet, Segment};
use crate::scratch::Desk;
use crate::socket;

/// Whether a packet belongs to a connection whose first bytes are read.
#[inline(always)]
pub(super) fn is_read(facts: &Facts, label: &SocketLabel) -> bool {
    let at = socket::hello_of(label);
    at != state::NONE && at != state::CLEARED && facts.protocol == IPPROTO_TCP
}

/// Whether a packet of such a connection goes on.
#[inline(always)]
pub(super) fn passes(packet: Packet, facts: &Facts, label: &SocketLabel) -> bool {
    match watched(packet, facts, label) {
        GOES_ON => true,
        STOPS => false,
        _ => decide(packet, facts, label),
    }
}

/// What [`watched`] says: the packet goes on.
const GOES_ON: u32 = 0;
/// It does not.
const STOPS: u32 = 1;
/// What has come is to be decided.
const DECIDE: u32 = 2;

/// Reads a packet. What is to be decided stands in the [`Watch`].
#[inline(never)]
fn watched(packet: Packet, facts: &Facts, label: &SocketLabel) -> u32 {
    let Some(segment) = packet.segment(facts) else { return lost() };
    let empty = if segment.len == 0 { GOES_ON } else { STOPS };
    if socket::hello_of(label) == state::REFUSED {
        // Its end may be told to the other side.
        return empty;
    }
    let Some(watch) = packet.watch(segment.opens) else {
        // No memory for it, or its beginning was not seen.
        emit::count(Kind::Hello, Count::Error);
        return empty;
    };
    // SAFETY: a live value beside the socket. The socket is locked while it sends.
    let watch = unsafe { &mut *watch };
    if segment.opens && watch.first != segment.from {
        watch.begin(segment.from);
    }
    let skip = match watch.brings(segment.from, segment.len) {
        Brings::Nothing => return GOES_ON,
        Brings::Behind(skip) => skip,
        Brings::Gap => return lost(),
    };
    let Ok(ground) = egress::ground(&label.of_maker()) else { return lost() };
    let bits = ground.policy.dns;
    if bits & dns::CHECKED == 0 || bits & dns::TLS_OFF != 0 {
        socket::set_hello(label, state::CLEARED);
        return GOES_ON;
    }
    // A byte that is urgent stands in the stream, and the other side takes it out.
    if segment.urgent {
        watch.ruled(hello::undecided(Reason::Malformed, dns::TLS_STRICT));
        return DECIDE;
    }
    read(packet, watch, &segment, skip);
    let second = socket::hello_of(label) == state::AGAIN;
    match hello::next(watch.walk.outcome(), second, facts.to.port, bits) {
        Next::More => return GOES_ON,
        Next::Clear => {
            socket::set_hello(label, state::CLEARED);
            return GOES_ON;
        }
        Next::Ruled(ruling) => watch.ruled(ruling),
        Next::Name(hello) => watch.named(hello),
    }
    DECIDE
}

/// Something is missing that should be there, or the session has ended: nothing of it goes on.
#[inline(always)]
fn lost() -> u32 {
    emit::count(Kind::Hello, Count::Error);
    STOPS
}

/// A packet's payload as the walk sees it.
struct Case {
    packet: Packet,
    watch: *mut Watch,
    /// What is to be added to a place in the walk for a place in the packet; it wraps.
    offset: u32,
}

impl Bytes for Case {
    #[inline(always)]
    fn byte(&mut self, at: u32) -> u8 {
        // What cannot be read is as if it were zero, which leads nowhere.
        self.packet.load::<u8>(at.wrapping_add(self.offset)).unwrap_or(0)
    }
}

/// Walks through the bytes of a segment behind the first `skip`.
#[inline(never)]
fn read(packet: Packet, watch: &mut Watch, segment: &Segment, skip: u32) {
    let offset = segment.at.wrapping_add(skip).wrapping_sub(watch.fed);
    watch.feed(segment.len - skip);
    let mut case = Case { packet, watch, offset };
    // SAFETY: the function has the type that the helper calls, and what it is given lives
    // longer than the call.
    unsafe {
        bpf_loop(tls::STEPS, step as *mut core::ffi::c_void, (&raw mut case).cast(), 0);
    }
}

/// A step of the walk; 1 ends the loop.
extern "C" fn step(_: u32, case: *mut Case) -> i64 {
    // SAFETY: what `read` gave, which nobody else uses.
    let case = unsafe { &mut *case };
    // SAFETY: a live value beside the socket.
    let watch = unsafe { &mut *case.watch };
    let more = watch.walk.step(case, &mut watch.name);
    opaque::cut(u32::from(!more), 1) as i64
}

/// Decides what has come.
#[inline(never)]
fn decide(packet: Packet, facts: &Facts, label: &SocketLabel) -> bool {
    let Ok(ground) = egress::ground(&label.of_maker()) else {
        emit::count(Kind::Hello, Count::Error);
        return false;
    };
    let (Some(watch), Some(desk)) = (packet.watch(false), Desk::take()) else {
        emit::count(Kind::Hello, Count::Error);
        return ground.observed();
    };
    // SAFETY: a live value beside the socket, and a live map value that nobody else uses.
    let (watch, desk_of) = unsafe { (&mut *watch, &mut *desk) };
    desk_of.key = name::Key::zeroed();
    judge(desk_of, watch, &ground, facts, label);
    let passes = tell(desk_of, facts, label, &ground);
    if passes {
        watch.again();
    }
    // SAFETY: taken above, and not used below.
    unsafe { Desk::give(desk) };
    passes
}

/// Writes the ruling into the record.
#[inline(never)]
fn judge(desk: &mut Desk, watch: &mut Watch, ground: &Ground, facts: &Facts, label: &SocketLabel) {
    let record = &mut desk.record;
    (record.verdict, record.reason, record.rule) = (watch.verdict as u8, watch.reason as u8, 0);
    if watch.reason != hello::BY_NAME {
        return;
    }
    let ruling = if spell(desk, watch, watch.name_len) {
        desk.key.policy = ground.slot as u16;
        desk.key.bits = name::WHOLE;
        let mut answer = hello::answer(&Maps, ground.policy, &desk.key, facts.to.port);
        if answer.asks() && asking::allows_hello(label, ground, &desk.key, &facts.to) {
            let rule = answer.or_closed().rule;
            answer = Answer::of(Ruling { verdict: Verdict::Allow, reason: Reason::Approved, rule });
        }
        hello::named(answer, watch.flags, ground.policy.dns)
    } else {
        Ruling::closed(Reason::Sni)
    };
    let record = &mut desk.record;
    record.verdict = ruling.verdict as u8;
    record.reason = ruling.reason as u8;
    record.rule = ruling.rule;
}

/// Puts the name into the desk's key; false where it is none.
#[inline(always)]
fn spell(desk: &mut Desk, watch: &mut Watch, len: u32) -> bool {
    desk.key = name::Key::zeroed();
    desk.spelled = 0;
    let end = tls::end_of(&watch.name, len);
    let mut spelling = Spelling { desk, watch, end };
    // SAFETY: as in `read`.
    unsafe {
        bpf_loop(end, letter as *mut core::ffi::c_void, (&raw mut spelling).cast(), 0);
    }
    end != 0 && desk.spelled == end
}

struct Spelling {
    desk: *mut Desk,
    watch: *mut Watch,
    end: u32,
}

/// A letter of the name; 1 ends the loop.
extern "C" fn letter(at: u32, spelling: *mut Spelling) -> i64 {
    // SAFETY: what `spell` gave, which nobody else uses.
    let (desk, watch, end) =
        unsafe { (&mut *(*spelling).desk, &*(*spelling).watch, (*spelling).end) };
    let right = tls::spell(&watch.name, end, at, &mut desk.key);
    desk.spelled += u32::from(right);
    opaque::cut(u32::from(!right), 1) as i64
}

/// Follows the ruling in the record, and hands that over.
#[inline(never)]
fn tell(desk: &mut Desk, facts: &Facts, label: &SocketLabel, ground: &Ground) -> bool {
    emit::count(Kind::Hello, Count::Seen);
    let allowed = desk.record.verdict <= Verdict::Audit as u8;
    // A hello in order can be followed by another; what shows no name is not looked into.
    let next = if !allowed && !ground.observed() {
        state::REFUSED
    } else if allowed && desk.record.reason != Reason::Hidden as u8 && desk.key.name[0] != 0 {
        state::AGAIN
    } else {
        state::CLEARED
    };
    socket::set_hello(label, next);
    desk.question.kind = 0;
    desk.record.resolver = facts.to.address.octets();
    desk.record.port = facts.to.port;
    desk.record.protocol = facts.protocol;
    desk.record.count = 0;
    question::tell(desk, label, ground, Kind::Hello);
    next != state::REFUSED
}
