//! cgroup_skb on the way in, at the root of the hierarchy: called by
//! `__cgroup_bpf_run_filter_skb` from `sk_filter_trim_cap` (6.1 to 7.x) for every packet
//! that a socket is to get, before it gets it. Reads those that answer for names.

use agentguard_common::counter::Count;
use agentguard_common::event::Kind;
use agentguard_common::session::SocketLabel;
use agentguard_common::{dns, resolve};
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;

use super::{DROP, KEEP, answering, egress};
use crate::packet::Packet;
use crate::{budget, emit, names};

#[cgroup_skb(ingress)]
fn cgroup_skb_ingress(ctx: SkBuffContext) -> i32 {
    let packet = Packet::of(&ctx);
    let Some(label) = packet.label() else { return KEEP };
    // What comes in is not decided, but for what could teach an address.
    if look(packet, label) && packet_answers(packet.skb) == 0 { DROP } else { KEEP }
}

/// Counts a packet for a session; true where it comes from the port of resolvers. A function of
/// its own, as in [`super::cgroup_skb_egress`].
#[inline(never)]
fn look(packet: Packet, label: &SocketLabel) -> bool {
    let Some(facts) = packet.facts(label.session) else { return false };
    if budget::is_elsewhere(&facts.from) {
        budget::came(label, packet.len());
    }
    facts.from.port == dns::PORT
}

/// Decides a packet from the port of resolvers; 0 where the socket is not to have it. A program
/// of its own to the verifier, as in [`super::cgroup_skb_egress`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn packet_answers(skb: *mut __sk_buff) -> u64 {
    let packet = Packet { skb };
    let Some((label, facts)) = packet.of_session() else { return lost() };
    let Ok(ground) = egress::ground(&label.of_maker()) else { return lost() };
    if !resolve::is_checked(ground.policy)
        || !names::is_resolver(ground.slot, ground.policy, facts.from.address)
    {
        return 1;
    }
    u64::from(answering::decide(packet, &facts, label, &ground))
}

/// Something is missing that should be there, or the session has ended.
#[inline(always)]
fn lost() -> u64 {
    emit::count(Kind::Answer, Count::Error);
    0
}
