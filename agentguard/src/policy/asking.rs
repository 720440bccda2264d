//! How people are asked, where a rule says `ask`.

use std::fmt::Write;

use agentguard_common::hold::PATIENCE;
use schemars::JsonSchema;

use super::dns::{duration, short};
use super::fields::{Fields, text};
use super::place::Sited;
use super::report::Report;
use super::shape::DurationText;
use super::yaml::Node;

/// How people are asked.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "Ask", deny_unknown_fields)]
pub(super) struct AskDocument {
    /// How long a call waits for an answer before it is refused. 5m, where this is missing.
    #[schemars(required)]
    pub(super) timeout: Option<Sited<DurationText>>,
}

impl AskDocument {
    pub(super) fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, "ask", "ask", report)?;
        let timeout = fields.require("timeout", "write timeout: 5m, or leave ask out", report);
        fields.close(report);
        let timeout = timeout.and_then(|node| text(node, "timeout", "a time such as 5m", report));
        Some(Self { timeout: timeout.map(|text| Sited::new(DurationText(text.value), text.place)) })
    }

    /// For how many seconds a call waits.
    pub(super) fn patience(&self, report: &mut Report<'_>) -> u32 {
        let Some(text) = &self.timeout else { return PATIENCE };
        duration("timeout", &text.value.0).unwrap_or_else(|(problem, mend)| {
            report.at(text.place, problem, mend);
            PATIENCE
        })
    }
}

/// In words, where it is not what holds anyway.
pub(super) fn explain(out: &mut String, patience: u32) -> std::fmt::Result {
    if patience == PATIENCE {
        return Ok(());
    }
    writeln!(out, "\nAsking")?;
    writeln!(out, "  A call waits {} for an answer, and is refused then.", short(patience))
}
