//! What the hooks on egress share: the facts about socket and address, the call
//! of the evaluator, and the record of the decision.

use core::mem::MaybeUninit;

use agentguard_common::answer::{Answer, Place, Question};
use agentguard_common::counter::Count;
use agentguard_common::egress::{PolicyEntry, answer_reached};
use agentguard_common::event::{self, Kind, flag};
use agentguard_common::net::{self, Address, Destination, Protocols, SOCKADDR_MAX, Sockaddr};
use agentguard_common::session::{ListenKey, State, TaskLabel};
use agentguard_common::verdict::{RULE_NONE, Reason, Ruling, Verdict};
use agentguard_common::{dns, opaque, resolve};
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

use crate::emit::{self, Ring};
use crate::kernel::{SOCK_FAMILY, SOCK_PROTOCOL, SOCKET_SK, member};
use crate::maps::{ANSWERS, LISTENERS, Maps, POLICIES};
use crate::{atomic, names, session, socket};

/// A socket's address family, protocol and type.
#[derive(Clone, Copy)]
pub(super) struct Socket {
    pub(super) family: u16,
    pub(super) protocol: u16,
    /// 0 where it does not matter.
    pub(super) kind: u32,
    /// The `struct sock`; null where there is none.
    pub(super) sock: *const u8,
}

/// What a hook was asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) address: Sockaddr,
    pub(super) socket: Socket,
}

impl Asked {
    /// The same, of which the verifier knows nothing: not by which way it came.
    #[inline(always)]
    fn plain(&self, noise: u64) -> Self {
        let number = |value: u64| opaque::number(value, noise);
        let address = match self.address {
            Sockaddr::Inet(to) => Sockaddr::Inet(Destination {
                address: opaque::address(to.address, noise),
                port: number(u64::from(to.port)) as u16,
            }),
            other => other,
        };
        let socket = Socket {
            family: number(u64::from(self.socket.family)) as u16,
            protocol: number(u64::from(self.socket.protocol)) as u16,
            kind: number(u64::from(self.socket.kind)) as u32,
            sock: self.socket.sock,
        };
        Self { address, socket }
    }
}

/// Families that egress rules do not speak of.
#[inline(always)]
pub(super) const fn left_alone(family: u16) -> bool {
    matches!(family, net::AF_UNIX | net::AF_NETLINK | net::AF_ALG)
}

/// Reads family and protocol of a `struct socket`.
///
/// # Safety
///
/// `socket` must be a hook's argument of that type.
#[inline(always)]
pub(super) unsafe fn socket(socket: *const u8) -> Socket {
    // SAFETY: members of that structure and of the `struct sock` it points to.
    unsafe {
        let sock: *const u8 = member(socket, &SOCKET_SK);
        if sock.is_null() {
            // Being closed. Family 0 is denied.
            return Socket { family: 0, protocol: 0, kind: 0, sock };
        }
        let (family, protocol) = (member(sock, &SOCK_FAMILY), member(sock, &SOCK_PROTOCOL));
        Socket { family, protocol, kind: 0, sock }
    }
}

/// Reads an address; `None` when the memory could not be read.
///
/// # Safety
///
/// `from` must point to kernel memory of `SOCKADDR_MAX` bytes or more.
#[inline(always)]
pub(super) unsafe fn address(from: *const u8, len: i32) -> Option<(Sockaddr, [u8; SOCKADDR_MAX])> {
    // Words, and not bytes: what is aligned is read in whole numbers, and not byte by
    // byte. Not cleared first, as that would be a call and a loop: the helper fills it.
    let mut words = MaybeUninit::<[u64; SOCKADDR_MAX.div_ceil(8)]>::uninit();
    // SAFETY: by the contract above; faults are caught.
    let failed = unsafe {
        bpf_probe_read_kernel(words.as_mut_ptr().cast(), SOCKADDR_MAX as u32, from.cast())
    };
    if failed != 0 {
        return None;
    }
    let len = if len < 0 { 0 } else { len as usize };
    // SAFETY: so many bytes were read.
    let bytes = unsafe { &*words.as_ptr().cast::<[u8; SOCKADDR_MAX]>() };
    Some((net::parse_sockaddr(bytes, len), *bytes))
}

/// Decides, records, and says whether the action goes on.
#[inline(always)]
pub(super) fn decide(kind: Kind, label: &TaskLabel, asked: &Asked) -> bool {
    decide_as(opaque::number(kind as u64, label.session), label, asked)
}

/// The same for a [`Kind`] that the verifier knows nothing of: hooks that decide on several
/// kinds are walked through once for all of them.
#[inline(always)]
pub(super) fn decide_as(kind: u64, label: &TaskLabel, asked: &Asked) -> bool {
    let kind = kind as u16;
    emit::count_as(kind, Count::Seen);
    let asked = &asked.plain(label.session);
    let (ruling, policy, observed) = rule(label, asked);
    let passes = ruling.verdict.passes();
    if matches!(ruling.reason, Reason::Malformed | Reason::NoPolicy) {
        emit::count_as(kind, Count::Error);
    }
    let flags = observed as u16 * flag::OBSERVED;
    let (address, port) = match asked.address {
        Sockaddr::Inet(to) => (to.address.octets(), to.port),
        _ => ([0; 16], 0),
    };
    let record = event::Egress {
        header: emit::header_as(kind, label, flags),
        address,
        port,
        family: asked.socket.family,
        protocol: asked.socket.protocol,
        verdict: ruling.verdict as u8,
        reason: ruling.reason as u8,
        rule: ruling.rule,
        socket_type: asked.socket.kind,
        policy,
    };
    emit::emit_as(if passes { Ring::Activity } else { Ring::Decisions }, kind, &record);
    passes || observed != 0
}

/// Whether the destination is on this host, and where the session listens itself.
#[inline(always)]
fn own(label: &TaskLabel, asked: &Asked, to: Destination, protocol: Protocols) -> bool {
    let address = to.address;
    if asked.socket.sock.is_null() || !address.is_loopback() || protocol != Protocols::TCP {
        return false;
    }
    // SAFETY: a `struct sock` of a hook's argument, not null.
    let namespace = unsafe { socket::namespace(asked.socket.sock) };
    let mut key =
        ListenKey { address, session: label.session, namespace, port: to.port, reserved: 0 };
    // SAFETY: only whether it is there counts.
    if unsafe { LISTENERS.get(key) }.is_some() {
        return true;
    }
    key.address = address.any();
    // SAFETY: as above.
    unsafe { LISTENERS.get(key) }.is_some()
}

/// What the use of a socket is decided by that was made outside of the session: one that
/// is connected, as if it were to be connected now; one that a session could not have, a
/// packet socket say, as if it were to be made. `None` for one that needs no decision.
#[inline(always)]
pub(super) fn foreign(label: &TaskLabel, socket: &Socket) -> Option<Asked> {
    if left_alone(socket.family) || socket.sock.is_null() {
        return None;
    }
    if !matches!(socket.family, net::AF_INET | net::AF_INET6) {
        // A protocol that no rule allows. An address is given although there is none,
        // because the verifier would see what is not there being copied.
        let address = Sockaddr::Inet(Destination { address: Address::ANY6, port: 0 });
        return Some(Asked { address, socket: Socket { protocol: u16::MAX, ..*socket } });
    }
    // SAFETY: a `struct sock` of a hook's argument, not null.
    unsafe {
        if socket::session(socket.sock) == Some(label.session) {
            return None;
        }
        let peer = socket::peer(socket.sock, socket.family)?;
        Some(Asked { address: Sockaddr::Inet(peer), socket: *socket })
    }
}

/// Decides the use of such a socket. One that may be used is the session's own from
/// then on.
#[inline(always)]
pub(super) fn decide_foreign(label: &TaskLabel, socket: &Socket) -> bool {
    let Some(asked) = foreign(label, socket) else { return true };
    let passes = decide(Kind::Foreign, label, &asked);
    if passes {
        claim(label, &asked);
    }
    passes
}

/// Makes a socket the session's own.
#[inline(always)]
pub(super) fn claim(label: &TaskLabel, asked: &Asked) {
    // Without memory for it, it is decided anew the next time.
    // SAFETY: a `struct sock` of a hook's argument; `foreign` gives no other.
    let _ = asked.socket.sock.is_null() || unsafe { socket::claim(asked.socket.sock, label) };
}

/// What decides for a session.
pub(super) struct Ground {
    /// The policy's slot.
    pub(super) slot: u32,
    /// The policy.
    pub(super) policy: &'static PolicyEntry,
    /// 1 where it is only observed, else 0: a number, of which the verifier knows nothing.
    observed: u64,
}

impl Ground {
    /// Whether it is only observed.
    #[inline(always)]
    pub(super) const fn observed(&self) -> bool {
        self.observed != 0
    }

    /// The flags of records about it.
    #[inline(always)]
    pub(super) const fn flags(&self) -> u16 {
        if self.observed() { flag::OBSERVED } else { 0 }
    }
}

/// What decides for a session, or why it is denied everything.
#[inline(always)]
pub(super) fn ground(label: &TaskLabel) -> Result<Ground, Reason> {
    let entry = session::entry(label).ok_or(Reason::NoPolicy)?;
    let observed = match State::from_u32(entry.state) {
        Some(State::Enforce) => false,
        Some(State::Observe) => true,
        Some(State::Ending) => return Err(Reason::Ending),
        None => return Err(Reason::NoPolicy),
    };
    let policy = POLICIES.get(entry.policy).ok_or(Reason::NoPolicy)?;
    let observed = opaque::number(u64::from(observed), policy.tag);
    Ok(Ground { slot: entry.policy, policy, observed })
}

/// The ruling, the tag of the policy, and 1 where it is only observed.
#[inline(always)]
pub(super) fn rule(label: &TaskLabel, asked: &Asked) -> (Ruling, u64, u64) {
    let ground = match ground(label) {
        Ok(ground) => ground,
        Err(reason) => return (Ruling::closed(reason), 0, 0),
    };
    // Of copies, so that what is found out about them is forgotten with them.
    let number = opaque::number(u64::from(asked.socket.protocol), ground.policy.tag) as u16;
    let ruling = match (asked.address, Protocols::of_socket(number)) {
        (Sockaddr::Inet(to), Some(protocol)) => {
            let policy = ground.policy;
            // One walk for all of them.
            let protocol = Protocols(opaque::number(u64::from(protocol.0), policy.tag) as u8);
            // Before the search, not after it: the verifier would walk through it anew for
            // every way that the search can end.
            let otherwise = otherwise(label, &ground, asked, &to, protocol);
            let otherwise = Answer(opaque::number(otherwise.0, policy.tag));
            let answer = remembered(ground.slot, policy, to, protocol);
            // A rule that speaks of the address holds.
            let spoken = answer.is_default() && otherwise.0 != Answer::NONE.0;
            let answer = if spoken { otherwise } else { answer };
            Answer(opaque::number(answer.0, policy.tag)).or_closed()
        }
        (Sockaddr::Malformed, _) => Ruling::closed(Reason::Malformed),
        _ => Ruling::closed(Reason::Protocol),
    };
    (ruling, ground.policy.tag, ground.observed)
}

/// What holds where no rule speaks of the address, if anything does: the session's own
/// ports, the names that led there, the policy's resolvers.
#[inline(always)]
fn otherwise(
    label: &TaskLabel,
    ground: &Ground,
    asked: &Asked,
    to: &Destination,
    protocol: Protocols,
) -> Answer {
    // What is found out about a copy is forgotten with it.
    let address = opaque::address(to.address, label.session).reached();
    let port = opaque::number(u64::from(to.port), label.session) as u16;
    let to = Destination { address, port };
    if own(label, asked, to, protocol) {
        return Answer::of(Ruling::OWN);
    }
    if !resolve::is_checked(ground.policy) {
        return Answer::NONE;
    }
    if resolve::is_for_names(port) && !protocol.meets(Protocols::ICMP) {
        // What is sent by MPTCP cannot be read.
        let may = port == dns::PORT
            && opaque::number(u64::from(asked.socket.protocol), label.session)
                != u64::from(net::IPPROTO_MPTCP)
            && names::is_resolver(ground.slot, ground.policy, address);
        let verdict = if may { Verdict::Allow } else { Verdict::Deny };
        return Answer::of(Ruling { verdict, reason: Reason::Resolver, rule: RULE_NONE });
    }
    if asked.socket.sock.is_null() {
        return Answer::NONE;
    }
    // SAFETY: a `struct sock` of a hook's argument, not null.
    let namespace = unsafe { socket::namespace(asked.socket.sock) };
    names::ruling(label.session, namespace, ground.slot, to, protocol)
}

/// The evaluator's ruling, from memory where it has been asked before.
#[inline(always)]
fn remembered(slot: u32, policy: &PolicyEntry, to: Destination, protocol: Protocols) -> Answer {
    let address = opaque::address(to.address.reached(), policy.tag);
    let port = opaque::number(u64::from(to.port), policy.tag) as u16;
    let to = Destination { address, port };
    let question = Question::new(policy.tag, to, protocol);
    let place = ANSWERS.get_ptr_mut(question.place());
    // SAFETY: a live map value of this CPU.
    let recalled = place.and_then(|place| unsafe { recall(place, &question) });
    match recalled {
        Some(answer) => answer,
        None => {
            let answer = answer_reached(&Maps, slot, policy, to, protocol);
            let answer = Answer(opaque::number(answer.0, policy.tag));
            if let (Some(place), true) = (place, answer.lasts()) {
                // SAFETY: as above.
                unsafe { remember(place, question, answer) };
            }
            answer
        }
    }
}

/// What stands in a place, if it is on this question.
///
/// # Safety
///
/// `place` must be a live map value of this CPU.
#[inline(always)]
unsafe fn recall(place: *const Place, question: &Question) -> Option<Answer> {
    // SAFETY: by the contract above. Read in this order, see `Place`.
    let (turn, asked, answer, after) = unsafe {
        (
            (&raw const (*place).turn).read_volatile(),
            (&raw const (*place).question).read_volatile(),
            (&raw const (*place).answer).read_volatile(),
            (&raw const (*place).turn).read_volatile(),
        )
    };
    let wrong = (turn ^ after) | (turn & 1) | asked.difference(question);
    if wrong == 0 { Some(answer) } else { None }
}

/// Puts a ruling into a place, unless someone is about to do that.
///
/// # Safety
///
/// As for [`recall`].
#[inline(always)]
unsafe fn remember(place: *mut Place, question: Question, answer: Answer) {
    // SAFETY: by the contract above. Written in this order, see `Place`.
    unsafe {
        if atomic::swap(&raw mut (*place).busy, 1) != 0 {
            return;
        }
        let turn = &raw mut (*place).turn;
        turn.write_volatile(turn.read_volatile() | 1);
        (&raw mut (*place).question).write_volatile(question);
        (&raw mut (*place).answer).write_volatile(answer);
        turn.write_volatile(turn.read_volatile() + 1);
        atomic::swap(&raw mut (*place).busy, 0);
    }
}
