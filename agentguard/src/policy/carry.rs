//! What a session learned of names, from one policy to the next.
//!
//! An address is remembered with the numbers of the name it was learned for and of that name's
//! list of port rules, and those numbers are of one policy. A session that goes on under another
//! one keeps an address where all names that the number stands for (below `*.example.com` there
//! are many) have one list there too. Where they part, nobody knows any more which of them it was
//! learned for, and the name has to be asked for again.

use std::collections::BTreeMap;

use agentguard_common::name;
use agentguard_common::resolve::Reference;

use super::Compiled;

/// What the names of one policy are in another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// By the name's number.
    numbers: BTreeMap<u32, Option<Reference>>,
    /// By the list of several.
    lists: BTreeMap<u32, Option<Reference>>,
}

impl Carried {
    /// Holds the names of one policy against those of another.
    #[must_use]
    pub fn new(old: &Compiled, new: &Compiled) -> Self {
        // The names of both: what lies below none of them but the nearest is treated as that is.
        let mut names: Vec<&name::Key> = old.names.keys().chain(new.names.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let mut carried = Self::default();
        for key in names {
            let Some(of) = old.nearest(key) else { continue };
            let there = new.nearest(key).map(|named| Reference::of(named.list, named.number));
            for known in [
                carried.numbers.entry(of.number).or_insert(there),
                carried.lists.entry(of.list).or_insert(there),
            ] {
                *known = match (*known, there) {
                    (Some(one), Some(other)) if one.list() == other.list() => Some(one.with(other)),
                    _ => None,
                };
            }
        }
        carried
    }

    /// What an address is learned for in the new policy that was learned for that in the old
    /// one, without its end.
    #[must_use]
    pub fn of(&self, old: Reference) -> Option<Reference> {
        let known = match old.number() {
            0 => self.lists.get(&old.list()),
            number => self.numbers.get(&number),
        };
        known.copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::policy::Policy;

    /// Verdict, names, and the port, or 0 for those that are meant by default.
    type Rule = (&'static str, String, u16);

    fn compiled(rules: &[Rule]) -> Option<Compiled> {
        let mut text = "version: 1\nagent: a\negress:\n  rules:\n".to_owned();
        for (verdict, names, port) in rules {
            let names: Vec<String> = names.split(' ').map(|name| format!("'{name}'")).collect();
            let names = names.join(", ");
            let ports = if *port == 0 { String::new() } else { format!(", ports: {port}") };
            text += &format!("    - {{ {verdict}: [{names}]{ports} }}\n");
        }
        Policy::parse(Path::new("p.yaml"), text.as_bytes()).ok()?.compile().ok()
    }

    fn of(rules: &[(&'static str, &str, u16)]) -> Compiled {
        let owned = rules.iter().map(|(verdict, name, port)| (*verdict, (*name).to_owned(), *port));
        compiled(&owned.collect::<Vec<_>>()).unwrap()
    }

    fn reference(compiled: &Compiled, name: &str) -> Option<Reference> {
        let named = compiled.nearest(&name::Key::exact(0, name)?)?;
        Some(Reference::of(named.list, named.number))
    }

    #[test]
    fn what_stays_allowed_is_kept_and_what_goes_is_not() {
        let old = of(&[("allow", "a.test b.test", 443)]);
        let new = of(&[("allow", "a.test", 443), ("allow", "c.test", 80)]);
        let kept = Carried::new(&old, &new);
        let [a, b] = ["a.test", "b.test"].map(|name| reference(&old, name).unwrap());
        assert_eq!(kept.of(a), reference(&new, "a.test"));
        assert_eq!(kept.of(b), None);
        // It was learned for both.
        assert_eq!(kept.of(a.with(b)), None);
    }

    #[test]
    fn names_that_part_are_asked_for_again() {
        let old = of(&[("allow", "*.x.test", 443)]);
        let name = reference(&old, "a.x.test").unwrap();
        let new = of(&[("allow", "*.x.test", 443), ("deny", "evil.x.test", 0)]);
        assert_eq!(Carried::new(&old, &new).of(name), None);
        // All of them still have one list, another one.
        let other = of(&[("allow", "*.x.test", 80)]);
        assert_eq!(Carried::new(&old, &other).of(name), reference(&other, "a.x.test"));
    }

    proptest! {
        /// Whatever is kept says of each name what the new policy says of it.
        #[test]
        fn what_is_kept_is_what_the_new_policy_says(
            old in rules(), new in rules(), names in prop::collection::vec(host(), 1..20),
        ) {
            let (Some(old), Some(new)) = (compiled(&old), compiled(&new)) else { return Ok(()) };
            let kept = Carried::new(&old, &new);
            for name in names {
                let name = format!("{name}.test");
                let Some(before) = reference(&old, &name) else { continue };
                for before in [before, Reference::of(before.list(), 0)] {
                    if let Some(after) = kept.of(before) {
                        let there = reference(&new, &name);
                        prop_assert_eq!(Some(after.list()), there.map(Reference::list), "{}", name);
                    }
                }
            }
        }
    }

    fn host() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "ab"]), 1..5)
            .prop_map(|labels| labels.join("."))
    }

    fn rules() -> impl Strategy<Value = Vec<Rule>> {
        let rule = (
            prop::sample::select(vec!["allow", "deny"]),
            prop::bool::ANY,
            host(),
            prop::sample::select(vec![0, 443, 80]),
        );
        let rule = rule.prop_map(|(verdict, wild, host, port)| {
            let star = if wild { "*." } else { "" };
            (verdict, format!("{star}{host}.test"), port)
        });
        prop::collection::vec(rule, 0..6)
    }
}
