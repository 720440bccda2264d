//! Names put together under a star, where that is asked for: below what somebody registered,
//! and never below what belongs to everybody (`*.co.uk`), by the Public Suffix List.

use std::collections::BTreeMap;

use super::draft::in_words;
use super::seen::Use;

/// How many names of a domain make a star.
const ENOUGH: usize = 2;
/// How many of them a comment gives.
const NAMED: usize = 3;

/// Each name for itself, with what was seen of it.
pub(super) fn single(names: BTreeMap<String, Use>) -> Vec<(String, String)> {
    names.into_iter().map(|(name, used)| (name, in_words(&used))).collect()
}

/// Names of one registered domain under a star; the domain itself stays by itself.
pub(super) fn grouped(names: BTreeMap<String, Use>) -> Vec<(String, String)> {
    let mut domains: BTreeMap<String, BTreeMap<String, Use>> = BTreeMap::new();
    let mut rest = BTreeMap::new();
    for (name, used) in names {
        match psl::domain_str(&name).filter(|domain| *domain != name) {
            Some(domain) => {
                domains.entry(domain.to_owned()).or_default().insert(name, used);
            }
            None => drop(rest.insert(name, used)),
        }
    }
    let mut items = Vec::new();
    for (domain, below) in domains {
        if below.len() < ENOUGH {
            rest.extend(below);
            continue;
        }
        let mut all = Use::default();
        below.values().for_each(|used| all.add(used));
        let named: Vec<&str> = below.keys().take(NAMED).map(String::as_str).collect();
        let more = if below.len() > NAMED { ", …" } else { "" };
        let count = below.len();
        let note = format!("{count} names: {}{more}; {}", named.join(", "), in_words(&all));
        items.push((format!("*.{domain}"), note));
    }
    items.extend(single(rest));
    items.sort_unstable();
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn group(names: &[&str]) -> Vec<String> {
        let used = Use { count: 1, by: ["x".to_owned()].into() };
        let names = names.iter().map(|name| ((*name).to_owned(), used.clone())).collect();
        grouped(names).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn names_of_one_domain_stand_under_a_star() {
        assert_eq!(group(&["api.x.com", "raw.x.com", "x.com"]), ["*.x.com", "x.com"]);
        assert_eq!(group(&["api.x.com", "raw.y.com"]), ["api.x.com", "raw.y.com"]);
        assert_eq!(group(&["a.b.x.co.uk", "c.x.co.uk"]), ["*.x.co.uk"]);
    }

    #[test]
    fn what_belongs_to_everybody_never_does() {
        assert_eq!(group(&["a.co.uk", "b.co.uk"]), ["a.co.uk", "b.co.uk"]);
        assert_eq!(group(&["a.github.io", "b.github.io"]), ["a.github.io", "b.github.io"]);
        let buckets = ["a.s3.amazonaws.com", "b.s3.amazonaws.com"];
        assert_eq!(group(&buckets), buckets);
        assert_eq!(group(&["one", "two"]), ["one", "two"]);
    }

    proptest! {
        #[test]
        fn a_star_covers_nothing_that_is_a_public_suffix(
            labels in proptest::collection::vec("[a-c]{1,2}", 2..12),
            suffix in prop_oneof![Just("co.uk"), Just("com"), Just("github.io"), Just("ck"), Just("test")],
        ) {
            let names: Vec<String> = labels
                .chunks(2)
                .map(|labels| format!("{}.{suffix}", labels.join(".")))
                .collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            for name in group(&names) {
                if let Some(below) = name.strip_prefix("*.") {
                    prop_assert_eq!(psl::domain_str(below), Some(below));
                }
            }
        }
    }
}
