//! From text to a tree of values that know their places.
//!
//! A tree and not serde's derived types, because serde stops at the first error
//! and does not say where a key stands. The parser is serde-saphyr's; its events
//! carry exact places. Anchors, aliases and tags are refused: a policy is read by
//! people who have to see what it says where it says it, and without aliases no
//! small file can stand for a large one.

use std::borrow::Cow;

use serde_saphyr::granit_parser::{self, ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError};

use super::MAX_NODES;
use super::error::Problem;
use super::place::Place;
use super::report::Report;

/// How deep lists and maps may stand in one another. The language needs five.
const MAX_DEPTH: usize = 16;

/// A value and its place.
pub(super) struct Node<'s> {
    pub(super) place: Place,
    pub(super) value: Value<'s>,
}

/// A value.
pub(super) enum Value<'s> {
    Scalar(Scalar<'s>),
    List(Vec<Node<'s>>),
    Map(Vec<(Node<'s>, Node<'s>)>),
}

/// A value that is neither list nor map.
pub(super) struct Scalar<'s> {
    pub(super) text: Cow<'s, str>,
    /// Whether it was written without quotes, so that it may be a number.
    plain: bool,
}

/// What a scalar is by YAML's core schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    Integer,
    Float,
    Text,
}

impl Scalar<'_> {
    /// What the scalar is.
    pub(super) fn kind(&self) -> Kind {
        let text = self.text.as_ref();
        if !self.plain {
            return Kind::Text;
        }
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => return Kind::Bool,
            _ => {}
        }
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let all = |text: &str, radix| !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
        let hex = digits.strip_prefix("0x").is_some_and(|digits| all(digits, 16));
        let octal = digits.strip_prefix("0o").is_some_and(|digits| all(digits, 8));
        if all(digits, 10) || hex || octal {
            return Kind::Integer;
        }
        let numeric = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        if numeric && digits.parse::<f64>().is_ok() { Kind::Float } else { Kind::Text }
    }
}

impl Node<'_> {
    /// What the value is, in words.
    pub(super) fn described(&self) -> &'static str {
        match &self.value {
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Scalar(scalar) => match scalar.kind() {
                Kind::Null => "nothing",
                Kind::Bool => "true or false",
                Kind::Integer => "a number",
                Kind::Float => "a fraction",
                Kind::Text => "text",
            },
        }
    }

    /// Whether there is no value.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.kind() == Kind::Null)
    }
}

/// Parses the text of a file. `None` where there is an error, which is then in
/// the report.
pub(super) fn parse<'s>(text: &'s str, report: &mut Report<'_>) -> Option<Node<'s>> {
    let mut options = granit_parser::options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
        emit_anchor_events: true,
    };
    options.set_emit_comments(false);
    let mut tree = Tree::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let done = match event {
            Ok((event, span)) => {
                let start = span.tag_start.unwrap_or(span.start);
                tree.take(event, place(&start), report)
            }
            Err(error) => {
                syntax(&error, text, report);
                None
            }
        };
        done?;
    }
    match tree.root {
        Some(root) if !root.is_null() => Some(root),
        _ => {
            report.whole(Problem::EmptyFile, None);
            None
        }
    }
}

fn syntax(error: &ScanError, text: &str, report: &mut Report<'_>) {
    let (info, at) = (error.info(), place(error.marker()));
    if let Some(tab) = indented_by_tab(text, error.marker().line()) {
        let mend = "indent with spaces: YAML takes no tabs there";
        report.at(tab, Problem::Syntax(info), mend);
        return;
    }
    let mend = match error.kind() {
        ErrorKind::RecursionLimitExceeded => "no policy needs lists and maps as deep as this",
        _ => "look at the indentation, quotes, brackets and colons here and on the line before",
    };
    report.at(at, Problem::Syntax(info), mend);
}

/// Where a tab indents the line of an error or the one after: the parser blames
/// the value before it.
fn indented_by_tab(text: &str, line: usize) -> Option<Place> {
    let near = (line..).zip(text.lines().skip(line.saturating_sub(1)).take(2));
    near.filter_map(|(line, text)| {
        let indent = text.chars().take_while(|character| character.is_whitespace());
        let column = indent.enumerate().find(|(_, character)| *character == '\t')?.0;
        Some(place(&Marker::new(0, line, column)))
    })
    .next()
}

fn place(marker: &Marker) -> Place {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Place { line: count(marker.line()), column: count(marker.col().saturating_add(1)) }
}

/// A list or a map that is still being read.
enum Open<'s> {
    List(Place, Vec<Node<'s>>),
    Map(Place, Vec<(Node<'s>, Node<'s>)>, Option<Node<'s>>),
}

/// The tree as far as it has been read.
#[derive(Default)]
struct Tree<'s> {
    root: Option<Node<'s>>,
    open: Vec<Open<'s>>,
    nodes: usize,
}

impl<'s> Tree<'s> {
    /// Takes in an event; `None` stops the reading.
    fn take(&mut self, event: Event<'s>, place: Place, report: &mut Report<'_>) -> Option<()> {
        let indirection = match &event {
            Event::Alias(_) | Event::UnresolvedAlias(_) => Some("aliases (*name)"),
            Event::Anchor(..) => Some("anchors (&name)"),
            _ if event.tag().is_some() => Some("tags (!name)"),
            _ => None,
        };
        if let Some(what) = indirection {
            report.at(place, Problem::Indirection(what), "write the value out");
            return None;
        }
        if event.is_node() {
            self.nodes += 1;
            if self.nodes > MAX_NODES {
                report.at(place, Problem::TooManyValues, "split the policy");
                return None;
            }
        }
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                report.at(place, Problem::SecondDocument, "give each policy its own file");
                return None;
            }
            Event::Scalar(text, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                self.place(Node { place, value: Value::Scalar(Scalar { text, plain }) });
            }
            Event::SequenceStart(..) => self.open.push(Open::List(place, Vec::new())),
            Event::MappingStart(..) => self.open.push(Open::Map(place, Vec::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            _ => {}
        }
        Some(())
    }

    /// Puts a complete value where it belongs.
    fn place(&mut self, node: Node<'s>) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, entries, key)) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(node),
            },
        }
    }

    /// Ends the innermost list or map.
    fn close(&mut self) {
        let node = match self.open.pop() {
            None => return,
            Some(Open::List(place, items)) => Node { place, value: Value::List(items) },
            Some(Open::Map(place, entries, _)) => Node { place, value: Value::Map(entries) },
        };
        self.place(node);
    }
}
