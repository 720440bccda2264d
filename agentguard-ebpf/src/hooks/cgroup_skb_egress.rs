//! cgroup_skb on the way out, at the root of the hierarchy: called by
//! `__cgroup_bpf_run_filter_skb` from `ip_finish_output` and `ip6_finish_output` (6.1 to
//! 7.x) for every packet of a socket, whatever cgroup its process is in by now. Looks at
//! those of sessions, reads those that ask for names, and the first bytes of connections to
//! which a name led.

use agentguard_common::counter::Count;
use agentguard_common::dns;
use agentguard_common::event::{self, Kind};
use agentguard_common::net::IPPROTO_TCP;
use agentguard_common::opaque;
use agentguard_common::resolve;
use agentguard_common::session::SocketLabel;
use agentguard_common::verdict::{RULE_NONE, Reason, Verdict};
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;

use super::{DROP, KEEP, current, egress, hello, question};
use crate::emit::{self, Ring};
use crate::packet::{Facts, Packet};
use crate::{budget, names};

#[cgroup_skb(egress)]
fn cgroup_skb_egress(ctx: SkBuffContext) -> i32 {
    let packet = Packet::of(&ctx);
    let Some(label) = packet.label() else { return KEEP };
    let what = look(packet, label);
    if what & ASKS != 0 {
        let asks = packet_asks(packet.skb);
        if asks != ANOTHER {
            return match asks {
                GOES => KEEP,
                STOPS => DROP,
                reason => follow(packet, label, reason),
            };
        }
    }
    let mut current = what as u32;
    if current == current::ANEW {
        current = packet_anew(packet.skb) as u32;
    }
    if current != current::PASSES {
        return follow(packet, label, u64::from(current));
    }
    if what & HELLO != 0 && packet_hello(packet.skb) == 0 {
        return DROP;
    }
    if what & FAR == 0 {
        return KEEP;
    }
    let spent = budget::out(label, packet.len());
    if spent == budget::ENOUGH { KEEP } else { over(packet, label, spent) }
}

/// What [`look`] sees: below these bits, what [`current::ruling`] says.
///
/// The packet comes from or goes to the port of resolvers.
const ASKS: u64 = 1 << 32;
/// The first bytes of its connection are read.
const HELLO: u64 = 1 << 33;
/// It leaves this host.
const FAR: u64 = 1 << 34;

/// Looks at a packet of a session. A function of its own: what it needs of the stack is free
/// again for what follows.
#[inline(never)]
fn look(packet: Packet, label: &SocketLabel) -> u64 {
    let Some(facts) = packet.facts(label.session) else { return Reason::Steering as u64 };
    let mut what = u64::from(current::ruling(&facts, label));
    if facts.to.port == dns::PORT || facts.from.port == dns::PORT {
        what |= ASKS;
    }
    if hello::is_read(&facts, label) {
        what |= HELLO;
    }
    if budget::is_elsewhere(&facts.to) {
        what |= FAR;
    }
    // Whatever it is, what follows is walked through once.
    opaque::number(what, label.session)
}

/// Drops a packet for a reason, or without telling why.
#[inline(always)]
fn follow(packet: Packet, label: &SocketLabel, reason: u64) -> i32 {
    if reason == u64::from(current::LEFT) {
        emit::count(Kind::Packet, Count::Error);
        return DROP;
    }
    refuse(packet, label, reason as u32)
}

/// What [`names`] says where it does not give the reason to drop the packet, or
/// [`current::LEFT`]: the packet asks for names, and goes on.
const GOES: u64 = 1 << 32;
/// It asks, and does not; that has been told.
const STOPS: u64 = 1 << 33;
/// It has nothing to do with names.
const ANOTHER: u64 = 1 << 34;

// What few packets need is a program of its own to the verifier, which reads the packet again:
// it would be walked through for every way to it, and is walked through once.

/// [`names`], for a packet of a session.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn packet_asks(skb: *mut __sk_buff) -> u64 {
    let packet = Packet { skb };
    match packet.of_session() {
        Some((label, facts)) => names(packet, &facts, label),
        None => u64::from(current::LEFT),
    }
}

/// [`current::again`], likewise.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn packet_anew(skb: *mut __sk_buff) -> u64 {
    let packet = Packet { skb };
    match packet.of_session() {
        Some((label, facts)) => u64::from(current::again(packet, &facts, label)),
        None => u64::from(current::LEFT),
    }
}

/// [`hello::passes`], likewise: 1 where it does.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn packet_hello(skb: *mut __sk_buff) -> u64 {
    let packet = Packet { skb };
    let Some((label, facts)) = packet.of_session() else {
        emit::count(Kind::Hello, Count::Error);
        return 0;
    };
    u64::from(hello::passes(packet, &facts, label))
}

/// Decides a packet from or to the port of resolvers.
#[inline(always)]
fn names(packet: Packet, facts: &Facts, label: &SocketLabel) -> u64 {
    let Ok(ground) = egress::ground(&label.of_maker()) else {
        // The session has ended, and the kernel goes on sending what it had left to send:
        // there is nobody to tell of, and nothing new to tell.
        return u64::from(current::LEFT);
    };
    if !resolve::is_checked(ground.policy) {
        return ANOTHER;
    }
    // What looks as if a resolver had sent it could be taken for its answer.
    if facts.from.port == dns::PORT
        && names::is_resolver(ground.slot, ground.policy, facts.from.address)
    {
        return Reason::Resolver as u64;
    }
    // Anyone else on that port is there by a rule on its address.
    if facts.to.port != dns::PORT
        || !names::is_resolver(ground.slot, ground.policy, facts.to.address)
    {
        return ANOTHER;
    }
    if question::decide(packet, facts, label, &ground) { GOES } else { STOPS }
}

/// Drops a packet that is more than the session may send, and tells of it now and then: what
/// is dropped is sent again and again.
#[inline(always)]
fn over(packet: Packet, label: &SocketLabel, spent: u64) -> i32 {
    if spent == budget::TELL {
        return refuse(packet, label, Reason::Budget as u32);
    }
    match egress::ground(&label.of_maker()) {
        Ok(ground) if ground.observed() => KEEP,
        _ => DROP,
    }
}

/// Drops a packet that no socket call decides on.
#[inline(never)]
fn refuse(packet: Packet, label: &SocketLabel, reason: u32) -> i32 {
    emit::count(Kind::Packet, Count::Seen);
    let ground = egress::ground(&label.of_maker());
    let (policy, flags) = ground.map_or((0, 0), |ground| (ground.policy.tag, ground.flags()));
    let (address, port, family, protocol) = match packet.facts(label.session) {
        Some(facts) => (facts.to.address.octets(), facts.to.port, facts.family, facts.protocol),
        None => ([0; 16], 0, 0, IPPROTO_TCP),
    };
    let record = event::Egress {
        header: emit::header_of_socket(Kind::Packet, label, flags),
        address,
        port,
        family,
        protocol,
        verdict: Verdict::Deny as u8,
        reason: reason as u8,
        rule: RULE_NONE,
        socket_type: 0,
        policy,
        hold: 0,
    };
    emit::emit(Ring::Decisions, Kind::Packet, &record);
    if flags == 0 { DROP } else { KEEP }
}
