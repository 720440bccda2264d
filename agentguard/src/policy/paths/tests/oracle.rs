//! What rules on paths mean, rule by rule and as slowly as it is written in
//! `docs/policy.md`. Shares nothing with what is tested but the model of the policy.

use agentguard_common::verdict::Verdict;
use regex::Regex;

/// A pattern, as its text says.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Anywhere,
    Name(String),
    Glob(Regex, usize),
}

impl Pattern {
    /// Reads a pattern that begins with `/` or `**`.
    pub(super) fn new(text: &str) -> Self {
        let mut parts: Vec<Part> = text
            .trim_start_matches('/')
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| match part {
                "**" => Part::Anywhere,
                _ if part.contains(['*', '?', '[']) => glob(part),
                _ => Part::Name(part.to_owned()),
            })
            .collect();
        // Everything below: one name of any kind, with what is below it.
        let ends_in_all = matches!(parts.last(), Some(Part::Anywhere));
        if ends_in_all {
            while matches!(parts.last(), Some(Part::Anywhere)) {
                parts.pop();
            }
            parts.push(glob("*"));
        } else if text.ends_with("/*") {
            parts.pop();
            while matches!(parts.last(), Some(Part::Anywhere)) {
                parts.pop();
            }
            parts.push(glob("*"));
        }
        parts.dedup_by(|one, other| matches!((one, other), (Part::Anywhere, Part::Anywhere)));
        Self { parts }
    }

    /// How far down a path it matches, in components.
    fn depth(&self, names: &[&str]) -> Option<usize> {
        (0..=names.len()).rev().find(|depth| fits(&self.parts, &names[..*depth]))
    }

    /// What decides between patterns that match equally far down.
    fn rank(&self) -> (bool, isize, usize) {
        let named = !matches!(self.parts.last(), Some(Part::Glob(..)));
        let wild = self.parts.iter().filter(|part| !matches!(part, Part::Name(_))).count();
        let bytes = self.parts.iter().map(|part| match part {
            Part::Anywhere => 0,
            Part::Name(name) => name.len(),
            Part::Glob(_, bytes) => *bytes,
        });
        (named, -isize::try_from(wild).unwrap(), bytes.sum())
    }
}

fn glob(text: &str) -> Part {
    let mut expression = "(?s)^".to_owned();
    for sign in text.chars() {
        match sign {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            '[' | ']' | '-' => expression.push(sign),
            '!' => expression.push('^'),
            other => expression.push_str(&regex::escape(&other.to_string())),
        }
    }
    let made = Regex::new(&format!("{expression}$"));
    let bytes = text.len() - text.matches('*').count() - text.matches('?').count();
    let brackets = text.matches('[').count();
    // The patterns of these tests have brackets of the kinds [ab], [a-c] and [!a].
    let inside: usize =
        text.split('[').skip(1).filter_map(|rest| rest.find(']')).sum::<usize>() + 2 * brackets;
    Part::Glob(made.unwrap(), bytes - inside)
}

fn fits(parts: &[Part], names: &[&str]) -> bool {
    match (parts.split_first(), names.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((Part::Anywhere, rest)), _) => {
            (0..=names.len()).any(|skipped| fits(rest, &names[skipped..]))
        }
        (Some(_), None) => false,
        (Some((part, rest)), Some((name, below))) => {
            let one = match part {
                Part::Name(expected) => expected == name,
                Part::Glob(glob, _) => glob.is_match(name),
                Part::Anywhere => false,
            };
            one && fits(rest, below)
        }
    }
}

/// The rule that decides on a path: of those that match, the one that matches furthest down,
/// then by rank, then the stricter, then the earlier.
pub(super) fn decides<'r, V: Ord + Copy>(
    rules: &'r [(V, Pattern)],
    path: &str,
) -> Option<(usize, &'r V)> {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    let matching = rules.iter().enumerate().filter_map(|(at, (verdict, pattern))| {
        let depth = pattern.depth(&names)?;
        Some(((depth, pattern.rank(), *verdict, std::cmp::Reverse(at)), (at, verdict)))
    });
    matching.max_by_key(|(key, _)| *key).map(|(_, rule)| rule)
}

/// Whether a pattern covers a path.
pub(super) fn covers(pattern: &Pattern, path: &str) -> bool {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    pattern.depth(&names).is_some()
}

/// The verdicts of a rule on files, by how strict they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Files {
    Write,
    Read,
    Ask,
    Deny,
}

impl Files {
    /// What it says to reading and writing.
    pub(super) fn verdicts(self) -> (Verdict, Verdict) {
        match self {
            Self::Write => (Verdict::Allow, Verdict::Allow),
            Self::Read => (Verdict::Allow, Verdict::Deny),
            Self::Ask => (Verdict::Ask, Verdict::Ask),
            Self::Deny => (Verdict::Deny, Verdict::Deny),
        }
    }
}
