//! Names that carry data: many different names below one domain, long and without pattern, or
//! a burst of names that nobody asked for before.

use std::collections::HashSet;

use super::scale::grows;
use super::window::{Distinct, Few};
use super::{Detector, Found, Seen};
use crate::policy::{Confidence, Finding};

/// How many names below one domain in a minute carry data, where they look like it.
pub(super) const NAMES: u32 = 15;

const MINUTE: u64 = 60_000;
/// How many times as many new names are a burst, whatever they look like.
const BURST: u32 = 8;
/// A name that is as long as that below its domain says more than a host's name does.
const LONG: usize = 24;
/// Bits of entropy for each character: words have less than 3, base 32 and base 64 more than
/// 3.5.
const RANDOM: f64 = 3.3;
/// One character of so many is a digit in data at the least; in words, hardly any is.
const DIGITS: usize = 12;
/// How many domains, and names that were asked for before, are remembered.
const DOMAINS: usize = 64;
const KNOWN: usize = 16_384;

/// See the module.
pub(super) struct Tunnelling {
    threshold: u32,
    below: Few<Distinct>,
    new: Distinct,
    known: HashSet<String>,
}

impl Tunnelling {
    pub(super) fn new(threshold: u32) -> Self {
        let kept = 4 * usize::try_from(threshold).unwrap_or(1);
        let burst = kept.saturating_mul(usize::try_from(BURST).unwrap_or(1));
        let new = Distinct::new(MINUTE, burst.min(4096));
        Self { threshold, below: Few::new(DOMAINS), new, known: HashSet::new() }
    }

    /// Names below one domain that look as if they carried data.
    fn carried(&mut self, name: &str, event: &Seen<'_>) -> Option<Found> {
        let (left, domain) = parts(name)?;
        if !carries(left) {
            return None;
        }
        let kept = 4 * usize::try_from(self.threshold).unwrap_or(1);
        let names = self.below.get(domain, || Distinct::new(MINUTE, kept))?;
        let count = names.add(left, event.id, event.at)?;
        (count >= self.threshold).then(|| Found {
            finding: Finding::Tunnelling,
            new: false,
            confidence: grows(70, count, self.threshold),
            evidence: names.evidence(),
            reason: format!("{count} long random names below {domain} were asked for in a minute"),
        })
    }

    /// Names that were never asked for before.
    fn burst(&mut self, name: &str, event: &Seen<'_>) -> Option<Found> {
        if self.known.contains(name) {
            return None;
        }
        if self.known.len() < KNOWN {
            self.known.insert(name.to_owned());
        }
        let count = self.new.add(name, event.id, event.at)?;
        let threshold = self.threshold.saturating_mul(BURST);
        (count >= threshold).then(|| Found {
            finding: Finding::Tunnelling,
            new: false,
            confidence: Confidence::of(grows(55, count, threshold).hundredths().min(75)),
            evidence: self.new.evidence(),
            reason: format!("{count} new names were asked for in a minute"),
        })
    }
}

impl Detector for Tunnelling {
    fn see(&mut self, event: &Seen<'_>, found: &mut Vec<Found>) {
        let ("resolve", Some(name)) = (event.action, event.name) else { return };
        let name = name.to_ascii_lowercase();
        found.extend(self.carried(&name, event));
        found.extend(self.burst(&name, event));
    }
}

/// What stands below a domain of two labels, and the domain.
fn parts(name: &str) -> Option<(&str, &str)> {
    let (before, _) = name.rmatch_indices('.').nth(1)?;
    Some((name.get(..before)?, name.get(before + 1..)?))
}

/// Whether text looks as if it stood for data.
fn carries(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    text.len() >= LONG && entropy(text) >= RANDOM && digits * DIGITS >= text.len()
}

/// Bits for each character, by how often each is there.
fn entropy(text: &str) -> f64 {
    let mut counts = [0u32; 256];
    for byte in text.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let all = f64::from(u32::try_from(text.len()).unwrap_or(u32::MAX));
    let bits = counts.iter().filter(|count| **count > 0).map(|count| {
        let share = f64::from(*count) / all;
        -share * share.log2()
    });
    bits.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_told_from_names() {
        for name in [
            "mzxw6ytboi4dcnbuha2tsmrs",
            "5f4dcc3b5aa765d61d8327deb882cf99",
            "aGVsbG8gd29ybGQgdGhpcyBpcyBkYXRh",
        ] {
            assert!(carries(&name.to_ascii_lowercase()), "{name}");
        }
        for name in [
            "registry",
            "objects.githubusercontent",
            "www",
            "static-assets-cdn",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert!(!carries(name), "{name}: {}", entropy(name));
        }
        assert_eq!(parts("a.b.example.com"), Some(("a.b", "example.com")));
        assert_eq!(parts("example.com"), None);
    }
}
