//! What the hooks on egress share: the facts about socket and address, the call
//! of the evaluator, and the record of the decision.

use core::mem::MaybeUninit;

use agentguard_common::answer::{Answer, Place, Question};
use agentguard_common::counter::Count;
use agentguard_common::egress::{PolicyEntry, answer_reached, dns as egress_dns};
use agentguard_common::event::{self, Kind, flag};
use agentguard_common::hello::state;
use agentguard_common::hold::Held;
use agentguard_common::limit::Limit;
use agentguard_common::net::{self, Address, Destination, Protocols, SOCKADDR_MAX, Sockaddr};
use agentguard_common::session::{ListenKey, SPOILED, SocketLabel, State, TaskLabel, Terms};
use agentguard_common::verdict::{RULE_NONE, Reason, Ruling, Verdict};
use agentguard_common::{dns, opaque, resolve};
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

use super::asking;
use crate::emit::{self, Ring};
use crate::kernel::{SOCK_FAMILY, SOCK_PROTOCOL, SOCKET_SK, member};
use crate::maps::{ANSWERS, LISTENERS, Maps, POLICIES};
use crate::{atomic, budget, names, session, socket, taint};

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
    /// Where to; zeros where it is no address of the internet.
    pub(super) to: Destination,
    /// What the address is.
    form: u64,
    pub(super) socket: Socket,
}

/// An address of the internet.
const INET: u64 = 0;
/// One that could not be read.
const MALFORMED: u64 = 1;
/// One of another family.
const OTHER: u64 = 2;
/// One that is reached by a connection that is spoiled.
const LOST: u64 = 3;
/// One of no family.
const UNSPECIFIED: u64 = 4;

impl Asked {
    /// Numbers in every case: an address that could not be read would have memory in it that
    /// was not written, and the compiler puts there whatever is at hand.
    #[inline(always)]
    pub(super) fn of(address: Sockaddr, socket: Socket) -> Self {
        let nowhere = Destination { address: Address::ANY6, port: 0 };
        let (to, form) = match address {
            Sockaddr::Inet(to) => (to, INET),
            Sockaddr::Malformed => (nowhere, MALFORMED),
            _ => (nowhere, OTHER),
        };
        Self { to, form, socket }
    }

    /// The same without an address of the internet.
    #[inline(always)]
    pub(super) fn elsewhere(self) -> Self {
        Self { to: Destination { address: Address::ANY6, port: 0 }, form: OTHER, ..self }
    }

    /// The same, of which the verifier knows nothing: not by which way it came.
    #[inline(always)]
    fn plain(&self, noise: u64) -> Self {
        let number = |value: u64| opaque::number(value, noise);
        let to = Destination {
            address: opaque::address(self.to.address, noise),
            port: number(u64::from(self.to.port)) as u16,
        };
        let socket = Socket {
            family: number(u64::from(self.socket.family)) as u16,
            protocol: number(u64::from(self.socket.protocol)) as u16,
            kind: number(u64::from(self.socket.kind)) as u32,
            sock: self.socket.sock,
        };
        Self { to, form: number(self.form), socket }
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

/// Reads an address into `to`, and says what it is: a number of [`Asked::form`], or
/// [`UNSPECIFIED`]. A function of its own, for the sake of the stack.
///
/// # Safety
///
/// `from` must point to kernel memory of `SOCKADDR_MAX` bytes or more.
#[inline(never)]
unsafe fn read_address(from: *const u8, len: i32, to: &mut Destination) -> u64 {
    // Words, and not bytes: what is aligned is read in whole numbers, and not byte by
    // byte. Not cleared first, as that would be a call and a loop: the helper fills it.
    let mut words = MaybeUninit::<[u64; SOCKADDR_MAX.div_ceil(8)]>::uninit();
    // SAFETY: by the contract above; faults are caught.
    let failed = unsafe {
        bpf_probe_read_kernel(words.as_mut_ptr().cast(), SOCKADDR_MAX as u32, from.cast())
    };
    if failed != 0 {
        return MALFORMED;
    }
    let len = if len < 0 { 0 } else { len as usize };
    // SAFETY: so many bytes were read.
    let bytes = unsafe { &*words.as_ptr().cast::<[u8; SOCKADDR_MAX]>() };
    match net::parse_sockaddr(bytes, len) {
        Sockaddr::Inet(address) => {
            *to = address;
            INET
        }
        Sockaddr::Unspecified => {
            *to = net::inet(bytes);
            UNSPECIFIED
        }
        Sockaddr::Malformed => MALFORMED,
        _ => OTHER,
    }
}

/// What is asked by an address, which has no family where the second is true (`AF_UNSPEC`); it
/// is read as one of `AF_INET` then, as `udp_sendmsg` does.
///
/// # Safety
///
/// `from` must point to kernel memory of `SOCKADDR_MAX` bytes or more.
#[inline(always)]
pub(super) unsafe fn asked_at(from: *const u8, len: i32, socket: Socket) -> (Asked, bool) {
    let mut to = Destination { address: Address::ANY6, port: 0 };
    // SAFETY: by the contract above.
    let form = unsafe { read_address(from, len, &mut to) };
    let unspecified = form == UNSPECIFIED;
    (Asked { to, form: if unspecified { INET } else { form }, socket }, unspecified)
}

/// The action goes on.
pub(super) const GOES_ON: u64 = 1;
/// It waits for an answer: the call is started again. Of [`Kind::Connect`] and [`Kind::Send`]
/// alone.
pub(super) const WAITS: u64 = 2;

/// Decides, records, and says whether the action goes on.
#[inline(always)]
pub(super) fn decide(kind: Kind, label: &TaskLabel, asked: &Asked) -> bool {
    decided::<false>(opaque::number(kind as u64, label.session), label, asked) == GOES_ON
}

/// The same for a [`Kind`] that the verifier knows nothing of: hooks that decide on several
/// kinds are walked through once for all of them.
#[inline(always)]
pub(super) fn decide_as(kind: u64, label: &TaskLabel, asked: &Asked) -> u64 {
    decided::<true>(kind, label, asked)
}

/// `MAY_WAIT` where the call can be started again, at least of some kinds.
#[inline(always)]
fn decided<const MAY_WAIT: bool>(kind: u64, label: &TaskLabel, asked: &Asked) -> u64 {
    let kind = kind as u16;
    emit::count_as(kind, Count::Seen);
    let asked = &asked.plain(label.session);
    let (ruling, policy, observed) = rule(label, asked);
    let by_name = ruling.reason as u8 == Reason::Name as u8;
    let (mut ruling, mut question) = (ruling, 0);
    if ruling.verdict as u8 == Verdict::Ask as u8 && observed == 0 {
        let held = if MAY_WAIT {
            question = asking::question(kind, label, asked, by_name);
            asking::ask(label, question, by_name)
        } else {
            Held::refused(Reason::Unheld)
        };
        if held.0 == Held::AGAIN.0 {
            return WAITS;
        }
        if !held.waits() {
            question = 0;
            ruling = held.ruling(ruling.rule);
        }
    }
    let ruling = within(kind, label, asked, ruling);
    let passes = ruling.verdict.passes();
    if matches!(ruling.reason, Reason::Malformed | Reason::NoPolicy) {
        emit::count_as(kind, Count::Error);
    }
    let what = Told { kind, observed: observed as u16, ruling }.packed();
    tell(what, label, asked, &[policy, question]);
    if question != 0 {
        return WAITS;
    }
    let goes_on = passes || observed != 0;
    u64::from(goes_on && begun(kind, label, &asked.socket, by_name, policy))
}

/// The ruling, if the session may make one more connection. Its own ports and the policy's
/// resolvers are not counted, and neither is a probe, by which nothing is sent.
#[inline(always)]
fn within(kind: u16, label: &TaskLabel, asked: &Asked, ruling: Ruling) -> Ruling {
    let opens = kind == Kind::Connect as u16
        || kind == Kind::Send as u16 && asked.socket.protocol == net::IPPROTO_TCP;
    let reason = ruling.reason as u8;
    let free = reason == Reason::Own as u8 || reason == Reason::Resolver as u8;
    if !opens || free || asked.to.port == 0 || !ruling.verdict.passes() {
        return ruling;
    }
    if budget::spend(label, Limit::Connections, 1) == budget::ENOUGH {
        return ruling;
    }
    Ruling::closed(Reason::Budget)
}

/// A connection is let through; false where there was no memory to watch it.
#[inline(always)]
fn begun(kind: u16, label: &TaskLabel, socket: &Socket, by_name: bool, policy: u64) -> bool {
    // What is sent without a connection is decided each time.
    let connects = kind == Kind::Connect as u16
        || kind == Kind::Send as u16 && socket.protocol == net::IPPROTO_TCP;
    if !connects || socket.sock.is_null() {
        return true;
    }
    let by_name = by_name && socket.protocol == net::IPPROTO_TCP;
    // SAFETY: a `struct sock` of a hook's argument, not null.
    unsafe { socket::connected(socket.sock, label, by_name, policy) }
}

/// What a decision came to.
struct Told {
    kind: u16,
    /// 1 where it is only observed.
    observed: u16,
    ruling: Ruling,
}

impl Told {
    /// In one number, for the sake of the stack: the rule, its verdict and reason, whether it
    /// is only observed, the kind.
    #[inline(always)]
    fn packed(self) -> u64 {
        Answer::of(self.ruling).0 | u64::from(self.kind) << 48 | u64::from(self.observed) << 63
    }
}

/// Hands over the record of a decision: a function of its own, as it has the largest share in
/// the stack. `ids` are the tag of the policy, and the digest of what is asked.
#[inline(never)]
fn tell(what: u64, label: &TaskLabel, asked: &Asked, ids: &[u64; 2]) {
    let ruling = Answer(what & ((1 << 48) - 1)).or_closed();
    let kind = (what >> 48) as u16 & 0x7fff;
    let observed = (what >> 63) as u16;
    let record = event::Egress {
        header: emit::header_as(kind, label, observed * flag::OBSERVED),
        address: asked.to.address.octets(),
        port: asked.to.port,
        family: asked.socket.family,
        protocol: asked.socket.protocol,
        verdict: ruling.verdict as u8,
        reason: ruling.reason as u8,
        rule: ruling.rule,
        socket_type: asked.socket.kind,
        policy: ids[0],
        hold: ids[1],
    };
    let ring = if ruling.verdict.passes() { Ring::Activity } else { Ring::Decisions };
    emit::emit_as(ring, kind, &record);
}

/// A connection whose handshake was refused, which has been told: what is tried on it fails at
/// once, as no answer will come.
pub(super) struct GivenUp;

/// What the use of a socket is decided by that was made outside of the session: one that
/// is connected, as if it were to be connected now; one that a session could not have, a
/// packet socket say, as if it were to be made. `None` for one that needs no decision,
/// [`GivenUp`] for one on which it has been made.
#[inline(always)]
pub(super) fn foreign(label: &TaskLabel, socket: &Socket) -> Result<Option<Asked>, GivenUp> {
    if left_alone(socket.family) || socket.sock.is_null() {
        return Ok(None);
    }
    if !matches!(socket.family, net::AF_INET | net::AF_INET6) {
        // A protocol that no rule allows. An address is given although there is none,
        // because the verifier would see what is not there being copied.
        let address = Sockaddr::Inet(Destination { address: Address::ANY6, port: 0 });
        return Ok(Some(Asked::of(address, Socket { protocol: u16::MAX, ..*socket })));
    }
    // SAFETY: a `struct sock` of a hook's argument, not null.
    unsafe {
        let mut form = INET;
        if let Some(own) = socket::label(socket.sock)
            && own.session == label.session
        {
            if socket::hello_of(own) == state::REFUSED {
                return Err(GivenUp);
            }
            let by = socket::policy(own);
            if !is_decided_anew(label, by) {
                return Ok(None);
            }
            form = if by == SPOILED { LOST } else { INET };
        }
        let Some(peer) = socket::peer(socket.sock, socket.family) else { return Ok(None) };
        Ok(Some(Asked { form, ..Asked::of(Sockaddr::Inet(peer), *socket) }))
    }
}

/// Whether a connection that one policy has let through is to be decided by another one now.
/// One that no policy decided on is not: it was made by somebody else, to the session.
#[inline(always)]
fn is_decided_anew(label: &TaskLabel, by: u32) -> bool {
    by != 0 && ground(label).is_ok_and(|ground| ground.policy.tag as u32 != by)
}

/// Decides the use of such a socket. One that may be used is the session's own from
/// then on.
#[inline(always)]
pub(super) fn decide_foreign(label: &TaskLabel, socket: &Socket) -> bool {
    let asked = match foreign(label, socket) {
        Ok(Some(asked)) => asked,
        Ok(None) => return true,
        Err(GivenUp) => return false,
    };
    let passes = decide(Kind::Foreign, label, &asked);
    if passes {
        claim(label, &asked);
    }
    passes
}

/// Makes a socket the session's own, or, where it is that already, one that the session's
/// policy has let through.
#[inline(always)]
pub(super) fn claim(label: &TaskLabel, asked: &Asked) {
    let sock = asked.socket.sock;
    if sock.is_null() {
        return;
    }
    // SAFETY: a `struct sock` of a hook's argument; `foreign` gives no other.
    unsafe {
        match (socket::label(sock), ground(label)) {
            (Some(own), Ok(ground)) if own.session == label.session => {
                socket::set_policy(own, ground.policy.tag as u32);
            }
            // Without memory for it, it is decided anew the next time.
            _ => _ = socket::claim(sock, label),
        }
    }
}

/// What decides for a session.
pub(super) struct Ground {
    /// The policy's slot.
    pub(super) slot: u32,
    /// The policy.
    pub(super) policy: &'static PolicyEntry,
    /// Whether it is what holds because the session is tainted.
    pub(super) tainted: bool,
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

/// What decides on the egress of a session, or why it is denied everything.
#[inline(always)]
pub(super) fn ground(label: &TaskLabel) -> Result<Ground, Reason> {
    let terms = session::terms(session::entry(label).ok_or(Reason::NoPolicy)?);
    stand(&terms, taint::slot(label.session, &terms))
}

/// What decides on all else.
#[inline(always)]
pub(super) fn ground_apart(label: &TaskLabel) -> Result<Ground, Reason> {
    let terms = session::terms(session::entry(label).ok_or(Reason::NoPolicy)?);
    ground_of(&terms)
}

/// The same for one that has been looked at.
#[inline(always)]
pub(super) fn ground_of(terms: &Terms) -> Result<Ground, Reason> {
    stand(terms, terms.policy)
}

#[inline(always)]
fn stand(terms: &Terms, slot: u32) -> Result<Ground, Reason> {
    let observed = match State::from_u32(terms.state) {
        Some(State::Enforce) => false,
        Some(State::Observe) => true,
        Some(State::Ending) => return Err(Reason::Ending),
        None => return Err(Reason::NoPolicy),
    };
    let policy = POLICIES.get(slot).ok_or(Reason::NoPolicy)?;
    let observed = opaque::number(u64::from(observed), policy.tag);
    Ok(Ground { slot, policy, observed, tainted: slot != terms.policy })
}

/// The ruling, the tag of the policy, and 1 where it is only observed.
#[inline(always)]
pub(super) fn rule(label: &TaskLabel, asked: &Asked) -> (Ruling, u64, u64) {
    let ground = match ground(label) {
        Ok(ground) => ground,
        Err(reason) => return (Ruling::closed(reason), 0, 0),
    };
    let ruling = match (asked.form, Protocols::of_socket(asked.socket.protocol)) {
        (INET, Some(protocol)) => {
            let with = With::new(&asked.to, protocol, &asked.socket);
            let place = u64::from(ground.slot) << 32 | u64::from(with.namespace);
            let to = asked.to.address;
            Answer(egress_answer(to.high, to.low, label.session, place, with.packed())).or_closed()
        }
        (MALFORMED, _) => Ruling::closed(Reason::Malformed),
        (LOST, _) => Ruling::closed(Reason::Tainted),
        _ => Ruling::closed(Reason::Protocol),
    };
    (ruling, ground.policy.tag, ground.observed)
}

/// The [`Answer`] of a session's policy about where a socket is connected to, when it is not
/// to be connected but is already.
#[inline(always)]
pub(super) fn anew(label: &SocketLabel, slot: u32, to: &Destination, protocol: u16) -> Ruling {
    let Some(protocol) = Protocols::of_socket(protocol) else {
        return Ruling::closed(Reason::Protocol);
    };
    let namespace = label.namespace;
    let with = With { port: to.port, protocol, multipath: false, has_socket: true, namespace };
    let place = u64::from(slot) << 32 | u64::from(namespace);
    let Address { high, low } = to.address;
    Answer(egress_answer(high, low, label.session, place, with.packed())).or_closed()
}

/// What counts beside the address.
#[derive(Clone, Copy)]
struct With {
    port: u16,
    protocol: Protocols,
    /// Whether it is sent by MPTCP, which cannot be read.
    multipath: bool,
    /// Whether there is a socket at all, of which the namespace is known.
    has_socket: bool,
    /// The number of the network namespace.
    namespace: u32,
}

impl With {
    #[inline(always)]
    fn new(to: &Destination, protocol: Protocols, socket: &Socket) -> Self {
        let has_socket = !socket.sock.is_null();
        // SAFETY: a `struct sock` of a hook's argument, not null.
        let namespace = if has_socket { unsafe { socket::namespace(socket.sock) } } else { 0 };
        let multipath = socket.protocol == net::IPPROTO_MPTCP;
        Self { port: to.port, protocol, multipath, has_socket, namespace }
    }

    /// All but the namespace, in one number.
    #[inline(always)]
    fn packed(self) -> u64 {
        u64::from(self.port)
            | u64::from(self.protocol.0) << 16
            | u64::from(self.multipath) << 24
            | u64::from(self.has_socket) << 25
    }

    /// What was packed.
    #[inline(always)]
    fn unpacked(packed: u64, namespace: u32) -> Self {
        Self {
            port: packed as u16,
            protocol: Protocols((packed >> 16) as u8),
            multipath: packed >> 24 & 1 != 0,
            has_socket: packed >> 25 & 1 != 0,
            namespace,
        }
    }
}

/// The [`Answer`] of a policy about an address: a function that the verifier walks through
/// once for all who call it, and so one that takes and gives numbers alone. `place` is the
/// policy's slot and the network namespace, `with` a [`With`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn egress_answer(high: u64, low: u64, session: u64, place: u64, with: u64) -> u64 {
    let slot = (place >> 32) as u32;
    let Some(policy) = POLICIES.get(slot) else {
        return Answer::of(Ruling::closed(Reason::NoPolicy)).0;
    };
    let with = With::unpacked(with, place as u32);
    let to = Destination { address: Address { high, low }.reached(), port: with.port };
    // Before the search, not after it: the verifier would walk through it anew for every way
    // that the search can end.
    let otherwise =
        Answer(opaque::number(otherwise(session, slot, policy, to, with).0, policy.tag));
    let answer = remembered(slot, policy, to, with.protocol);
    // A rule that speaks of the address holds.
    let spoken = answer.is_default() && otherwise.0 != Answer::NONE.0;
    if spoken { otherwise.0 } else { answer.0 }
}

/// What holds where no rule speaks of the address, if anything does: the session's own
/// ports, the names that led there, the policy's resolvers.
#[inline(always)]
fn otherwise(session: u64, slot: u32, policy: &PolicyEntry, to: Destination, with: With) -> Answer {
    if own(session, to, with) {
        return Answer::of(Ruling::OWN);
    }
    if !resolve::is_checked(policy) {
        return Answer::NONE;
    }
    if resolve::is_for_names(to.port) && !with.protocol.meets(Protocols::ICMP) {
        let may =
            to.port == dns::PORT && !with.multipath && names::is_resolver(slot, policy, to.address);
        let verdict = if may { Verdict::Allow } else { Verdict::Deny };
        return Answer::of(Ruling { verdict, reason: Reason::Resolver, rule: RULE_NONE });
    }
    if !with.has_socket {
        return Answer::NONE;
    }
    let answer = names::ruling(session, with.namespace, slot, policy.lists, to, with.protocol);
    // The packets of MPTCP are not the socket's own, so its first bytes could not be read.
    let unread = with.multipath && policy.dns & egress_dns::TLS_OFF == 0;
    if unread && answer.0 != Answer::NONE.0 {
        return Answer::of(Ruling::closed(Reason::Protocol));
    }
    answer
}

/// Whether the destination is on this host, and where the session listens itself.
#[inline(always)]
fn own(session: u64, to: Destination, with: With) -> bool {
    if !with.has_socket || !to.address.is_loopback() || with.protocol != Protocols::TCP {
        return false;
    }
    let mut key = ListenKey {
        address: to.address,
        session,
        namespace: with.namespace,
        port: to.port,
        reserved: 0,
    };
    // SAFETY: only whether it is there counts.
    if unsafe { LISTENERS.get(key) }.is_some() {
        return true;
    }
    key.address = to.address.any();
    // SAFETY: as above.
    unsafe { LISTENERS.get(key) }.is_some()
}

/// The evaluator's ruling, from memory where it has been asked before.
#[inline(always)]
fn remembered(slot: u32, policy: &PolicyEntry, to: Destination, protocol: Protocols) -> Answer {
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
