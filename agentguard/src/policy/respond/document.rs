//! The section `respond` as it is written: see [`super::super::document`].

use schemars::JsonSchema;

use super::super::error::Problem;
use super::super::fields::{Fields, text, text_or_integer};
use super::super::place::{Place, Sited};
use super::super::report::Report;
use super::super::shape::{DurationText, WhenText};
use super::super::yaml::{Node, Value};

/// One response: when it is given, and what is done.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "Response", deny_unknown_fields)]
pub(in super::super) struct ResponseDocument {
    /// Where the response stands.
    #[schemars(skip)]
    pub(super) place: Option<Place>,
    /// When it is given: `denials > 20 in 1m`, `finding probing >= 0.8`, `runtime > 2h`,
    /// `limit memory`.
    #[schemars(required, with = "WhenText")]
    pub(super) when: Option<Sited<String>>,
    /// What is done.
    #[schemars(
        required,
        rename = "do",
        extend("enum" = ["record", "alert", "throttle", "ask", "pause", "kill"])
    )]
    pub(super) step: Option<Sited<String>>,
    /// How long it is at the least until the same is recorded or alerted again, or until a
    /// session is not slowed down any more. 5m, where this is missing.
    pub(super) again: Option<Sited<DurationText>>,
    /// The name by which events speak of it. `respond.N` for the Nth response, where this is
    /// missing.
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9._-]{0,62}$"))]
    pub(super) id: Option<Sited<String>>,
}

impl ResponseDocument {
    pub(in super::super) fn read_all(node: &Node<'_>, report: &mut Report<'_>) -> Vec<Self> {
        let Value::List(items) = &node.value else {
            let (expected, found) = ("a list", node.described());
            let problem = Problem::WrongType { key: "respond", expected, found };
            report.at(node.place, problem, "write each response after a dash; [] for none");
            return Vec::new();
        };
        items.iter().filter_map(|item| Self::read(item, report)).collect()
    }

    fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, "respond", "a response", report)?;
        let when = fields.require("when", "write when: denials > 20 in 1m, or the like", report);
        let step = fields.require("do", "write do: pause, or another step", report);
        let again = fields.take("again", report);
        let id = fields.take("id", report);
        let place = fields.place();
        fields.close(report);
        Some(Self {
            place: Some(place),
            when: when.and_then(|node| text(node, "when", "a condition", report)),
            step: step.and_then(|node| text(node, "do", "a step such as pause", report)),
            again: again
                .and_then(|node| text_or_integer(node, "again", "a time such as 5m", report))
                .map(|text| Sited::new(DurationText(text.value), text.place)),
            id: id.and_then(|node| text(node, "id", "a name (in quotes)", report)),
        })
    }
}
