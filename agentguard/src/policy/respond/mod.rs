//! What is done about a session that misbehaves: `respond:` of a policy, a list of what is to
//! happen and what is to be done then. The engine that goes by it is [`crate::respond`].

mod document;
mod when;

use std::fmt;

pub(super) use document::ResponseDocument;
pub use when::{Counted, LimitName, When};

use super::detect::DetectSection;
use super::dns::{duration, in_words, short};
use super::error::Problem;
use super::limits::LimitsSection;
use super::meaning::id;
use super::place::{Place, Sited};
use super::report::{Report, quoted};

/// How many responses a policy may have.
pub const MAX_RESPONSES: usize = 64;
/// How long it is before the same is told again, or a session runs freely again, in seconds,
/// where the policy does not say.
const AGAIN: u32 = 5 * 60;

/// One response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Its id.
    pub id: String,
    /// When it is given.
    pub when: When,
    /// What it is.
    pub step: Step,
    /// How long at the least it is until the same is recorded or alerted again, or until a
    /// session is not slowed down any more; in seconds.
    pub again: u32,
    /// Where it stands in the file.
    pub place: Place,
}

/// What is done, from the mildest to the hardest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// It is recorded.
    Record,
    /// People are told.
    Alert,
    /// The session gets a tenth of one CPU.
    Throttle,
    /// The session stands still, and people are asked whether it may go on.
    Ask,
    /// The session stands still until somebody lets it go on.
    Pause,
    /// The session is ended.
    Kill,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Record, Self::Alert, Self::Throttle, Self::Ask, Self::Pause, Self::Kill];

    /// The word used in policies and events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Alert => "alert",
            Self::Throttle => "throttle",
            Self::Ask => "ask",
            Self::Pause => "pause",
            Self::Kill => "kill",
        }
    }

    /// Whether it lasts until a person or the end, so that it cannot be repeated.
    const fn is_final(self) -> bool {
        matches!(self, Self::Ask | Self::Pause | Self::Kill)
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.when)
    }
}

/// Finds the meaning of the section.
pub(super) fn responses(
    documents: &[ResponseDocument],
    other: (&LimitsSection, &DetectSection),
    report: &mut Report<'_>,
) -> Vec<Response> {
    if let Some(extra) = documents.get(MAX_RESPONSES).and_then(|extra| extra.place) {
        let (key, count, max) = ("responses", documents.len(), MAX_RESPONSES);
        report.at(extra, Problem::TooMany { key, count, max }, "keep those that are needed");
        return Vec::new();
    }
    let mut found: Vec<Response> = Vec::new();
    for (number, document) in (1u32..).zip(documents) {
        let Some(response) = response(number, document, other, report) else { continue };
        let same = found.iter().find(|other| other.when == response.when);
        if let Some(other) = same.filter(|other| other.step == response.step) {
            let what = format!("{}, {}", response.when, response.step.as_str());
            let problem = Problem::Repeated { what, first: other.place.line };
            report.at(response.place, problem, "remove one of the two");
        }
        found.push(response);
    }
    found
}

fn response(
    number: u32,
    document: &ResponseDocument,
    other: (&LimitsSection, &DetectSection),
    report: &mut Report<'_>,
) -> Option<Response> {
    let place = document.place?;
    let errors = report.count();
    let when = document.when.as_ref().and_then(|text| read_when(text, other, report));
    let step = document.step.as_ref().and_then(|text| read_step(text, report));
    let again = document.again.as_ref().and_then(|text| match duration("again", &text.value.0) {
        Ok(seconds) => Some(seconds),
        Err((problem, mend)) => {
            report.at(text.place, problem, mend);
            None
        }
    });
    if let (Some(step), Some(again)) = (step, &document.again)
        && step.is_final()
    {
        let problem = Problem::OutOfPlace { key: "again", what: step.as_str() };
        report.at(again.place, problem, "remove it: it is done each time, and lasts");
    }
    let id = id("respond", number, document.id.as_ref(), report);
    let (when, step) = (when?, step?);
    let again = again.unwrap_or(AGAIN);
    (report.count() == errors).then_some(Response { id, when, step, again, place })
}

fn read_when(
    text: &Sited<String>,
    (limits, detect): (&LimitsSection, &DetectSection),
    report: &mut Report<'_>,
) -> Option<When> {
    match When::parse(&text.value) {
        Ok(when) => {
            if let Some(mend) = when.never(limits, detect) {
                let what = quoted(&text.value);
                report.at(text.place, Problem::NeverHolds { what }, mend);
            }
            Some(when)
        }
        Err((problem, mend)) => {
            report.at(text.place, problem, mend);
            None
        }
    }
}

fn read_step(text: &Sited<String>, report: &mut Report<'_>) -> Option<Step> {
    let step = Step::ALL.into_iter().find(|step| step.as_str() == text.value);
    if step.is_none() {
        let problem = Problem::BadValue { key: "do", value: quoted(&text.value) };
        report.at(text.place, problem, "write record, alert, throttle, ask, pause or kill");
    }
    step
}

/// What the responses mean, in words.
pub(super) fn explain(out: &mut String, responses: &[Response]) -> fmt::Result {
    use fmt::Write as _;
    writeln!(out, "\nResponses")?;
    for response in responses {
        let again = in_words(response.again);
        let done = match response.step {
            Step::Record => format!("it is recorded, at most once in {again}"),
            Step::Alert => format!("people are told, at most once in {again}"),
            Step::Throttle => {
                format!("the session gets a tenth of one CPU, until that has been over for {again}")
            }
            Step::Ask => {
                "the session stands still, and people are asked to resume or kill it".into()
            }
            Step::Pause => "the session stands still until somebody resumes it".into(),
            Step::Kill => "the session is killed".into(),
        };
        writeln!(out, "  {}: {}: {done}.", response.id, response.when.in_words())?;
    }
    Ok(())
}

/// A time as the section writes it.
fn written(seconds: u32) -> String {
    short(seconds)
}

#[cfg(test)]
mod tests;
