//! cgroup_skb on the way out, at the root of the hierarchy: called by
//! `__cgroup_bpf_run_filter_skb` from `ip_finish_output` and `ip6_finish_output` (6.1 to
//! 7.x) for every packet of a socket, whatever cgroup its process is in by now. Looks at
//! those of sessions, and reads those that ask for names.

use agentguard_common::counter::Count;
use agentguard_common::dns;
use agentguard_common::event::{self, Kind};
use agentguard_common::net::IPPROTO_TCP;
use agentguard_common::resolve;
use agentguard_common::session::SocketLabel;
use agentguard_common::verdict::{RULE_NONE, Reason, Verdict};
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;

use super::{DROP, KEEP, egress, question};
use crate::emit::{self, Ring};
use crate::names;
use crate::packet::{Facts, Packet};

#[cgroup_skb(egress)]
fn cgroup_skb_egress(ctx: SkBuffContext) -> i32 {
    let packet = Packet::of(&ctx);
    let Some(label) = packet.label() else { return KEEP };
    let Some(facts) = packet.facts(label.session) else {
        return refuse(label, None, Reason::Steering);
    };
    if facts.to.port != dns::PORT && facts.from.port != dns::PORT {
        return KEEP;
    }
    let Ok(ground) = egress::ground(&label.of_maker()) else {
        // The session has ended, and the kernel goes on sending what it had left to send:
        // there is nobody to tell of, and nothing new to tell.
        emit::count(Kind::Packet, Count::Error);
        return DROP;
    };
    if !resolve::is_checked(ground.policy) {
        return KEEP;
    }
    // What looks as if a resolver had sent it could be taken for its answer.
    if facts.from.port == dns::PORT
        && names::is_resolver(ground.slot, ground.policy, facts.from.address)
    {
        return refuse(label, Some(&facts), Reason::Resolver);
    }
    // Anyone else on that port is there by a rule on its address.
    if facts.to.port != dns::PORT
        || !names::is_resolver(ground.slot, ground.policy, facts.to.address)
    {
        return KEEP;
    }
    if question::decide(packet, &facts, label, &ground) { KEEP } else { DROP }
}

/// Drops a packet that no socket call decides on.
#[inline(never)]
fn refuse(label: &SocketLabel, facts: Option<&Facts>, reason: Reason) -> i32 {
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
    };
    emit::emit(Ring::Decisions, Kind::Packet, &record);
    if flags == 0 { DROP } else { KEEP }
}
