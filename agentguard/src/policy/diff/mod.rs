//! What tells two policies apart: what one says and the other does not, and where that makes
//! another verdict.
//!
//! The order of rules, their ids, how they are put together and what is written beside them make
//! no difference. `statements` takes a policy apart; `probes` asks both the same questions, by
//! the evaluator that the kernel runs; `written` takes what decides nothing as it is written.

mod probes;
mod statements;
#[cfg(test)]
mod tests;
mod written;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::error::PolicyErrors;
use super::model::Policy;
use statements::Statement;
pub(crate) use written::is_by_meaning;

/// How two policies differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What is said in one and not in the other, or otherwise.
    pub changes: Vec<Change>,
    /// Questions that the two answer differently: of what each of their rules speaks of, one
    /// example of everything that it can tell apart.
    pub verdicts: Vec<VerdictChange>,
}

/// Something that is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The part of the policy: `policy`, `egress`, `files`, `exec` or `secrets`.
    pub section: &'static str,
    /// Of what.
    pub subject: String,
    /// What the old policy says of it, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// What the new one says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

/// A question and its answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerdictChange {
    /// What is asked for: `connect 10.0.0.1:443/tcp`, `write ~/.ssh`.
    pub what: String,
    /// What the old policy says.
    pub old: Answer,
    /// What the new one says.
    pub new: Answer,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The verdict.
    pub verdict: &'static str,
    /// The id of the rule that decided, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

impl Difference {
    /// Finds out how two policies differ.
    ///
    /// # Errors
    ///
    /// Where one of them does not compile.
    pub fn of(old: &Policy, new: &Policy) -> Result<Self, PolicyErrors> {
        let changes = changes(statements::of(old), statements::of(new));
        Ok(Self { changes, verdicts: probes::compared(old, new)? })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.verdicts.is_empty()
    }
}

/// What is said in one and not in the other, or otherwise; in the order of what it is about.
fn changes(old: BTreeMap<Statement, String>, mut new: BTreeMap<Statement, String>) -> Vec<Change> {
    let mut all: BTreeMap<Statement, (Option<String>, Option<String>)> = BTreeMap::new();
    for (statement, said) in old {
        let now = new.remove(&statement);
        all.insert(statement, (Some(said), now));
    }
    all.extend(new.into_iter().map(|(statement, said)| (statement, (None, Some(said)))));
    all.retain(|_, (old, new)| old != new);
    let change = |((section, subject), (old, new)): (Statement, _)| Change {
        section: section.word(),
        subject,
        old,
        new,
    };
    all.into_iter().map(change).collect()
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = &self.subject;
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, "~ {subject}: {old} → {new}"),
            (Some(old), None) => write!(f, "- {old} {subject}"),
            (None, Some(new)) => write!(f, "+ {new} {subject}"),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Some(rule) => write!(f, "{} ({rule})", self.verdict),
            None => write!(f, "{} (default)", self.verdict),
        }
    }
}

impl fmt::Display for Difference {
    /// A section for each part that differs, and the verdicts behind them. Control characters
    /// do not get through.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: String| text.chars().map(super::report::visible).collect::<String>();
        let mut section = "";
        for change in &self.changes {
            if section != change.section {
                section = change.section;
                writeln!(f, "{section}")?;
            }
            writeln!(f, "  {}", shown(change.to_string()))?;
        }
        if self.changes.is_empty() && self.verdicts.is_empty() {
            return Ok(());
        }
        if self.verdicts.is_empty() {
            return writeln!(f, "verdicts\n  the same for everything that the rules speak of");
        }
        writeln!(f, "verdicts")?;
        for found in &self.verdicts {
            let line = format!("{}: {} → {}", found.what, found.old, found.new);
            writeln!(f, "  {}", shown(line))?;
        }
        Ok(())
    }
}
