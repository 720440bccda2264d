//! What the hooks on egress share: the facts about socket and address, the call
//! of the evaluator, and the record of the decision.

use core::mem::MaybeUninit;

use agentguard_common::answer::{Answer, Question};
use agentguard_common::counter::Count;
use agentguard_common::egress::{PolicyEntry, decide as decide_afresh};
use agentguard_common::event::{self, Kind, flag};
use agentguard_common::net::{self, Destination, Protocols, SOCKADDR_MAX, Sockaddr};
use agentguard_common::session::{State, TaskLabel};
use agentguard_common::verdict::{Reason, Ruling};
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

use crate::emit::{self, Ring};
use crate::kernel::{SOCK_FAMILY, SOCK_PROTOCOL, SOCKET_SK, member};
use crate::maps::{ANSWERS, Maps, POLICIES};
use crate::session;

/// `AF_NETLINK`: talks to the kernel, not to the network.
const AF_NETLINK: u16 = 16;

/// A socket's address family and protocol.
#[derive(Clone, Copy)]
pub(super) struct Socket {
    pub(super) family: u16,
    pub(super) protocol: u16,
}

/// What a hook was asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) address: Sockaddr,
    pub(super) socket: Socket,
}

/// Families that egress rules do not speak of.
#[inline(always)]
pub(super) const fn left_alone(family: u16) -> bool {
    matches!(family, net::AF_UNIX | AF_NETLINK)
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
            return Socket { family: 0, protocol: 0 };
        }
        Socket { family: member(sock, &SOCK_FAMILY), protocol: member(sock, &SOCK_PROTOCOL) }
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
    emit::count(kind, Count::Seen);
    let (ruling, policy, observed) = rule(label, asked);
    let passes = ruling.verdict.passes();
    if matches!(ruling.reason, Reason::Malformed | Reason::NoPolicy) {
        emit::count(kind, Count::Error);
    }
    let flags = if observed { flag::OBSERVED } else { 0 };
    let (address, port) = match asked.address {
        Sockaddr::Inet(to) => (to.address.octets(), to.port),
        _ => ([0; 16], 0),
    };
    let record = event::Egress {
        header: emit::header(kind, label, flags),
        address,
        port,
        family: asked.socket.family,
        protocol: asked.socket.protocol,
        verdict: ruling.verdict as u8,
        reason: ruling.reason as u8,
        rule: ruling.rule,
        reserved: 0,
        policy,
    };
    emit::emit(if passes { Ring::Activity } else { Ring::Decisions }, kind, &record);
    passes || observed
}

/// The ruling, the tag of the policy, and whether it is only observed.
#[inline(always)]
pub(super) fn rule(label: &TaskLabel, asked: &Asked) -> (Ruling, u64, bool) {
    let Some(entry) = session::entry(label) else {
        return (Ruling::closed(Reason::NoPolicy), 0, false);
    };
    let observed = match State::from_u32(entry.state) {
        Some(State::Enforce) => false,
        Some(State::Observe) => true,
        Some(State::Ending) => return (Ruling::closed(Reason::Ending), 0, false),
        None => return (Ruling::closed(Reason::NoPolicy), 0, false),
    };
    let Some(policy) = POLICIES.get(entry.policy) else {
        return (Ruling::closed(Reason::NoPolicy), 0, false);
    };
    let ruling = match (asked.address, Protocols::of_socket(asked.socket.protocol)) {
        (Sockaddr::Inet(to), Some(protocol)) => remembered(entry.policy, policy, to, protocol),
        (Sockaddr::Malformed, _) => Ruling::closed(Reason::Malformed),
        _ => Ruling::closed(Reason::Protocol),
    };
    (ruling, policy.tag, observed)
}

/// The evaluator's ruling, from memory where it has been asked before.
#[inline(always)]
fn remembered(slot: u32, policy: &PolicyEntry, to: Destination, protocol: Protocols) -> Ruling {
    let question = Question::new(policy.tag, to, protocol);
    // SAFETY: the answer is copied at once. An entry that makes room for another in
    // between can show that one's answer only if it is taken for our key, which the
    // kernel's comparison of keys rules out at the look-up.
    let answer = unsafe { ANSWERS.get(question) }.copied();
    if let Some(ruling) = answer.and_then(|answer| answer.ruling()) {
        return ruling;
    }
    let ruling = decide_afresh(&Maps, slot, policy, to, protocol);
    if let Some(answer) = Answer::of(ruling) {
        // Where there is no room, the next time is as slow as this.
        let _ = ANSWERS.insert(question, answer, 0);
    }
    ruling
}
