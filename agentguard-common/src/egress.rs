//! The egress evaluator: from a destination to a ruling, through tables that
//! the policy compiler has filled.
//!
//! Rules have address prefixes. Finding the longest one that holds an address is
//! done by binary search over the prefix *lengths* that the policy uses (Waldvogel
//! et al., "Scalable High Speed IP Routing Lookups", 1997): each step is one hash
//! look-up, so the cost grows with the logarithm of the number of different
//! lengths, at most eight steps, and not with the number of rules. To steer the
//! search, the compiler adds markers at the lengths that the search passes on its
//! way to a longer prefix. Every entry, marker or not, holds the complete ordered
//! list of the rules that apply to its prefix, those of shorter prefixes after
//! its own; so the last entry found is all that is needed, and the first rule of
//! it that fits port and protocol decides.

use crate::answer::Answer;
use crate::net::{Address, Destination, Protocols, V4_PREFIX_BITS};
use crate::opaque;
use crate::verdict::{Reason, Ruling, Verdict};
use bytemuck::{Pod, Zeroable};

/// How many policies the kernel can hold at once: those in force and those that
/// running sessions still use.
pub const MAX_POLICIES: u32 = 4096;
/// How many prefixes, markers included, the kernel can hold for all policies.
pub const MAX_ENTRIES: u32 = 262_144;
/// How many spill blocks the kernel can hold for all policies.
pub const MAX_BLOCKS: u32 = 8192;
/// Rules that an entry holds itself.
pub const INLINE_RULES: usize = 4;
/// Rules that a spill block holds. Together with the inline ones this is how
/// many port rules may apply to one prefix.
pub const BLOCK_RULES: usize = 64;

/// The look-ups that finding a prefix can take: `log2(129)`, rounded up.
const STEPS: u32 = 8;
/// Where the lengths of IPv6 prefixes begin in [`PolicyEntry::lengths`].
pub const V6_LENGTHS: u32 = 64;

/// A policy as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PolicyEntry {
    /// The first eight bytes of [`hash`](Self::hash), never 0: 0 marks a free slot.
    pub tag: u64,
    /// The SHA-256 of the policy file.
    pub hash: [u8; 32],
    /// The [`Verdict`] where no rule matches.
    pub egress_default: u8,
    /// How many lengths of IPv4 prefixes there are (0 to 33).
    pub v4_count: u8,
    /// How many lengths of IPv6 prefixes there are (0 to 129).
    pub v6_count: u8,
    /// [`dns`] bits.
    pub dns: u8,
    /// How many of [`inside`](Self::inside) are in use.
    pub inside_count: u8,
    /// Zero.
    pub reserved: u8,
    /// The [`Power::bit`](crate::host::Power::bit)s of what is open to the session.
    pub host: u16,
    /// How long an address is usable that an answer gave, at the least, in seconds.
    pub floor: u32,
    /// At the most.
    pub cap: u32,
    /// Which policy's numbers those of its lists are: the lower half of the
    /// [`tag`](Self::tag) of what holds for sessions that are not tainted.
    pub lists: u32,
    /// How long calls are held that a rule says `ask` of, in seconds.
    pub patience: u32,
    /// The networks inside of which (see [`crate::net::Address::is_inside`]) the names of
    /// the policy may have addresses.
    pub inside: [Prefix; MAX_INSIDE],
    /// The lengths in bits, ascending, of the prefixes and markers: those of IPv4
    /// from 0 (as lengths of mapped addresses, 96 to 128), those of IPv6 from
    /// [`V6_LENGTHS`].
    pub lengths: [u8; 256],
}

impl PolicyEntry {
    /// What lists of the policy with that tag are told by, see [`Self::lists`].
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "half of it is enough to tell them apart")]
    pub const fn lists_of(tag: u64) -> u32 {
        tag as u32
    }
}

/// How many networks a policy can name in [`PolicyEntry::inside`].
pub const MAX_INSIDE: usize = 8;

/// Bits of [`PolicyEntry::dns`].
pub mod dns {
    /// The policy has rules by name: questions to resolvers are decided by those, and no
    /// other server may be asked.
    pub const CHECKED: u8 = 1;
    /// The host's own resolvers may be asked.
    pub const SYSTEM: u8 = 2;
    /// The names in TLS handshakes are not looked at.
    pub const TLS_OFF: u8 = 4;
    /// Handshakes that show no name are refused.
    pub const TLS_STRICT: u8 = 8;
}

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Prefix {
    /// The address, zero beyond the prefix.
    pub address: Address,
    /// The prefix's length, 0 to 128.
    pub bits: u32,
    /// Zero.
    pub reserved: u32,
}

/// The key of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct Key {
    /// The policy's slot.
    pub policy: u32,
    /// The prefix's length, 0 to 128.
    pub bits: u32,
    /// The address, zero beyond the prefix.
    pub address: Address,
}

/// One rule at one prefix: a range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct PortRule {
    /// The first port it covers.
    pub first: u16,
    /// The last port it covers.
    pub last: u16,
    /// The [`Protocols`] it covers.
    pub protocols: u8,
    /// Its [`Verdict`].
    pub verdict: u8,
    /// Zero.
    pub reserved: u16,
    /// The number of the rule in the policy.
    pub rule: u32,
}

impl PortRule {
    /// In two comparisons: each is a fork in the road to the kernel's verifier.
    #[inline(always)]
    const fn covers(&self, port: u16, protocol: Protocols) -> bool {
        port.wrapping_sub(self.first) <= self.last.wrapping_sub(self.first)
            && Protocols(self.protocols).meets(protocol)
    }

    /// What it says; a byte that is no verdict comes out as no ruling, and is denied.
    #[inline(always)]
    const fn answer(&self) -> Answer {
        Answer::raw(self.verdict, Reason::Rule, self.rule)
    }
}

/// The rules that apply to a prefix, most specific first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Entry {
    /// How many of [`rules`](Self::rules) are in use.
    pub count: u32,
    /// The block with the rules that did not fit; 0 where all did.
    pub block: u32,
    /// The rules.
    pub rules: [PortRule; INLINE_RULES],
}

/// The key of a spill block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct BlockKey {
    /// The policy's slot.
    pub policy: u32,
    /// The block's number within the policy, from 1.
    pub block: u32,
}

/// The rules that did not fit into an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Block {
    /// How many of [`rules`](Self::rules) are in use.
    pub count: u32,
    /// Zero.
    pub reserved: u32,
    /// The rules.
    pub rules: [PortRule; BLOCK_RULES],
}

/// Where the evaluator finds entries: the kernel's maps, or a table in memory.
pub trait Table {
    /// The entry at a prefix.
    fn entry(&self, key: &Key) -> Option<&Entry>;
    /// A spill block.
    fn block(&self, key: &BlockKey) -> Option<&Block>;
    /// What the rules at a key say: [`says`], which the kernel keeps in a function of its own.
    #[inline(always)]
    fn says(&self, key: &Key, port: u16, protocol: Protocols) -> Answer {
        says(self, key, port, protocol)
    }
}

/// Decides a destination by the policy in `slot`.
///
/// A broken table (an entry that names a block that is not there, a byte that is
/// no verdict) is a denial.
#[inline(always)]
pub fn decide<T: Table>(
    table: &T,
    slot: u32,
    policy: &PolicyEntry,
    to: Destination,
    protocol: Protocols,
) -> Ruling {
    let to = Destination { address: to.address.reached(), ..to };
    decide_reached(table, slot, policy, to, protocol)
}

/// The same for the address that is [reached](Address::reached).
#[inline(always)]
pub fn decide_reached<T: Table>(
    table: &T,
    slot: u32,
    policy: &PolicyEntry,
    to: Destination,
    protocol: Protocols,
) -> Ruling {
    answer_reached(table, slot, policy, to, protocol).or_closed()
}

/// The same as a number, as the kernel hooks carry it.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "at most 128 bits")]
pub fn answer_reached<T: Table>(
    table: &T,
    slot: u32,
    policy: &PolicyEntry,
    to: Destination,
    protocol: Protocols,
) -> Answer {
    if policy.tag == 0 {
        return Answer::of(Ruling::closed(Reason::NoPolicy));
    }
    let found = find(table, slot, policy, to.address);
    let answer = if found == NOT_FOUND {
        Answer::NONE
    } else {
        table.says(&key(slot, found as u8, to.address), to.port, protocol)
    };
    if answer.0 == Answer::NONE.0 {
        return Answer::raw(policy.egress_default, Reason::Default, crate::verdict::RULE_NONE);
    }
    answer
}

#[inline(always)]
pub(crate) fn by_default(policy: &PolicyEntry) -> Ruling {
    match Verdict::from_u8(policy.egress_default) {
        Some(verdict) => {
            Ruling { verdict, reason: Reason::Default, rule: crate::verdict::RULE_NONE }
        }
        None => Ruling::closed(Reason::NoPolicy),
    }
}

/// What [`find`] says where there is nothing: no number of bits.
const NOT_FOUND: u64 = u64::MAX;

/// How many bits the longest prefix has, or marker, on the way to `address`; as a number, and
/// not the entry itself, so that the verifier can forget which way led there.
#[inline(always)]
fn find<T: Table>(table: &T, slot: u32, policy: &PolicyEntry, address: Address) -> u64 {
    // 64 bits wide, as registers are: anything narrower is cut again at each step.
    let (base, mut high) = if address.is_v4() {
        (0, u64::from(policy.v4_count))
    } else {
        (u64::from(V6_LENGTHS), u64::from(policy.v6_count))
    };
    // From here on both go the same way.
    let base = opaque::number(base, policy.tag);
    let address = opaque::address(address, policy.tag);
    let mut low = 0;
    let mut best = NOT_FOUND;
    for _ in 0..STEPS {
        if low >= high {
            break;
        }
        let middle = (low + high) >> 1;
        // The mask says to the kernel's verifier what the counts say to us.
        let bits = policy.lengths[((base + middle) & 0xff) as usize];
        if table.entry(&key(slot, bits, address)).is_some() {
            best = u64::from(bits);
            low = middle + 1;
        } else {
            high = middle;
        }
        // For the verifier, which would otherwise walk every way through the search by itself
        // to its end, and there are 256.
        low = opaque::number(low, policy.tag);
        high = opaque::number(high, policy.tag);
        best = opaque::number(best, policy.tag);
    }
    best
}

/// The key of the prefix of so many bits that `address` has.
#[inline(always)]
const fn key(slot: u32, bits: u8, address: Address) -> Key {
    Key { policy: slot, bits: bits as u32, address: address.prefix(bits) }
}

/// What the rules at a key say; [`Answer::NONE`] where none of them covers port and
/// protocol. Rules that are not there are a denial.
#[inline(always)]
pub fn says<T: Table + ?Sized>(table: &T, key: &Key, port: u16, protocol: Protocols) -> Answer {
    match table.entry(key) {
        Some(entry) => scan(table, key.policy, entry, port, protocol),
        None => Answer::of(Ruling::closed(Reason::NoPolicy)),
    }
}

/// What the first rule of an entry says that covers port and protocol;
/// [`Answer::NONE`] where none does.
#[inline(always)]
fn scan<T: Table + ?Sized>(
    table: &T,
    slot: u32,
    entry: &Entry,
    port: u16,
    protocol: Protocols,
) -> Answer {
    for (at, rule) in (0u32..).zip(&entry.rules) {
        if at >= entry.count {
            return Answer::NONE;
        }
        if rule.covers(port, protocol) {
            return rule.answer();
        }
    }
    if entry.block == 0 {
        return Answer::NONE;
    }
    let Some(block) = table.block(&BlockKey { policy: slot, block: entry.block }) else {
        return Answer::of(Ruling::closed(Reason::NoPolicy));
    };
    for (at, rule) in (0u32..).zip(&block.rules) {
        if at >= block.count {
            return Answer::NONE;
        }
        if rule.covers(port, protocol) {
            return rule.answer();
        }
    }
    Answer::NONE
}

/// What a name's list of port rules ([`crate::name`]) says to a port;
/// [`Answer::NONE`] where nothing in it covers that, so that the policy's default holds.
///
/// A list that is not there is a denial.
#[inline(always)]
pub fn answer_list<T: Table>(
    table: &T,
    slot: u32,
    list: u32,
    port: u16,
    protocol: Protocols,
) -> Answer {
    table.says(&crate::name::list_key(slot, list), port, protocol)
}

/// The length that a prefix written with `bits` has in the table: IPv4 prefixes
/// stand at their mapped place.
#[must_use]
pub const fn table_bits(v4: bool, bits: u8) -> u8 {
    if v4 { V4_PREFIX_BITS + bits } else { bits }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::list_key;

    /// A table of one list, which holds one rule.
    struct One(Entry);

    impl Table for One {
        fn entry(&self, key: &Key) -> Option<&Entry> {
            (*key == list_key(3, 1)).then_some(&self.0)
        }

        fn block(&self, _: &BlockKey) -> Option<&Block> {
            None
        }
    }

    #[test]
    fn a_list_says_what_it_covers_and_one_that_is_missing_denies() {
        let mut entry = Entry::zeroed();
        entry.count = 1;
        entry.rules[0] = PortRule {
            first: 443,
            last: 443,
            protocols: Protocols::TCP.0,
            verdict: Verdict::Allow as u8,
            reserved: 0,
            rule: 7,
        };
        let table = One(entry);
        let decide = |slot, list, port| answer_list(&table, slot, list, port, Protocols::TCP);
        let allowed = Ruling { verdict: Verdict::Allow, reason: Reason::Rule, rule: 7 };
        let closed = Answer::of(Ruling::closed(Reason::NoPolicy));
        assert_eq!(decide(3, 1, 443), Answer::of(allowed));
        assert_eq!(decide(3, 1, 80), Answer::NONE);
        assert_eq!(decide(3, 2, 443), closed);
        assert_eq!(decide(4, 1, 443), closed);
    }
}
