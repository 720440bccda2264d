//! What the hooks on egress ask people: which question it is, and what became of it.

use agentguard_common::event::Kind;
use agentguard_common::hold::{Held, class, digest};
use agentguard_common::name;
use agentguard_common::net::{Destination, Protocols};
use agentguard_common::session::{SocketLabel, TaskLabel};
use agentguard_common::verdict::Reason;

use super::egress::{Asked, Ground, ground};
use crate::maps::Maps;
use crate::{hold, names, socket};

/// Asks somebody whether what the digest stands for may be done, or finds what was answered.
/// `by_name` where a name led there.
#[inline(never)]
pub(super) fn ask(label: &TaskLabel, question: u64, by_name: bool) -> Held {
    let Ok(ground) = ground(label) else { return Held::refused(Reason::NoPolicy) };
    if question == 0 {
        return Held::refused(Reason::Unheld);
    }
    let held = hold::ask(label, question, ground.policy.patience, hold::WHOLE);
    if held.passes() && by_name {
        hold::hold_hello(label.session, of_hello(question));
    }
    held
}

/// The digest of what is asked: the name and the port, where one name led there, else the
/// address and the port. 0 for what cannot wait for an answer.
#[inline(never)]
pub(super) fn question(kind: u16, label: &TaskLabel, asked: &Asked, by_name: bool) -> u64 {
    if kind != Kind::Connect as u16 && kind != Kind::Send as u16 {
        return 0;
    }
    let Ok(ground) = &ground(label) else { return 0 };
    let protocol = Protocols::of_socket(asked.socket.protocol).unwrap_or(Protocols(0));
    let to = Destination { address: asked.to.address.reached(), port: asked.to.port };
    if by_name && !asked.socket.sock.is_null() {
        // SAFETY: a `struct sock` of a hook's argument, not null.
        let namespace = unsafe { socket::namespace(asked.socket.sock) };
        let of =
            names::only(label.session, namespace, (ground.slot, ground.policy.lists), to, protocol);
        if of != 0 {
            return of_name(ground, of, to.port, protocol);
        }
    }
    of_address(ground, to, protocol)
}

#[inline(always)]
fn of_address(ground: &Ground, to: Destination, protocol: Protocols) -> u64 {
    let end = u64::from(to.port) << 8 | u64::from(protocol.0);
    let Destination { address, .. } = to;
    digest(hold::keys(), [ground.policy.tag ^ class::ADDRESS, address.high, address.low, end])
}

/// The same for a name, `of` being a reference without an end.
#[inline(always)]
fn of_name(ground: &Ground, of: u64, port: u16, protocol: Protocols) -> u64 {
    let end = u64::from(port) << 8 | u64::from(protocol.0);
    digest(hold::keys(), [ground.policy.tag ^ class::NAME, of, 0, end])
}

/// The digest of the TLS handshake on a connection of which another one was asked.
#[inline(always)]
fn of_hello(question: u64) -> u64 {
    digest(hold::keys(), [class::HELLO, question, 0, 0])
}

/// Whether a TLS handshake with a name that a rule says `ask` of belongs to a connection that
/// was let through for that name, or for that address where several names led there.
#[inline(never)]
pub(super) fn allows_hello(
    label: &SocketLabel,
    ground: &Ground,
    key: &name::Key,
    to: &Destination,
) -> bool {
    let (_, of) = name::ask(&Maps, ground.policy, key);
    let of_name = of_name(ground, of.0, to.port, Protocols::TCP);
    let to = Destination { address: to.address.reached(), port: to.port };
    let of_address = of_address(ground, to, Protocols::TCP);
    for question in [of_name, of_address] {
        if hold::is_allowed(label.session, question)
            || hold::is_allowed(label.session, of_hello(question))
        {
            return true;
        }
    }
    false
}
