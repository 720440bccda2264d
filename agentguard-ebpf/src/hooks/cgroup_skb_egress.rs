//! cgroup_skb on the way out, at the root of the hierarchy: called by
//! `__cgroup_bpf_run_filter_skb` from `ip_finish_output` and `ip6_finish_output` (6.1 to
//! 7.x) for every packet of a socket, whatever cgroup its process is in by now. Looks at
//! those of sessions, reads those that ask for names, and the first bytes of connections to
//! which a name led.

use agentguard_common::counter::Count;
use agentguard_common::dns;
use agentguard_common::event::{self, Kind};
use agentguard_common::net::IPPROTO_TCP;
use agentguard_common::resolve;
use agentguard_common::session::SocketLabel;
use agentguard_common::verdict::{RULE_NONE, Reason, Verdict};
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
    let Some(facts) = packet.facts(label.session) else {
        return refuse(label, None, Reason::Steering as u32);
    };
    // First, and to its end: what the verifier walks through longest it walks through once.
    if facts.to.port == dns::PORT || facts.from.port == dns::PORT {
        let asks = names(packet, &facts, label);
        if asks != ANOTHER {
            return if asks == GOES { KEEP } else { DROP };
        }
    }
    let current = current::ruling(packet, &facts, label);
    if current == current::LEFT {
        emit::count(Kind::Packet, Count::Error);
        return DROP;
    }
    if current != current::PASSES {
        return refuse(label, Some(&facts), current);
    }
    if !hello::passes(packet, &facts, label) {
        return DROP;
    }
    let spent = budget::out(label, &facts.to, packet.len());
    if spent != budget::ENOUGH { over(label, &facts, spent) } else { KEEP }
}

/// What [`names`] says: the packet asks for names, and goes on.
const GOES: u32 = 0;
/// It does not.
const STOPS: u32 = 1;
/// It has nothing to do with names.
const ANOTHER: u32 = 2;

/// Decides a packet from or to the port of resolvers.
#[inline(always)]
fn names(packet: Packet, facts: &Facts, label: &SocketLabel) -> u32 {
    let Ok(ground) = egress::ground(&label.of_maker()) else {
        // The session has ended, and the kernel goes on sending what it had left to send:
        // there is nobody to tell of, and nothing new to tell.
        emit::count(Kind::Packet, Count::Error);
        return STOPS;
    };
    if !resolve::is_checked(ground.policy) {
        return ANOTHER;
    }
    // What looks as if a resolver had sent it could be taken for its answer.
    if facts.from.port == dns::PORT
        && names::is_resolver(ground.slot, ground.policy, facts.from.address)
    {
        let kept = refuse(label, Some(facts), Reason::Resolver as u32) == KEEP;
        return if kept { GOES } else { STOPS };
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
#[inline(never)]
fn over(label: &SocketLabel, facts: &Facts, spent: u64) -> i32 {
    if spent == budget::TELL {
        return refuse(label, Some(facts), Reason::Budget as u32);
    }
    match egress::ground(&label.of_maker()) {
        Ok(ground) if ground.observed() => KEEP,
        _ => DROP,
    }
}

/// Drops a packet that no socket call decides on.
#[inline(never)]
fn refuse(label: &SocketLabel, facts: Option<&Facts>, reason: u32) -> i32 {
    emit::count(Kind::Packet, Count::Seen);
    let ground = egress::ground(&label.of_maker());
    let (policy, flags) = ground.map_or((0, 0), |ground| (ground.policy.tag, ground.flags()));
    let (address, port, family, protocol) = match facts {
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
