//! Takes a map apart key by key: what is asked for is what the language knows,
//! what is left over is unknown. There is no second list of keys to forget.

use std::collections::BTreeMap;

use super::error::Problem;
use super::place::{Place, Sited};
use super::report::{Report, quoted};
use super::yaml::{Kind, Node, Value};

/// Longer keys than this get no suggestion; the language's own are short.
const LONGEST_GUESS: usize = 32;

/// A map that is being read.
pub(super) struct Fields<'n, 's> {
    section: &'static str,
    place: Place,
    rest: BTreeMap<&'n str, (Place, &'n Node<'s>)>,
    known: Vec<&'static str>,
}

impl<'n, 's> Fields<'n, 's> {
    /// Opens a map. `section` says in messages what it is, `key` what holds it.
    pub(super) fn open(
        node: &'n Node<'s>,
        key: &'static str,
        section: &'static str,
        report: &mut Report<'_>,
    ) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            wrong_type(node, key, "a map of keys and values", report);
            return None;
        };
        let mut rest = BTreeMap::new();
        for (key, value) in entries {
            let Value::Scalar(name) = &key.value else {
                wrong_type(key, "a key", "a word", report);
                continue;
            };
            let first = *rest.entry(name.text.as_ref()).or_insert((key.place, value));
            if first.0 != key.place {
                let problem =
                    Problem::DuplicateKey { key: quoted(&name.text), first: first.0.line };
                report.at(key.place, problem, "keep one of the two");
            }
        }
        Some(Self { section, place: node.place, rest, known: Vec::new() })
    }

    /// Where the map begins.
    pub(super) const fn place(&self) -> Place {
        self.place
    }

    /// The value of a key. A key without a value is an error.
    pub(super) fn take(
        &mut self,
        key: &'static str,
        report: &mut Report<'_>,
    ) -> Option<&'n Node<'s>> {
        self.known.push(key);
        let (place, node) = self.rest.remove(key)?;
        if node.is_null() {
            report.at(place, Problem::EmptyValue(key), format!("give {key} a value, or remove it"));
            return None;
        }
        Some(node)
    }

    /// The value of a key that has to be there.
    pub(super) fn require(
        &mut self,
        key: &'static str,
        mend: &str,
        report: &mut Report<'_>,
    ) -> Option<&'n Node<'s>> {
        if !self.rest.contains_key(key) {
            report.at(self.place, Problem::Missing { key, section: self.section }, mend);
        }
        self.take(key, report)
    }

    /// Refuses keys that the language has, but this version does not enforce.
    pub(super) fn not_yet(&mut self, keys: &[&'static str], report: &mut Report<'_>) {
        for key in keys {
            if let Some((place, _)) = self.rest.remove(key) {
                let mend = "remove it: a policy that cannot be enforced is not loaded";
                report.at(place, Problem::NotSupported(format!("the key {key}")), mend);
            }
        }
    }

    /// Refuses what has not been asked for.
    pub(super) fn close(self, report: &mut Report<'_>) {
        for (key, (place, _)) in self.rest {
            let guess = if report.is_full() { None } else { nearest(key, &self.known) };
            let mend = match guess {
                Some(known) => format!("did you mean {known}?"),
                None => format!("{} takes: {}", self.section, self.known.join(", ")),
            };
            let problem = Problem::UnknownKey { key: quoted(key), section: self.section };
            report.at(place, problem, mend);
        }
    }
}

/// The items of a list that may also be one item without the list. An empty list
/// is an error.
pub(super) fn items<'n, 's>(
    node: &'n Node<'s>,
    key: &'static str,
    report: &mut Report<'_>,
) -> &'n [Node<'s>] {
    match &node.value {
        Value::List(items) if items.is_empty() => {
            let mend = format!("give {key} a value, or remove it");
            report.at(node.place, Problem::EmptyValue(key), mend);
            &[]
        }
        Value::List(items) => items,
        _ => std::slice::from_ref(node),
    }
}

/// A text: numbers, `true` and the like have to be quoted to be one.
pub(super) fn text(
    node: &Node<'_>,
    key: &'static str,
    expected: &'static str,
    report: &mut Report<'_>,
) -> Option<Sited<String>> {
    match &node.value {
        Value::Scalar(scalar) if scalar.kind() == Kind::Text => {
            Some(Sited::new(scalar.text.clone().into_owned(), node.place))
        }
        _ => {
            wrong_type(node, key, expected, report);
            None
        }
    }
}

/// A text or a whole number, as it is written.
pub(super) fn text_or_integer(
    node: &Node<'_>,
    key: &'static str,
    expected: &'static str,
    report: &mut Report<'_>,
) -> Option<Sited<String>> {
    match &node.value {
        Value::Scalar(scalar) if matches!(scalar.kind(), Kind::Text | Kind::Integer) => {
            Some(Sited::new(scalar.text.clone().into_owned(), node.place))
        }
        _ => {
            wrong_type(node, key, expected, report);
            None
        }
    }
}

/// A number, as it is written.
pub(super) fn fraction(
    node: &Node<'_>,
    key: &'static str,
    expected: &'static str,
    report: &mut Report<'_>,
) -> Option<Sited<String>> {
    match &node.value {
        Value::Scalar(scalar) if !matches!(scalar.kind(), Kind::Null | Kind::Bool) => {
            Some(Sited::new(scalar.text.clone().into_owned(), node.place))
        }
        _ => {
            wrong_type(node, key, expected, report);
            None
        }
    }
}

fn wrong_type(node: &Node<'_>, key: &'static str, expected: &'static str, report: &mut Report<'_>) {
    let found = node.described();
    let mend = format!("write {expected}");
    report.at(node.place, Problem::WrongType { key, expected, found }, mend);
}

/// The known word that was most likely meant.
pub(super) fn nearest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    if word.chars().nth(LONGEST_GUESS).is_some() {
        return None;
    }
    let word = word.to_lowercase();
    let scored = known.iter().map(|known| (distance(&word, known), *known));
    let (distance, best) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + best.len() / 4).then_some(best)
}

/// How many characters have to be changed, added, removed or swapped with their
/// neighbour to get from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, from_char) in from.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, to_char) in to.iter().enumerate() {
            let change = above[column] + usize::from(from_char != to_char);
            let mut best = change.min(above[column + 1] + 1).min(line[column] + 1);
            let swapped =
                row > 0 && column > 0 && from[row - 1] == *to_char && to[column - 1] == *from_char;
            if swapped {
                best = best.min(before[column - 1] + 1);
            }
            line.push(best);
        }
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or_default()
}
