//! More than this agent has ever done: held against its own earlier sessions.
//!
//! The statistic: of each session, the busiest minute is remembered for each measure, of the
//! last 32 sessions of the agent. The usual is the median of those. A minute with more than
//! eight times the usual (the threshold), and with more than a floor that no ordinary program
//! is far from, is out of line. With fewer than five sessions nothing is said.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::scale::grows;
use super::{Found, Seen};
use crate::event::{Class, Outcome};
use crate::policy::Finding;

/// How many times the usual is out of line.
pub(super) const FACTOR: u32 = 8;
/// How many sessions are remembered, and how many there have to be.
const SESSIONS: usize = 32;
const WARM_UP: usize = 5;
const MINUTE: u64 = 60_000;
/// How many events of a minute are kept to show it.
const KEPT: usize = 16;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Connections and messages, allowed or not.
    Connections,
    /// Names that were asked for.
    Names,
    /// Programs that were executed.
    Execs,
    /// Files that were made, written, renamed or removed.
    Changes,
    /// Refusals.
    Denials,
}

impl Measure {
    /// A minute with fewer is in line, whatever the agent did before.
    const fn floor(self) -> u32 {
        match self {
            Self::Connections => 60,
            Self::Names => 100,
            Self::Execs => 600,
            Self::Changes => 1000,
            Self::Denials => 30,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Names => "names",
            Self::Execs => "programs executed",
            Self::Changes => "changes of files",
            Self::Denials => "refusals",
        }
    }
}

/// The busiest minute of a session, by measure.
pub type Peaks = BTreeMap<Measure, u32>;

/// The busiest minutes of an agent's last sessions, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    sessions: VecDeque<Peaks>,
}

impl History {
    /// Adds those of a session.
    pub fn add(&mut self, peaks: Peaks) {
        self.sessions.push_back(peaks);
        while self.sessions.len() > SESSIONS {
            self.sessions.pop_front();
        }
    }

    /// The usual busiest minute; `None` while too little is known.
    fn usual(&self, measure: Measure) -> Option<u32> {
        if self.sessions.len() < WARM_UP {
            return None;
        }
        let of = |peaks: &Peaks| peaks.get(&measure).copied().unwrap_or(0);
        let mut all: Vec<u32> = self.sessions.iter().map(of).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    }
}

/// See the module.
pub(super) struct Volume {
    history: History,
    factor: u32,
    minutes: BTreeMap<Measure, Minute>,
    peaks: Peaks,
}

#[derive(Default)]
struct Minute {
    number: u64,
    count: u32,
    last: VecDeque<String>,
}

impl Volume {
    pub(super) const fn new(history: History, factor: u32) -> Self {
        Self { history, factor, minutes: BTreeMap::new(), peaks: BTreeMap::new() }
    }

    pub(super) fn peaks(&self) -> Peaks {
        self.peaks.clone()
    }

    pub(super) fn see(&mut self, event: &Seen<'_>, found: &mut Vec<Found>) {
        for measure in measures(event).into_iter().flatten() {
            found.extend(self.count(measure, event));
        }
    }

    fn count(&mut self, measure: Measure, event: &Seen<'_>) -> Option<Found> {
        let number = event.at / MINUTE;
        let minute = self.minutes.entry(measure).or_default();
        if minute.number != number {
            *minute = Minute { number, ..Minute::default() };
        }
        minute.count = minute.count.saturating_add(1);
        let count = minute.count;
        let peak = self.peaks.entry(measure).or_default();
        *peak = count.max(*peak);
        // Most minutes end far below the floor: those cost nothing.
        if count + u32::try_from(KEPT).unwrap_or(0) < measure.floor() {
            return None;
        }
        minute.last.push_back(event.id.to_owned());
        if minute.last.len() > KEPT {
            minute.last.pop_front();
        }
        let usual = self.history.usual(measure)?;
        let limit = usual.saturating_mul(self.factor).max(measure.floor());
        (count > limit).then(|| Found {
            finding: Finding::Volume,
            new: false,
            confidence: grows(60, count, limit),
            evidence: minute.last.iter().cloned().collect(),
            reason: format!(
                "{count} {} in a minute; {usual} is usual for this agent",
                measure.as_str()
            ),
        })
    }
}

fn measures(event: &Seen<'_>) -> [Option<Measure>; 2] {
    let of = match event.action {
        "connect" | "send" => Some(Measure::Connections),
        "resolve" => Some(Measure::Names),
        "exec" if event.kind == Class::Activity => Some(Measure::Execs),
        _ if event.changes().is_some() && event.outcome == Outcome::Allowed => {
            Some(Measure::Changes)
        }
        _ => None,
    };
    [of, event.denied().then_some(Measure::Denials)]
}
