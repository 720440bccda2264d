//! Which alerts are open: the same alert is told once, again when it gets worse, and
//! once more when it is over.
//!
//! Pure: the time is given. Times are milliseconds since 1970, because what is open
//! outlives the daemon.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::alert::{Alert, Key, Signal};
use crate::event::Severity;

/// Alerts that may be open at once for one sink. One host's sessions do not get near;
/// it keeps the memory bounded.
const MAX_OPEN: usize = 10_000;

/// How long an alert of a state may be open without its end: a month, in milliseconds.
/// The event that ends it may have been lost.
const LASTING: u64 = 30 * 24 * 3600 * 1000;

/// Milliseconds since 1970.
pub(crate) type Moment = u64;

/// When alerts are told and when they are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// What is less bad is not told.
    pub(crate) min_severity: Severity,
    /// An alert that is not raised again for so long is over, in milliseconds.
    pub(crate) quiet: u64,
    /// An alert stays open for at least so long, also when its session has ended, in
    /// milliseconds: people should see it.
    pub(crate) hold: u64,
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Notice {
    pub(crate) alert: Alert,
    /// Whether it is over.
    pub(crate) resolved: bool,
    /// How often it was raised.
    pub(crate) count: u64,
    /// When it was raised first.
    pub(crate) first: Moment,
    /// When it was raised last.
    pub(crate) last: Moment,
    /// When it will be over, or was.
    pub(crate) until: Moment,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Taken {
    /// Somebody is to be told.
    Tell(Box<Notice>),
    /// It belongs to what was told already, or is not bad enough.
    Folded,
    /// There are too many open alerts.
    Refused,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Open {
    alert: Alert,
    count: u64,
    first: Moment,
    last: Moment,
    /// Whether something said that it is over. Raising it again takes that back.
    over: bool,
    /// Whether its session has ended. Nothing takes that back.
    ended: bool,
    /// Whether it is in the queue to be told.
    told: bool,
}

/// The open alerts of one sink.
#[derive(Debug)]
pub(crate) struct Tracker {
    rules: Rules,
    open: BTreeMap<Key, Open>,
}

/// What is kept of a tracker across restarts.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Memory(Vec<Open>);

impl Tracker {
    /// With what an earlier one remembered.
    pub(crate) fn new(rules: Rules, memory: Memory) -> Self {
        let open = memory.0.into_iter().take(MAX_OPEN);
        Self { rules, open: open.map(|open| (open.alert.key.clone(), open)).collect() }
    }

    /// What the next one has to know.
    pub(crate) fn memory(&self) -> Memory {
        Memory(self.open.values().cloned().collect())
    }

    /// Takes in what an event means.
    pub(crate) fn take(&mut self, signal: Signal, now: Moment) -> Taken {
        match signal {
            Signal::Raise(alert) => self.raise(*alert, now),
            Signal::SessionOver(session) => {
                let of_it = |key: &Key| key.session.as_deref() == Some(session.as_str());
                self.open.iter_mut().filter(|(key, _)| of_it(key)).for_each(|(_, open)| {
                    open.ended = true;
                });
                Taken::Folded
            }
            Signal::Over(keys) => {
                for key in keys {
                    if let Some(open) = self.open.get_mut(&key) {
                        open.over = true;
                    }
                }
                Taken::Folded
            }
        }
    }

    fn raise(&mut self, alert: Alert, now: Moment) -> Taken {
        if alert.severity < self.rules.min_severity {
            return Taken::Folded;
        }
        if let Some(open) = self.open.get_mut(&alert.key) {
            let worse = alert.severity > open.alert.severity;
            open.count = open.count.saturating_add(1);
            open.last = open.last.max(now);
            open.over = false;
            if !worse {
                return Taken::Folded;
            }
            open.alert = alert;
            open.told = false;
            return Taken::Tell(Box::new(notice(open, self.rules, false)));
        }
        if self.open.len() >= MAX_OPEN {
            return Taken::Refused;
        }
        let (over, ended, told) = (false, false, false);
        let open = Open { count: 1, first: now, last: now, over, ended, told, alert };
        let told = notice(&open, self.rules, false);
        self.open.insert(open.alert.key.clone(), open);
        Taken::Tell(Box::new(told))
    }

    /// An alert is in the queue to be told.
    pub(crate) fn told(&mut self, key: &Key) {
        if let Some(open) = self.open.get_mut(key) {
            open.told = true;
        }
    }

    /// Those that an earlier daemon was ended just before it could put them into the
    /// queue.
    pub(crate) fn untold(&self) -> Vec<Notice> {
        let untold = self.open.values().filter(|open| !open.told);
        untold.map(|open| notice(open, self.rules, false)).collect()
    }

    /// The alerts that are over now, which it forgets.
    pub(crate) fn resolve(&mut self, now: Moment) -> Vec<Notice> {
        let rules = self.rules;
        let over = |open: &Open| until(open, rules) <= now;
        let gone = self.open.extract_if(.., |_, open| over(open));
        gone.map(|(_, open)| notice(&open, rules, true)).collect()
    }

    /// The open alerts, for products that have to be told again and again.
    pub(crate) fn open(&self) -> Vec<Notice> {
        self.open.values().map(|open| notice(open, self.rules, false)).collect()
    }
}

/// When an alert is over.
fn until(open: &Open, rules: Rules) -> Moment {
    let after = match open.over || open.ended {
        true => rules.hold.min(rules.quiet),
        false if open.alert.lasting => LASTING,
        false => rules.quiet,
    };
    open.last.saturating_add(after)
}

fn notice(open: &Open, rules: Rules, resolved: bool) -> Notice {
    Notice {
        alert: open.alert.clone(),
        resolved,
        count: open.count,
        first: open.first,
        last: open.last,
        until: until(open, rules),
    }
}

#[cfg(test)]
#[path = "tracker_tests.rs"]
mod tests;
