//! Sampling of activity: when one session does the same thing over and over, not every
//! line of it is logged. Each line that is kept says which part it stands for.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use crate::config::SamplingConfig;
use crate::event::{Class, Event, Outcome};

const WINDOW: Duration = Duration::from_secs(1);
/// Sorts of lines that are told apart in one second; what is beyond shares one count.
const SORTS: usize = 16_384;

/// Decides which lines are kept.
pub(super) struct Sampler {
    above: u32,
    one_in: u32,
    began: Instant,
    sorts: HashMap<u64, Count>,
}

#[derive(Default)]
struct Count {
    /// Lines in this second.
    lines: u32,
    /// Lines left out since the last that was kept.
    left_out: u32,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kept {
    /// It is written, as all of its sort are.
    All,
    /// It is written, and stands for others: this part is kept.
    Part(f64),
    /// It is left out.
    Not,
}

impl Sampler {
    pub(super) fn new(config: &SamplingConfig) -> Self {
        let (above, one_in) = (config.above.get(), config.keep_one_in.get());
        Self { above, one_in, began: Instant::now(), sorts: HashMap::new() }
    }

    /// Whether a line is kept. What was refused or failed always is, and whatever is no
    /// activity.
    pub(super) fn keep(&mut self, event: &Event, now: Instant) -> Kept {
        let good = matches!(event.outcome, Outcome::Allowed | Outcome::Success);
        if event.kind != Class::Activity || !good || self.one_in == 1 {
            return Kept::All;
        }
        if now.saturating_duration_since(self.began) >= WINDOW {
            self.began = now;
            self.sorts.retain(|_, count| std::mem::take(&mut count.lines) > 0);
        }
        let mut hasher = DefaultHasher::new();
        (&event.session, event.action).hash(&mut hasher);
        let sort = hasher.finish();
        let known = self.sorts.contains_key(&sort) || self.sorts.len() < SORTS;
        let count = self.sorts.entry(if known { sort } else { 0 }).or_default();
        count.lines = count.lines.saturating_add(1);
        if count.lines <= self.above {
            return Kept::All;
        }
        // The count goes on from second to second, so that in the long run exactly one in
        // so many is kept.
        count.left_out += 1;
        if count.left_out < self.one_in {
            return Kept::Not;
        }
        count.left_out = 0;
        Kept::Part(1.0 / f64::from(self.one_in))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sampler(above: u32, one_in: u32) -> Sampler {
        let some = |number| std::num::NonZeroU32::new(number).unwrap();
        Sampler::new(&SamplingConfig { above: some(above), keep_one_in: some(one_in) })
    }

    fn event(kind: Class, outcome: Outcome, session: &str) -> Event {
        let session = Some(session.to_owned());
        Event { kind, outcome, session, ..crate::event::sample() }
    }

    #[test]
    fn decisions_denials_and_failures_are_never_left_out() {
        let mut sampler = sampler(1, 1000);
        let now = Instant::now();
        for (kind, outcome) in [
            (Class::Decision, Outcome::Allowed),
            (Class::Decision, Outcome::Denied),
            (Class::Lifecycle, Outcome::Success),
            (Class::Activity, Outcome::Denied),
            (Class::Activity, Outcome::WouldDeny),
            (Class::Activity, Outcome::Failure),
        ] {
            let event = event(kind, outcome, "a");
            assert!((0..5000).all(|_| sampler.keep(&event, now) == Kept::All));
        }
    }

    #[test]
    fn one_busy_session_takes_nothing_from_another() {
        let mut sampler = sampler(10, 100);
        let now = Instant::now();
        let busy = event(Class::Activity, Outcome::Allowed, "busy");
        for _ in 0..10_000 {
            sampler.keep(&busy, now);
        }
        let calm = event(Class::Activity, Outcome::Allowed, "calm");
        assert!((0..10).all(|_| sampler.keep(&calm, now) == Kept::All));
        assert_eq!(sampler.keep(&calm, now), Kept::Not);
    }

    #[test]
    fn memory_is_bounded() {
        let mut sampler = sampler(1, 10);
        let now = Instant::now();
        for session in 0..20_000 {
            sampler.keep(&event(Class::Activity, Outcome::Allowed, &session.to_string()), now);
        }
        assert!(sampler.sorts.len() <= SORTS + 1);
        let later = now + WINDOW * 2;
        sampler.keep(&event(Class::Activity, Outcome::Allowed, "x"), now + WINDOW);
        sampler.keep(&event(Class::Activity, Outcome::Allowed, "x"), later);
        assert!(sampler.sorts.len() <= 2);
    }

    proptest! {
        /// The lines that are kept, each for what it stands for, are as many as there were,
        /// but for less than one step.
        #[test]
        fn kept_lines_stand_for_all(above in 1..50u32, one_in in 1..50u32, seconds in prop::collection::vec(0..500u32, 1..6)) {
            let mut sampler = sampler(above, one_in);
            let event = event(Class::Activity, Outcome::Allowed, "a");
            let begin = sampler.began;
            let (mut seen, mut stood) = (0.0, 0.0);
            for (second, lines) in seconds.iter().enumerate() {
                let now = begin + WINDOW * u32::try_from(second).unwrap();
                for _ in 0..*lines {
                    seen += 1.0;
                    stood += match sampler.keep(&event, now) {
                        Kept::All => 1.0,
                        Kept::Part(rate) => 1.0 / rate,
                        Kept::Not => 0.0,
                    };
                }
            }
            prop_assert!(stood <= seen + 0.001 && seen - stood < f64::from(one_in), "{} of {}", stood, seen);
        }
    }
}
