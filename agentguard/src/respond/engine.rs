//! The engine for one session.
//!
//! It cannot flap: recording and alerting are repeated only after `again`; a session that is
//! slowed down stays so until the condition has been calm (at no more than half the number)
//! for `again`; what holds or ends a session lasts by itself, and counting begins anew when a
//! person lets the session go on.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::policy::{Confidence, Counted, Finding, LimitName, Policy, Response, Step, When};

/// Something that a session did, or that came to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// One more of what can be counted.
    Counted(Counted),
    /// Something was found.
    Found(Finding, Confidence),
    /// A limit was reached.
    Limit(LimitName),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A response is to be given.
    Give {
        /// Which step.
        step: Step,
        /// The id of the response.
        rule: String,
        /// Its condition, as the policy has it.
        when: String,
    },
    /// A session that was slowed down may run again.
    Lift {
        /// The id of the response that slowed it down.
        rule: String,
    },
}

/// The responses of one session.
pub struct Engine {
    policy: Arc<Policy>,
    states: Vec<State>,
    /// When the session began. All times here are milliseconds, since whenever the caller
    /// likes.
    started: u64,
}

/// What is remembered for one response.
#[derive(Clone, Debug, Default)]
struct State {
    /// When the last ones happened: one more than may happen, at the most.
    times: VecDeque<u64>,
    /// When it was last given.
    given: Option<u64>,
    /// Whether it slows the session down, and since when there is calm.
    calm_since: Option<u64>,
}

impl Engine {
    /// For a session under a policy that began at that time.
    #[must_use]
    pub fn new(policy: Arc<Policy>, started: u64) -> Self {
        let states = vec![State::default(); policy.responses.len()];
        Self { policy, states, started }
    }

    /// Whether there is nothing to go by.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.states.is_empty()
    }

    /// Takes a fact. What follows from it is given from the mildest to the hardest.
    pub fn see(&mut self, fact: Fact, at: u64) -> Vec<Act> {
        let mut acts = Vec::new();
        for (response, state) in self.policy.responses.iter().zip(&mut self.states) {
            if state.take(response, fact, at) {
                acts.extend(state.give(response, at));
            }
        }
        in_order(acts)
    }

    /// Looks at what time alone brings: sessions that last too long, and calm.
    pub fn tick(&mut self, at: u64) -> Vec<Act> {
        let mut acts = Vec::new();
        let age = at.saturating_sub(self.started);
        for (response, state) in self.policy.responses.iter().zip(&mut self.states) {
            if let When::Runtime { over } = response.when {
                if age > milliseconds(over) && state.given.is_none() {
                    acts.extend(state.give(response, at));
                }
            } else if state.is_calm(response, at) {
                state.calm_since = None;
                acts.push(Act::Lift { rule: response.id.clone() });
            }
        }
        in_order(acts)
    }

    /// A person let the session go on: what was counted before is over.
    pub fn resumed(&mut self) {
        for state in &mut self.states {
            state.times.clear();
        }
    }
}

impl State {
    /// Whether a condition holds with one more fact.
    fn take(&mut self, response: &Response, fact: Fact, at: u64) -> bool {
        match (response.when, fact) {
            (When::Count { what, over, within }, Fact::Counted(one)) if what == one => {
                self.times.push_back(at);
                self.forget(within, at);
                while self.times.len() > size(over) + 1 {
                    self.times.pop_front();
                }
                self.times.len() > size(over)
            }
            (When::Finding { finding, least }, Fact::Found(found, confidence)) => {
                finding.is_none_or(|finding| finding == found) && confidence >= least
            }
            (When::Limit { limit }, Fact::Limit(reached)) => {
                limit.is_none_or(|limit| limit == reached)
            }
            _ => false,
        }
    }

    /// The condition holds: what is to be done now?
    fn give(&mut self, response: &Response, at: u64) -> Option<Act> {
        let again = milliseconds(response.again);
        let due = match response.step {
            Step::Record | Step::Alert => {
                self.given.is_none_or(|given| at.saturating_sub(given) >= again)
            }
            Step::Throttle => self.calm_since.replace(at).is_none(),
            Step::Ask | Step::Pause | Step::Kill => {
                self.times.clear();
                true
            }
        };
        if !due {
            return None;
        }
        self.given = Some(at);
        let (rule, when) = (response.id.clone(), response.when.to_string());
        Some(Act::Give { step: response.step, rule, when })
    }

    /// Whether it slows the session down and has been calm for long enough.
    fn is_calm(&mut self, response: &Response, at: u64) -> bool {
        let Some(since) = self.calm_since else { return false };
        if let When::Count { over, within, .. } = response.when {
            self.forget(within, at);
            if self.times.len() > size(over) / 2 {
                self.calm_since = Some(at);
                return false;
            }
        }
        at.saturating_sub(since) >= milliseconds(response.again)
    }

    /// Forgets what is longer ago than the span.
    fn forget(&mut self, within: u32, at: u64) {
        let span = milliseconds(within);
        while self.times.front().is_some_and(|time| at.saturating_sub(*time) >= span) {
            self.times.pop_front();
        }
    }
}

/// The mildest first.
fn in_order(mut acts: Vec<Act>) -> Vec<Act> {
    acts.sort_by_key(|act| match act {
        Act::Lift { .. } => None,
        Act::Give { step, .. } => Some(*step),
    });
    acts
}

fn milliseconds(seconds: u32) -> u64 {
    u64::from(seconds) * 1000
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    const DENIED: Fact = Fact::Counted(Counted::Denials);

    fn engine(respond: &str) -> Engine {
        let text = format!(
            "version: 1\nagent: a\nlimits: {{ memory: 1GiB, pids: 9 }}\nrespond:\n{respond}"
        );
        let policy = Policy::parse(Path::new("p.yaml"), text.as_bytes());
        Engine::new(Arc::new(policy.unwrap_or_else(|errors| panic!("{errors}"))), 0)
    }

    fn steps(acts: &[Act]) -> Vec<&'static str> {
        let word = |act: &Act| match act {
            Act::Give { step, .. } => step.as_str(),
            Act::Lift { .. } => "lift",
        };
        acts.iter().map(word).collect()
    }

    #[test]
    fn more_than_so_many_in_a_span() {
        let mut engine = engine("  - { when: denials > 3 in 10s, do: pause, id: too-many }\n");
        for at in [0, 1, 2] {
            assert!(engine.see(DENIED, at).is_empty());
        }
        assert!(engine.see(Fact::Counted(Counted::Execs), 3).is_empty(), "not what is counted");
        assert!(engine.see(DENIED, 10_000).is_empty(), "the first is just out of the span");
        assert!(engine.see(DENIED, 10_000).len() == 1, "2 of the first, and 2 more");
        let Some(Act::Give { rule, when, .. }) = ({
            engine.resumed();
            (0..4).map(|_| engine.see(DENIED, 11_000)).find_map(|acts| acts.into_iter().next())
        }) else {
            panic!("nothing is done")
        };
        assert_eq!((rule.as_str(), when.as_str()), ("too-many", "denials > 3 in 10s"));
    }

    #[test]
    fn counting_begins_anew_when_a_session_goes_on() {
        let mut engine = engine("  - { when: denials > 1 in 1m, do: pause }\n");
        engine.see(DENIED, 0);
        assert_eq!(steps(&engine.see(DENIED, 1)), ["pause"]);
        // What was on its way before the pause.
        engine.see(DENIED, 2);
        engine.resumed();
        assert!(engine.see(DENIED, 3).is_empty());
        assert_eq!(steps(&engine.see(DENIED, 4)), ["pause"], "held again, at once");
    }

    #[test]
    fn all_that_fits_is_given_the_mildest_first() {
        let mut engine = engine(
            "  - { when: limit any, do: kill }\n  - { when: limit pids, do: alert }\n  - { when: limit memory, do: record }\n",
        );
        assert_eq!(steps(&engine.see(Fact::Limit(LimitName::Pids), 0)), ["alert", "kill"]);
    }

    #[test]
    fn findings_count_from_their_confidence_on() {
        let mut engine = engine("  - { when: finding probing >= 0.8, do: kill }\n");
        let found = |finding, hundredths| Fact::Found(finding, Confidence::of(hundredths));
        assert!(engine.see(found(Finding::Probing, 79), 0).is_empty());
        assert!(engine.see(found(Finding::Volume, 99), 0).is_empty());
        assert_eq!(steps(&engine.see(found(Finding::Probing, 80), 0)), ["kill"]);
    }

    #[test]
    fn a_session_that_lasts_too_long_is_told_of_once() {
        let mut engine = engine("  - { when: runtime > 1m, do: alert }\n");
        assert!(engine.tick(60_000).is_empty());
        assert_eq!(steps(&engine.tick(60_001)), ["alert"]);
        assert!(engine.tick(900_000).is_empty());
    }

    #[test]
    fn the_same_is_told_again_only_after_a_while() {
        let mut engine = engine("  - { when: limit pids, do: alert, again: 1m }\n");
        let mut at = |at| steps(&engine.see(Fact::Limit(LimitName::Pids), at)).len();
        assert_eq!([at(0), at(1), at(59_999), at(60_000), at(60_001)], [1, 0, 0, 1, 0]);
    }

    #[test]
    fn a_session_is_slow_until_there_was_calm_for_a_while() {
        let mut engine = engine("  - { when: denials > 2 in 10s, do: throttle, again: 1m }\n");
        for at in 0..2 {
            engine.see(DENIED, at);
        }
        assert_eq!(steps(&engine.see(DENIED, 2)), ["throttle"]);
        assert!(engine.see(DENIED, 3).is_empty(), "it is slow already");
        assert!(engine.tick(30_000).is_empty());
        engine.see(DENIED, 40_000);
        engine.see(DENIED, 40_000);
        assert!(engine.tick(45_000).is_empty(), "2 are more than half of 2: no calm");
        assert!(engine.tick(104_999).is_empty());
        assert_eq!(steps(&engine.tick(105_000)), ["lift"]);
        assert!(engine.tick(999_000).is_empty());
    }

    proptest! {
        /// Whatever happens whenever: no alert twice within `again`, and slow and not slow
        /// take turns, with `again` between them.
        #[test]
        fn it_cannot_flap(events in prop::collection::vec((0u64..20_000, 0u8..3), 1..200)) {
            let mut engine = engine(
                "  - { when: denials > 2 in 10s, do: throttle, again: 30s }\n  - { when: denials > 1 in 20s, do: alert, again: 40s }\n",
            );
            let (mut at, mut slow, mut alerted) = (0, None, None);
            for (later, what) in events {
                at += later;
                let acts = if what == 0 { engine.tick(at) } else { engine.see(DENIED, at) };
                for step in steps(&acts) {
                    match step {
                        "alert" => {
                            prop_assert!(alerted.is_none_or(|then| at - then >= 40_000));
                            alerted = Some(at);
                        }
                        "throttle" => {
                            prop_assert_eq!(slow, None);
                            slow = Some(at);
                        }
                        _ => {
                            prop_assert!(slow.is_some_and(|since| at - since >= 30_000));
                            slow = None;
                        }
                    }
                }
            }
        }

        /// A condition on a count holds exactly when there are so many in the span.
        #[test]
        fn counts_are_exact(gaps in prop::collection::vec(0u64..3000, 1..100)) {
            let mut engine = engine("  - { when: denials > 4 in 5s, do: record, again: 1s }\n");
            let (mut at, mut times, mut told) = (0, Vec::new(), None::<u64>);
            for gap in gaps {
                at += gap;
                times.push(at);
                let holds = times.iter().filter(|time| at - **time < 5000).count() > 4;
                let due = holds && told.is_none_or(|then| at - then >= 1000);
                prop_assert_eq!(engine.see(DENIED, at).len(), usize::from(due));
                if due {
                    told = Some(at);
                }
            }
        }
    }
}
