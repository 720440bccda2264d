//! cgroup_skb on the way in, at the root of the hierarchy: called by
//! `__cgroup_bpf_run_filter_skb` from `sk_filter_trim_cap` (6.1 to 7.x) for every packet
//! that a socket is to get, before it gets it. Reads those that answer for names.

use agentguard_common::{dns, resolve};
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;

use super::{DROP, KEEP, answering, egress};
use crate::packet::Packet;
use crate::{budget, names};

#[cgroup_skb(ingress)]
fn cgroup_skb_ingress(ctx: SkBuffContext) -> i32 {
    let packet = Packet::of(&ctx);
    let Some(label) = packet.label() else { return KEEP };
    // What comes in is not decided, but for what could teach an address.
    let Some(facts) = packet.facts(label.session) else { return KEEP };
    budget::came(label, &facts.from, packet.len());
    if facts.from.port != dns::PORT {
        return KEEP;
    }
    let Ok(ground) = egress::ground(&label.of_maker()) else { return DROP };
    if !resolve::is_checked(ground.policy)
        || !names::is_resolver(ground.slot, ground.policy, facts.from.address)
    {
        return KEEP;
    }
    if answering::decide(packet, &facts, label, &ground) { KEEP } else { DROP }
}
