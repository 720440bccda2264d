//! Conditions: `denials > 20 in 1m`, `finding probing >= 0.8`, `runtime > 2h`, `limit memory`.

use std::fmt;

use super::super::detect::DetectSection;
use super::super::dns::{duration, in_words};
use super::super::error::Problem;
use super::super::fields::nearest;
use super::super::findings::{Confidence, Finding};
use super::super::limits::LimitsSection;
use super::super::network::Refusal;
use super::super::report::quoted;

/// The most that can be counted in a span.
const MOST_COUNTED: u32 = 10_000;
/// The longest span that is counted in, in seconds: a day.
const LONGEST_SPAN: u32 = 24 * 60 * 60;
/// The word for whatever there is.
const ANY: &str = "any";

/// When a response is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// More than so many in a span.
    Count {
        /// Of what.
        what: Counted,
        /// How many are not too many.
        over: u32,
        /// The span, in seconds.
        within: u32,
    },
    /// Something was found.
    Finding {
        /// What; anything, where it is missing.
        finding: Option<Finding>,
        /// How sure it has to be.
        least: Confidence,
    },
    /// The session is older than that.
    Runtime {
        /// In seconds.
        over: u32,
    },
    /// A limit was reached.
    Limit {
        /// Which; any, where it is missing.
        limit: Option<LimitName>,
    },
}

/// What can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Refusals, and what would be one where the policy is only observed.
    Denials,
    /// Findings.
    Findings,
    /// Programs that were executed.
    Execs,
    /// Processes that were made.
    Forks,
    /// Connections and messages that were let through.
    Connections,
    /// Names that were asked for.
    Names,
}

impl Counted {
    const ALL: [Self; 6] =
        [Self::Denials, Self::Findings, Self::Execs, Self::Forks, Self::Connections, Self::Names];

    /// The word used in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denials => "denials",
            Self::Findings => "findings",
            Self::Execs => "execs",
            Self::Forks => "forks",
            Self::Connections => "connections",
            Self::Names => "names",
        }
    }
}

/// A limit that can be reached and told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitName {
    /// `limits.memory`.
    Memory,
    /// `limits.pids`.
    Pids,
    /// `limits.runtime`.
    Runtime,
}

impl LimitName {
    const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Runtime];

    /// The key in `limits:`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Runtime => "runtime",
        }
    }
}

impl When {
    /// Reads a condition.
    pub(in super::super) fn parse(text: &str) -> Result<Self, Refusal> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["finding", rest @ ..] => finding(text, rest),
            ["runtime", rest @ ..] => runtime(text, rest),
            ["limit", rest @ ..] => limit(text, rest),
            [what, rest @ ..] => match Counted::ALL.into_iter().find(|one| one.as_str() == *what) {
                Some(what) => count(text, what, rest),
                None => Err(unknown(text, what)),
            },
            [] => Err(bad(text, "says nothing", "write denials > 20 in 1m, or the like".into())),
        }
    }

    /// What to do about a condition that can never hold under the other sections.
    pub(super) fn never(&self, limits: &LimitsSection, detect: &DetectSection) -> Option<String> {
        let limit = match self {
            Self::Limit { limit } => limit,
            Self::Finding { finding: Some(finding), .. } if !detect.is_on(*finding) => {
                return Some(format!("{finding} is off under detect:, remove one of the two"));
            }
            _ => return None,
        };
        let has = |limit: &LimitName| match limit {
            LimitName::Memory => limits.limits.memory.is_some(),
            LimitName::Pids => limits.limits.pids.is_some(),
            LimitName::Runtime => limits.limits.runtime.is_some(),
        };
        let missing = match limit {
            Some(limit) => (!has(limit)).then(|| limit.as_str().to_owned()),
            None => (!LimitName::ALL.iter().any(has)).then(|| "memory, pids or runtime".into()),
        };
        missing.map(|missing| format!("write {missing} under limits:, or leave the response out"))
    }

    /// The condition in words.
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Count { what, over, within } => {
                format!("at more than {over} {} in {}", what.as_str(), in_words(*within))
            }
            Self::Finding { finding: None, least } => {
                format!("when anything is found with a confidence of {least} or more")
            }
            Self::Finding { finding: Some(finding), least } => {
                format!("when {finding} is found with a confidence of {least} or more")
            }
            Self::Runtime { over } => {
                format!("when the session lasts longer than {}", in_words(*over))
            }
            Self::Limit { limit: None } => "when a limit is reached".into(),
            Self::Limit { limit: Some(limit) } => {
                format!("when the limit on {} is reached", limit.as_str())
            }
        }
    }
}

/// As policies write it.
impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { what, over, within } => {
                write!(f, "{} > {over} in {}", what.as_str(), super::written(*within))
            }
            Self::Finding { finding, least } => {
                write!(f, "finding {} >= {least}", finding.map_or(ANY, Finding::as_str))
            }
            Self::Runtime { over } => write!(f, "runtime > {}", super::written(*over)),
            Self::Limit { limit } => write!(f, "limit {}", limit.map_or(ANY, LimitName::as_str)),
        }
    }
}

fn count(text: &str, what: Counted, rest: &[&str]) -> Result<When, Refusal> {
    let form = || format!("write {} > 20 in 1m", what.as_str());
    let (operator, number, span) = match rest {
        [operator, number, "in", span] => (*operator, *number, *span),
        _ => return Err(bad(text, "is no condition", form())),
    };
    let number: u32 =
        number.parse().ok().filter(|number| *number <= MOST_COUNTED).ok_or_else(|| {
            bad(
                text,
                "has no number that can be counted to",
                format!("{}, with a number up to {MOST_COUNTED}", form()),
            )
        })?;
    let over = match operator {
        ">" => number,
        ">=" if number > 0 => number - 1,
        _ => return Err(bad(text, "compares in a way that is not known", form())),
    };
    let within = duration("when", span)?;
    if within > LONGEST_SPAN {
        return Err(bad(text, "counts over too long a time", "write 24h or less".into()));
    }
    Ok(When::Count { what, over, within })
}

fn finding(text: &str, rest: &[&str]) -> Result<When, Refusal> {
    let (name, least) = match rest {
        [name] => (*name, Confidence::default()),
        [name, ">=", least] => {
            let mend = || format!("write finding {name} >= 0.8: a number from 0 to 1");
            let read = Confidence::parse(least);
            (*name, read.ok_or_else(|| bad(text, "has no confidence", mend()))?)
        }
        _ => {
            let mend = "write finding probing >= 0.8, or finding any >= 0.8";
            return Err(bad(text, "is no condition", mend.into()));
        }
    };
    if name == ANY {
        return Ok(When::Finding { finding: None, least });
    }
    let names = Finding::ALL.map(Finding::as_str);
    let finding = Finding::parse(name)
        .ok_or_else(|| bad(text, "names no finding", guess(name, &names, "findings are")))?;
    Ok(When::Finding { finding: Some(finding), least })
}

fn runtime(text: &str, rest: &[&str]) -> Result<When, Refusal> {
    match rest {
        [">", span] => Ok(When::Runtime { over: duration("when", span)? }),
        _ => Err(bad(text, "is no condition", "write runtime > 2h".into())),
    }
}

fn limit(text: &str, rest: &[&str]) -> Result<When, Refusal> {
    let [name] = rest else {
        return Err(bad(text, "is no condition", "write limit memory, or limit any".into()));
    };
    if *name == ANY {
        return Ok(When::Limit { limit: None });
    }
    let names = LimitName::ALL.map(LimitName::as_str);
    let limit = LimitName::ALL.into_iter().find(|limit| limit.as_str() == *name);
    let unknown = || bad(text, "names no limit that is told of", guess(name, &names, "those are"));
    limit.map(|limit| When::Limit { limit: Some(limit) }).ok_or_else(unknown)
}

fn unknown(text: &str, what: &str) -> Refusal {
    let mut words: Vec<&str> = Counted::ALL.map(Counted::as_str).to_vec();
    words.extend(["finding", "runtime", "limit"]);
    bad(text, "begins with what is not known", guess(what, &words, "a condition begins with"))
}

/// The word that was meant, or all there are.
fn guess(word: &str, known: &[&str], otherwise: &str) -> String {
    match nearest(word, known) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("{otherwise} {}", known.join(", ")),
    }
}

fn bad(text: &str, why: &'static str, mend: String) -> Refusal {
    (Problem::BadCondition { text: quoted(text), why }, mend)
}
