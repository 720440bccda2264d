//! Names of hosts, as the policy compiler puts them into the kernel's trie and as the
//! hooks look them up there.
//!
//! A name is held reversed, in small letters, byte by byte (`moc.buhtig.ipa`), ended by a
//! NUL and filled up with more. So all names below one begin alike: `*.github.com` is the
//! beginning `moc.buhtig.`, which `github.com` itself (`moc.buhtig` and a NUL) does not
//! have; and the longest beginning that a trie finds is the most specific rule.
//!
//! What a name may be used for is said by a list of port rules, an [`Entry`] of the same
//! kind and in the same table as those of networks. Names that the same rules speak of
//! share one list.

use bytemuck::{Pod, Zeroable};

use crate::answer::Answer;
use crate::egress;
use crate::net::{Address, Protocols};
use crate::resolve::Reference;
use crate::verdict::{Reason, Ruling, Verdict};

/// The longest name in bytes, without a dot at its end (RFC 1035, 2.3.4: 255 bytes on the
/// wire).
pub const NAME_MAX: usize = 253;
/// The longest label (RFC 1035, 2.3.4).
pub const LABEL_MAX: usize = 63;
/// The bytes of a name in the table: the longest name and its NUL.
pub const NAME_BYTES: usize = NAME_MAX + 1;
/// How many names the kernel can hold for all policies.
pub const MAX_NAMES: u32 = (1 << crate::resolve::NUMBER_BITS) - 1;

/// The bits of a key that stand before its name: the policy's slot.
const SLOT_BITS: u32 = u16::BITS;

/// The key of a name, or of a beginning of names. To the kernel, what follows the bits is
/// a string of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct Key {
    /// How many bits count, those of the slot included.
    pub bits: u32,
    /// The policy's slot.
    pub policy: u16,
    /// The name, reversed.
    pub name: [u8; NAME_BYTES],
}

/// The bits of a whole key: what a look-up asks with.
pub const WHOLE: u32 = bits(NAME_MAX);

impl Key {
    /// The key of one name, which must be in small letters and without a dot at its end;
    /// `None` where it is longer than a name can be.
    #[must_use]
    pub fn exact(policy: u16, name: &str) -> Option<Self> {
        Self::reversed(policy, name, 0)
    }

    /// The key of all names below one.
    #[must_use]
    pub fn below(policy: u16, name: &str) -> Option<Self> {
        Self::reversed(policy, name, b'.')
    }

    fn reversed(policy: u16, name: &str, end: u8) -> Option<Self> {
        let mut key = Self { bits: 0, policy, name: [0; NAME_BYTES] };
        let places = key.name.get_mut(..=name.len())?;
        places.iter_mut().zip(name.bytes().rev()).for_each(|(place, byte)| *place = byte);
        *places.last_mut()? = end;
        key.bits = bits(name.len());
        Some(key)
    }
}

/// The [`Key::bits`] of a key whose last byte stands at a place of its name.
#[inline(always)]
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "a name is short")]
pub const fn bits(last: usize) -> u32 {
    SLOT_BITS + (last as u32 + 1) * u8::BITS
}

/// What the trie holds for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct Named {
    /// The number of its list of port rules, from 1.
    pub list: u32,
    /// Its own number in the policy, from 1.
    pub number: u32,
    /// The rule that decides whether the name may be asked for.
    pub rule: u32,
    /// What it says: [`Verdict::Allow`] where any port of the name is allowed.
    pub verdict: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// The [`egress::Key::bits`] of lists, which no prefix has.
const LIST_BITS: u32 = 0x100;

/// Where a list of port rules stands in the table of networks.
#[inline(always)]
#[must_use]
pub const fn list_key(policy: u32, list: u32) -> egress::Key {
    egress::Key { policy, bits: LIST_BITS, address: Address { high: 0, low: list as u64 } }
}

/// Where the evaluator finds names.
pub trait Table {
    /// What stands at the longest beginning of a name.
    fn longest(&self, key: &Key) -> Option<&Named>;
}

/// Whether a name may be asked for, and what its addresses are learned for
/// ([`Reference::NONE`] for nothing). One that a rule says `ask` of may: what people are asked
/// about are the connections that it leads to. `key` is the name
/// as [`Key::exact`] has it, with the policy's slot and all bits ([`WHOLE`]).
#[inline(always)]
pub fn ask<T: Table>(table: &T, policy: &egress::PolicyEntry, key: &Key) -> (Ruling, Reference) {
    let Some(named) = table.longest(key) else {
        return (egress::by_default(policy), Reference::NONE);
    };
    match Verdict::from_u8(named.verdict) {
        Some(verdict) => {
            let verdict =
                if verdict as u8 == Verdict::Ask as u8 { Verdict::Allow } else { verdict };
            let ruling = Ruling { verdict, reason: Reason::Rule, rule: named.rule };
            (ruling, Reference::of(named.list, named.number))
        }
        None => (Ruling::closed(Reason::NoPolicy), Reference::NONE),
    }
}

/// What a policy says to a port of a name: the first rule of the name's list that covers
/// it, or the default. Whether the name may be asked for is another question.
#[inline(always)]
pub fn decide<T: Table + egress::Table>(
    table: &T,
    policy: &egress::PolicyEntry,
    key: &Key,
    port: u16,
    protocol: Protocols,
) -> Ruling {
    let (ruling, of) = ask(table, policy, key);
    if of == Reference::NONE {
        return ruling;
    }
    let slot = u32::from(key.policy);
    let answer = egress::answer_list(table, slot, of.list(), port, protocol);
    if answer == Answer::NONE { egress::by_default(policy) } else { answer.or_closed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts_with(key: &Key, of: &Key) -> bool {
        let bytes = (of.bits - SLOT_BITS) as usize / 8;
        key.name[..bytes] == of.name[..bytes]
    }

    #[test]
    fn a_star_is_for_names_below_and_not_for_the_name_itself() {
        let star = Key::below(1, "github.com").unwrap();
        for (name, below) in [
            ("api.github.com", true),
            ("a.b.github.com", true),
            ("github.com", false),
            ("xgithub.com", false),
            ("github.com.evil.test", false),
        ] {
            assert_eq!(starts_with(&Key::exact(1, name).unwrap(), &star), below, "{name}");
        }
    }

    #[test]
    fn a_name_is_no_beginning_of_another() {
        let com = Key::exact(1, "com").unwrap();
        assert!(!starts_with(&Key::exact(1, "acom").unwrap(), &com));
        assert!(!starts_with(&Key::exact(1, "a.com").unwrap(), &com));
        assert!(starts_with(&Key::exact(1, "com").unwrap(), &com));
    }

    #[test]
    fn names_have_the_protocols_length() {
        let longest = "a".repeat(NAME_MAX);
        assert_eq!(Key::exact(0, &longest).unwrap().bits, WHOLE);
        assert_eq!(Key::exact(0, &"a".repeat(NAME_MAX + 1)), None);
        assert_eq!(size_of::<Key>() * 8 - 32, WHOLE as usize);
    }
}
