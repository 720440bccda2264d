//! Redaction: takes secrets and personal data out of what events say, before anything
//! leaves the daemon.
//!
//! What goes is replaced by `[redacted:KIND]`, so that a reader sees what sort of thing
//! was there, and nothing of it. Nothing is kept in place of it, no hash and no first
//! letters: a short secret is found from either.

mod arguments;
mod check;
mod event;
mod random;
mod rules;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;

use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use crate::config::RedactionConfig;
use check::Match;
use rules::{Group, RULES};

/// How large a pattern of the configuration may become, in bytes of memory.
const PATTERN_SIZE: usize = 256 << 10;

/// A pattern of the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "redaction: {place}: {why}\n  = patterns are regular expressions without look-around or back-references; try it on its own, or leave it out"
)]
pub struct PatternError {
    /// Which one.
    pub place: String,
    /// What is wrong with it.
    pub why: String,
}

/// Takes secrets out of text. Made once; costs a search for a few short words where there
/// is nothing to take out.
pub struct Redactor {
    /// The hints of the rules; the same places as in `rules`.
    hints: RegexSet,
    rules: Vec<Compiled>,
    custom: Vec<(String, Regex)>,
    allow: Option<RegexSet>,
    random: bool,
    /// Whether arguments are looked at in pairs.
    pairs: bool,
    on: bool,
}

struct Compiled {
    kind: &'static str,
    pattern: Regex,
    check: fn(&Match<'_>) -> bool,
}

/// What is to be replaced, and by what.
struct Found<'r> {
    place: Range<usize>,
    kind: &'r str,
}

impl Redactor {
    /// From the section `redaction` of the configuration.
    ///
    /// # Errors
    ///
    /// Where one of its patterns is not valid.
    pub fn new(config: &RedactionConfig) -> Result<Self, PatternError> {
        let on = |group: Group| {
            config.enabled
                && match group {
                    Group::Keys => config.keys,
                    Group::Passwords => config.passwords,
                    Group::Email => config.email,
                    Group::Cards => config.cards,
                    Group::Iban => config.iban,
                }
        };
        let wanted: Vec<_> = RULES.iter().filter(|rule| on(rule.group)).collect();
        let rules = wanted.iter().map(|rule| {
            let built = RegexBuilder::new(rule.pattern).unicode(false).build();
            let pattern = built.map_err(|error| refused(rule.kind.to_owned(), &error))?;
            Ok(Compiled { kind: rule.kind, pattern, check: rule.check })
        });
        let hints =
            RegexSetBuilder::new(wanted.iter().map(|rule| rule.hint)).unicode(false).build();
        let custom = config.patterns.iter().filter(|_| config.enabled).map(|custom| {
            let pattern = build(&format!("patterns: {}", custom.name), &custom.pattern)?;
            Ok((custom.name.clone(), pattern))
        });
        for allowed in &config.allow {
            build(&format!("allow: {allowed:?}"), allowed)?;
        }
        let allow = (!config.allow.is_empty()).then(|| {
            let whole = config.allow.iter().map(|allowed| format!(r"\A(?:{allowed})\z"));
            RegexSet::new(whole).map_err(|error| refused("allow".to_owned(), &error))
        });
        Ok(Self {
            hints: hints.map_err(|error| refused("hints".to_owned(), &error))?,
            rules: rules.collect::<Result<_, _>>()?,
            custom: custom.collect::<Result<_, _>>()?,
            allow: allow.transpose()?,
            random: config.enabled && config.random,
            pairs: config.enabled && config.passwords,
            on: config.enabled,
        })
    }

    /// A text without its secrets; borrowed where it had none.
    #[must_use]
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut found = self.known(text);
        if self.random {
            found.extend(random::find(text).map(|place| Found { place, kind: "random" }));
        }
        self.replace(text, found)
    }

    /// The same for a name of the network, where random text is told from what names
    /// look like by nobody, and where an analyst needs it to see data leave in names.
    #[must_use]
    pub fn name<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.replace(text, self.known(text))
    }

    /// What the rules find, first by rule.
    fn known(&self, text: &str) -> Vec<Found<'_>> {
        let mut found = Vec::new();
        if !self.on {
            return found;
        }
        for rule in self.hints.matches(text).iter().filter_map(|index| self.rules.get(index)) {
            for places in rule.pattern.captures_iter(text) {
                let Some(place) = secret_of(&places) else { continue };
                let matched = Match { text, start: place.start, end: place.end };
                if (rule.check)(&matched) {
                    found.push(Found { place, kind: rule.kind });
                }
            }
        }
        for (name, pattern) in &self.custom {
            let places = pattern.captures_iter(text).filter_map(|places| secret_of(&places));
            let some = places.filter(|place| !place.is_empty());
            found.extend(some.map(|place| Found { place, kind: name }));
        }
        found
    }

    /// Whether the allow list has it.
    fn allowed(&self, text: &str) -> bool {
        self.allow.as_ref().is_some_and(|allow| allow.is_match(text))
    }

    fn replace<'t>(&self, text: &'t str, mut found: Vec<Found<'_>>) -> Cow<'t, str> {
        found.retain(|found| !text.get(found.place.clone()).is_some_and(|text| self.allowed(text)));
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        // Stable: of those that begin together, the first rule's comes first.
        found.sort_by_key(|found| found.place.start);
        let mut out = String::with_capacity(text.len());
        let mut done = 0;
        for Found { place, kind } in found {
            if place.start >= done && place.end > place.start {
                out.push_str(text.get(done..place.start).unwrap_or_default());
                out.push_str("[redacted:");
                out.push_str(kind);
                out.push(']');
            }
            // What overlaps goes with what began before it.
            done = done.max(place.end);
        }
        out.push_str(text.get(done..).unwrap_or_default());
        Cow::Owned(out)
    }
}

/// The place of the last group that took part, or of the whole match.
fn secret_of(places: &regex::Captures<'_>) -> Option<Range<usize>> {
    places.iter().flatten().last().map(|place| place.range())
}

fn build(place: &str, pattern: &str) -> Result<Regex, PatternError> {
    let built = RegexBuilder::new(pattern).size_limit(PATTERN_SIZE).build();
    let built = built.map_err(|error| refused(place.to_owned(), &error))?;
    if built.is_match("") {
        let why = "it matches the empty text".to_owned();
        return Err(PatternError { place: place.to_owned(), why });
    }
    Ok(built)
}

fn refused(place: String, error: &regex::Error) -> PatternError {
    PatternError { place, why: error.to_string() }
}
