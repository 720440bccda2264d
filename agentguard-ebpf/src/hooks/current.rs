//! Connections that are open when something else comes to hold for their session, another
//! policy or what its own says of tainted ones: decided anew with the next packet that goes
//! out.

use agentguard_common::net::IPPROTO_TCP;
use agentguard_common::session::{SPOILED, SocketLabel};

use super::egress;
use crate::packet::{Facts, Packet};
use crate::{socket, taint};

/// Whether a packet goes on, as far as the connection is concerned that it belongs to;
/// [`PASSES`], [`ANEW`], or the reason why not.
#[inline(always)]
pub(super) fn ruling(facts: &Facts, label: &SocketLabel) -> u32 {
    let by = socket::policy(label);
    if by == SPOILED {
        return LEFT;
    }
    match egress::ground(&label.of_maker()) {
        Ok(ground) if ground.policy.tag as u32 == by => PASSES,
        // Not connected by the session, so not decided by anybody.
        Ok(ground) if by == 0 && !(ground.tainted && is_far(facts)) => PASSES,
        Ok(_) => ANEW,
        Err(_) => left(label, by),
    }
}

/// No number of a [`agentguard_common::verdict::Reason`].
pub(super) const PASSES: u32 = u32::MAX;
/// Neither: dropped, and it has been told or there is nobody to tell of.
pub(super) const LEFT: u32 = u32::MAX - 1;

/// It is to be decided [`again`].
pub(super) const ANEW: u32 = u32::MAX - 2;

/// Whether it is a connection to another host: one that the session has taken from there,
/// where it has not made it.
#[inline(always)]
fn is_far(facts: &Facts) -> bool {
    facts.protocol == IPPROTO_TCP && !facts.to.address.is_loopback()
}

/// What the session had left to send when it ended was decided, unless it was tainted
/// meanwhile.
#[inline(always)]
fn left(label: &SocketLabel, by: u32) -> u32 {
    match taint::of(label.session) {
        Some(taint) if taint.policy != 0 && taint.policy != by => LEFT,
        _ => PASSES,
    }
}

/// [`PASSES`], [`LEFT`], or the reason why not.
#[inline(always)]
pub(super) fn again(packet: Packet, facts: &Facts, label: &SocketLabel) -> u32 {
    let Ok(ground) = egress::ground(&label.of_maker()) else { return LEFT };
    // One that is being closed says no more of where it was connected to.
    let to = packet.peer(facts.family).unwrap_or(facts.to);
    let ruling = egress::anew(label, ground.slot, &to, facts.protocol);
    if ruling.verdict.passes() {
        socket::set_policy(label, ground.policy.tag as u32);
        return PASSES;
    }
    // The kernel keeps what was handed over, and sends it again and again.
    let keeps = facts.protocol == IPPROTO_TCP && !matches!(packet.payload(facts), Some((_, 0)));
    if keeps && ground.tainted && !ground.observed() {
        socket::set_policy(label, SPOILED);
    }
    ruling.reason as u32
}
