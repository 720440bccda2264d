//! What is kept between a question for a name, its answer, and the connection that
//! follows: the questions that sessions wait for an answer to, and the addresses that
//! answers gave them.

use bytemuck::{Pod, Zeroable};

use crate::answer::Answer;
use crate::egress::{self, PolicyEntry, dns};
use crate::name::NAME_BYTES;
use crate::net::{Address, Destination, Protocols};
use crate::verdict::{RULE_NONE, Reason, Verdict};

/// How many servers of names can be known: the host's own, and those of all policies.
pub const MAX_RESOLVERS: u32 = 32_768;
/// How many questions can wait for their answers; the oldest are forgotten first.
pub const MAX_ASKED: u32 = 16_384;
/// How many addresses can be known to all sessions.
pub const MAX_LEARNED: u32 = 262_144;
/// How many different lists of port rules an address can have been learned for: hosts of
/// many names have one address.
pub const REFERENCES: usize = 4;
/// How many new addresses a session can learn in a [`WINDOW`]: more are not learned, so
/// that a session that has names answered without end takes no room from others.
pub const LEARN_LIMIT: u64 = 4096;
/// Seconds.
pub const WINDOW: u64 = 600;

/// The [`ResolverKey::policy`] of the host's own resolvers.
pub const SYSTEM: u32 = u32::MAX;

/// A server that may be asked for names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct ResolverKey {
    /// Its address.
    pub address: Address,
    /// The policy's slot, or [`SYSTEM`].
    pub policy: u32,
    /// Zero.
    pub reserved: u32,
}

/// What a question is known by when its answer comes. The socket stands for the session,
/// its namespace and its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct AskedKey {
    /// The cookie of the socket.
    pub socket: u64,
    /// The message's id.
    pub id: u16,
    /// The type of records.
    pub kind: u16,
    /// A number made from the address of who is asked: musl asks all its servers under one id.
    pub server: u32,
}

impl AskedKey {
    /// The key of a question to a server.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the halves are folded")]
    pub const fn new(socket: u64, id: u16, kind: u16, server: &Address) -> Self {
        let both = server.high.rotate_left(7) ^ server.low;
        Self { socket, id, kind, server: (both ^ both >> 32) as u32 }
    }
}

/// A question that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Asked {
    /// Who was asked.
    pub resolver: Address,
    /// What its addresses are learned for, a [`Reference`] without an end; 0 for nothing.
    pub of: u64,
    /// The rule that let the question through.
    pub rule: u32,
    /// Whose numbers those are, see [`PolicyEntry::lists`].
    pub lists: u32,
    /// The name, as [`crate::name::Key`] has it.
    pub name: [u8; NAME_BYTES],
    /// Zero.
    pub reserved: [u8; 2],
}

/// What an address is known by that a session learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct LearnKey {
    /// The address.
    pub address: Address,
    /// The session.
    pub session: u64,
    /// The number of the network namespace in which it was learned: who makes a namespace
    /// can answer there whatever he likes.
    pub namespace: u32,
    /// Whose numbers those of the lists are, see [`PolicyEntry::lists`].
    pub lists: u32,
}

/// For what an address was learned: [`Reference`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Learned {
    /// In no order; 0 where there is none.
    pub references: [u64; REFERENCES],
}

/// How many bits the numbers of lists and names take.
pub const NUMBER_BITS: u32 = 18;
const END_BITS: u32 = 64 - 2 * NUMBER_BITS;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;
/// The last end that can be remembered, eight years after boot.
const LAST: u32 = (1 << END_BITS) - 1;

/// What an address was learned for, a name and its list of port rules, and until when the
/// address is good for it. In one number, so that it is replaced whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference(pub u64);

impl Reference {
    /// For nothing.
    pub const NONE: Self = Self(0);

    /// For a list, and for one name of those that have it, by its number; 0 for several of
    /// them. It has no end yet.
    #[inline(always)]
    #[must_use]
    pub const fn of(list: u32, number: u32) -> Self {
        let (list, number) = (list as u64 & NUMBER_MASK, number as u64 & NUMBER_MASK);
        Self(list << (NUMBER_BITS + END_BITS) | number << END_BITS)
    }

    /// The same until another end, in seconds since boot.
    #[inline(always)]
    #[must_use]
    pub const fn ending(self, until: u32) -> Self {
        let until = if until > LAST { LAST } else { until };
        Self(self.0 >> END_BITS << END_BITS | until as u64)
    }

    /// The list.
    #[inline(always)]
    #[must_use]
    pub const fn list(self) -> u32 {
        (self.0 >> (NUMBER_BITS + END_BITS)) as u32
    }

    /// The name's number, or 0 where it is for several of one list.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u32 {
        (self.0 >> END_BITS & NUMBER_MASK) as u32
    }

    /// Until when it is good, in seconds since boot.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "it has 28 bits")]
    pub const fn until(self) -> u32 {
        (self.0 & LAST as u64) as u32
    }

    /// Whether it is good at a time, in seconds since boot.
    #[inline(always)]
    #[must_use]
    pub const fn lives(self, now: u32) -> bool {
        self.until() > now
    }

    /// Both of two for the same list: for the one name, or for several, until the later end.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        let number = if self.number() == other.number() { self.number() } else { 0 };
        let later = if self.until() > other.until() { self } else { other };
        Self::of(self.list(), number).ending(later.until())
    }
}

/// Until when an answer is good that lives for `ttl` seconds.
#[inline(always)]
#[must_use]
pub const fn until(policy: &PolicyEntry, ttl: u32, now: u32) -> u32 {
    let least = if ttl < policy.floor { policy.floor } else { ttl };
    let life = if least > policy.cap { policy.cap } else { least };
    now.saturating_add(life)
}

/// What the names that an address was learned for say of a port: the mildest of what they
/// say. [`Answer::NONE`] where none speaks of it.
///
/// Programs connect a UDP socket to see which address of theirs would be used, without a
/// port (RFC 6724, as glibc does it); nothing is sent by that, nor could it be.
#[inline(always)]
pub fn decide<T: egress::Table>(
    table: &T,
    slot: u32,
    learned: &Learned,
    now: u32,
    to: Destination,
    protocol: Protocols,
) -> Answer {
    let mut mildest = Answer::NONE.0;
    let mut lives = false;
    for reference in &learned.references {
        let reference = Reference(*reference);
        if !reference.lives(now) {
            continue;
        }
        lives = true;
        let answer = egress::answer_list(table, slot, reference.list(), to.port, protocol).0;
        // The verdict stands above the rule.
        if answer < mildest {
            mildest = answer;
        }
    }
    let probes = lives && to.port == 0 && protocol.meets(Protocols::UDP);
    if probes {
        mildest = Answer::raw(Verdict::Allow as u8, Reason::Rule, RULE_NONE).0;
    }
    // Allowed, to be audited, or to be asked about.
    let may = mildest >> 32 <= Verdict::Ask as u64;
    if may { Answer(mildest | (Reason::Name as u64) << 40) } else { Answer(mildest) }
}

/// Whether an answer for a name of the policy may give this address: one outside, or one
/// that the policy names. Where a cloud answers questions about the machine is only named
/// by that very address.
#[inline(never)]
#[must_use]
pub fn may_learn(policy: &PolicyEntry, address: Address) -> bool {
    if !address.is_inside() {
        return true;
    }
    let least = if address.is_metadata() { 128 } else { 0 };
    let mut named = false;
    for (at, prefix) in (0u8..).zip(&policy.inside) {
        named |= at < policy.inside_count && prefix.bits >= least && holds(prefix, address);
    }
    named
}

/// Whether a network holds an address. One of IPv6 holds none of IPv4.
#[inline(never)]
#[expect(clippy::cast_possible_truncation, reason = "at most 128")]
fn holds(prefix: &egress::Prefix, address: Address) -> bool {
    address.prefix(prefix.bits as u8) == prefix.address
        && address.is_v4() == (prefix.address.is_v4() && prefix.bits >= 96)
}

/// Whether a port is one of name servers, or of hosts that ask one another: where the
/// policy has rules by name, only its resolvers are asked, and only by what can be read.
#[inline(always)]
#[must_use]
pub const fn is_for_names(port: u16) -> bool {
    port == crate::dns::PORT
        || port == crate::dns::NEIGHBOUR_PORTS[0]
        || port == crate::dns::NEIGHBOUR_PORTS[1]
}

/// Whether questions are decided by the policy's rules.
#[inline(always)]
#[must_use]
pub const fn is_checked(policy: &PolicyEntry) -> bool {
    policy.dns & dns::CHECKED != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::Prefix;

    fn policy(inside: &[(Address, u32)]) -> PolicyEntry {
        let mut policy = PolicyEntry { floor: 60, cap: 600, ..PolicyEntry::zeroed() };
        for (place, (address, bits)) in policy.inside.iter_mut().zip(inside) {
            *place = Prefix { address: *address, bits: *bits, reserved: 0 };
            policy.inside_count += 1;
        }
        policy
    }

    #[test]
    fn a_life_has_a_floor_and_a_cap() {
        let policy = policy(&[]);
        for (ttl, expected) in [(0, 1060), (60, 1060), (300, 1300), (9000, 1600)] {
            assert_eq!(until(&policy, ttl, 1000), expected, "{ttl}");
        }
        assert_eq!(until(&policy, 60, u32::MAX), u32::MAX);
    }

    #[test]
    fn a_reference_ends() {
        let reference = Reference::of(7, 300).ending(100);
        assert_eq!((reference.list(), reference.number(), reference.until()), (7, 300, 100));
        assert!(reference.lives(99) && !reference.lives(100));
        assert_eq!(reference.ending(u32::MAX).number(), 300);
        assert!(reference.ending(u32::MAX).lives(LAST - 1));
        let (last, all) = (crate::name::MAX_NAMES, Reference(u64::MAX));
        assert_eq!((all.list(), all.number(), all.until()), (last, last, LAST));
        assert!(!Reference(0).lives(0));
    }

    #[test]
    fn two_names_of_one_list_are_several() {
        let one = Reference::of(7, 300).ending(100);
        let same = Reference::of(7, 300).ending(90);
        let other = Reference::of(7, 301).ending(200);
        assert_eq!(one.with(same), one);
        assert_eq!(one.with(other), Reference::of(7, 0).ending(200));
        assert_eq!(one.with(other).with(one), Reference::of(7, 0).ending(200));
    }

    #[test]
    fn addresses_inside_are_learned_where_the_policy_names_them() {
        let ten = Address::v4(0x0a01_0203);
        let metadata = Address::v4(0xa9fe_a9fe);
        assert!(may_learn(&policy(&[]), Address::v4(0x0808_0808)));
        assert!(!may_learn(&policy(&[]), ten));
        assert!(may_learn(&policy(&[(Address::v4(0x0a00_0000), 104)]), ten));
        assert!(!may_learn(&policy(&[(Address::v4(0x0b00_0000), 104)]), ten));
        // All of IPv6 is not IPv4.
        assert!(!may_learn(&policy(&[(Address::ANY6, 0)]), ten));
        assert!(may_learn(&policy(&[(Address::ANY6, 0)]), Address { high: 0, low: 1 }));
        assert!(!may_learn(&policy(&[(Address::v4(0), 96)]), metadata));
        assert!(may_learn(&policy(&[(metadata, 128)]), metadata));
        // What is not in use does not count.
        let unused = PolicyEntry { inside_count: 0, ..policy(&[(ten, 128)]) };
        assert!(!may_learn(&unused, ten));
    }
}
