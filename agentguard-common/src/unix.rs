//! Unix sockets as the evaluator sees them: by the name that the *other* socket was
//! bound to, which whoever connects cannot change. A link, a bind mount or another
//! spelling of the path leads to the same socket, and so to the same name.
//!
//! Rules are names and beginnings of names; the longest that fits decides. They stand
//! in a trie under the policy's slot.

use bytemuck::{Pod, Zeroable};

use crate::egress::{PolicyEntry, by_default};
use crate::verdict::{Reason, Ruling, Verdict};

/// The bytes of the longest name (`sun_path`).
pub const NAME_LEN: usize = 108;
/// How many names all policies together can have.
pub const MAX_RULES: u32 = 131_072;
/// The slot of the rules that are built in, which no policy has.
pub const BUILTIN: u32 = u32::MAX;

/// The name of a unix socket: a path, or after a NUL an abstract name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct Name(pub [u8; NAME_LEN]);

/// The key of a rule, as the kernel's tries have it: how many of the bits behind it
/// count, then those bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct Key {
    /// How many bits of the policy's slot and the name count.
    pub bits: u32,
    /// The policy's slot.
    pub policy: u32,
    /// The name, zero beyond its end.
    pub name: Name,
}

impl Key {
    /// The bits of a whole name. The zeros behind it count, so that it is the beginning
    /// of no other.
    #[expect(clippy::cast_possible_truncation, reason = "a small number")]
    pub const WHOLE: u32 = (size_of::<u32>() + NAME_LEN) as u32 * 8;

    /// The key for a whole name, or for all that begin with it.
    ///
    /// `None` where it is empty or too long.
    #[must_use]
    pub fn new(policy: u32, text: &[u8], whole: bool) -> Option<Self> {
        let mut name = Name([0; NAME_LEN]);
        name.0.get_mut(..text.len()).filter(|room| !room.is_empty())?.copy_from_slice(text);
        let bits = (size_of::<u32>() + text.len()) * 8;
        let bits = if whole { Self::WHOLE } else { u32::try_from(bits).ok()? };
        Some(Self { bits, policy, name })
    }
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Rule {
    /// Its [`Verdict`].
    pub verdict: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Its number in the policy.
    pub rule: u32,
    /// The bits of its key.
    pub bits: u32,
}

/// Where the evaluator finds rules: the kernel's trie, or a table in memory.
pub trait Table {
    /// The rule with the longest key that `key`, a whole name, begins with.
    fn longest(&self, key: &Key) -> Option<&Rule>;
}

/// Decides on a unix socket of that name: by the policy's rule or the built-in one,
/// whichever is longer, the policy's where both are the same. Where none speaks of it,
/// the default of the policy's egress section holds. The key is used up.
#[inline(always)]
pub fn decide<T: Table>(table: &T, policy: &PolicyEntry, key: &mut Key) -> Ruling {
    if policy.tag == 0 {
        return Ruling::closed(Reason::NoPolicy);
    }
    let own = table.longest(key);
    key.policy = BUILTIN;
    let found = match (own, table.longest(key)) {
        (Some(own), Some(builtin)) if own.bits < builtin.bits => Some(builtin),
        (None, builtin) => builtin,
        (own, _) => own,
    };
    match found {
        Some(found) => match Verdict::from_u8(found.verdict) {
            Some(verdict) => Ruling { verdict, reason: Reason::Rule, rule: found.rule },
            None => Ruling::closed(Reason::NoPolicy),
        },
        None => by_default(policy),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    struct Rules(Vec<(Key, Rule)>);

    impl Table for Rules {
        fn longest(&self, key: &Key) -> Option<&Rule> {
            let fits = |(rule, _): &&(Key, Rule)| {
                let bytes = rule.bits as usize / 8 - 4;
                rule.policy == key.policy && rule.name.0[..bytes] == key.name.0[..bytes]
            };
            self.0.iter().filter(fits).max_by_key(|(rule, _)| rule.bits).map(|(_, rule)| rule)
        }
    }

    fn policy() -> PolicyEntry {
        PolicyEntry { tag: 1, egress_default: Verdict::Deny as u8, ..PolicyEntry::zeroed() }
    }

    fn rules() -> Rules {
        let rule = |policy, text: &[u8], whole, verdict, rule| {
            let key = Key::new(policy, text, whole).unwrap();
            (key, Rule { verdict: verdict as u8, reserved: [0; 3], rule, bits: key.bits })
        };
        Rules(std::vec![
            rule(0, b"/run/db/", false, Verdict::Allow, 1),
            rule(0, b"/run/db/admin", true, Verdict::Deny, 2),
            rule(0, b"\0x11", true, Verdict::Allow, 3),
            rule(0, b"/run/named", true, Verdict::Allow, 4),
            rule(0, b"/run/all/", false, Verdict::Allow, 5),
            rule(BUILTIN, b"/run/named", true, Verdict::Deny, 90),
            rule(BUILTIN, b"/run/all/manager", true, Verdict::Deny, 91),
            rule(BUILTIN, b"/run/lookup", true, Verdict::Allow, 92),
        ])
    }

    fn verdict(text: &[u8]) -> (Verdict, u32) {
        let ruling = decide(&rules(), &policy(), &mut Key::new(0, text, true).unwrap());
        (ruling.verdict, ruling.rule)
    }

    #[test]
    fn what_is_built_in_holds_unless_it_is_named() {
        assert_eq!(verdict(b"/run/named"), (Verdict::Allow, 4));
        assert_eq!(verdict(b"/run/all/else"), (Verdict::Allow, 5));
        assert_eq!(verdict(b"/run/all/manager"), (Verdict::Deny, 91));
        assert_eq!(verdict(b"/run/lookup"), (Verdict::Allow, 92));
    }

    #[test]
    fn the_longest_name_that_fits_decides() {
        assert_eq!(verdict(b"/run/db/5432"), (Verdict::Allow, 1));
        assert_eq!(verdict(b"/run/db/admin"), (Verdict::Deny, 2));
        assert_eq!(verdict(b"/run/db/admin2"), (Verdict::Allow, 1));
        assert_eq!(verdict(b"/run/d"), (Verdict::Deny, 0));
        assert_eq!(verdict(b"run/db/5432"), (Verdict::Deny, 0), "a path without its beginning");
    }

    #[test]
    fn abstract_names_are_apart_from_paths_and_whole() {
        assert_eq!(verdict(b"\0x11"), (Verdict::Allow, 3));
        assert_eq!(verdict(b"x11"), (Verdict::Deny, 0));
        assert_eq!(verdict(b"\0x11\0more"), (Verdict::Deny, 0));
    }

    #[test]
    fn names_that_cannot_be_are_no_keys() {
        assert!(Key::new(0, b"", true).is_none());
        assert!(Key::new(0, &[b'a'; NAME_LEN + 1], true).is_none());
        assert!(Key::new(0, &[b'a'; NAME_LEN], true).is_some());
    }

    #[test]
    fn a_broken_table_is_a_denial() {
        let broken = Rule { verdict: 99, reserved: [0; 3], rule: 1, bits: 8 };
        let rules = Rules(std::vec![(Key::new(0, b"/a", true).unwrap(), broken)]);
        let ruling = decide(&rules, &policy(), &mut Key::new(0, b"/a", true).unwrap());
        assert_eq!(ruling, Ruling::closed(Reason::NoPolicy));
        let free = PolicyEntry::zeroed();
        assert!(!decide(&rules, &free, &mut Key::new(0, b"/b", true).unwrap()).verdict.passes());
    }
}
