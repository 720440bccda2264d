//! Which traces are told. The decision is about the whole trace: a share of them, by their
//! ids, is told as it happens; of the others the latest spans are held back until the
//! session has ended, and told after all where something happened in it that must not be
//! missed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::Finished;
use crate::event::{Class, Event, Outcome};
use crate::sink::otlp::attributes::number;

/// Spans that are held back, of all sessions together.
const HELD: usize = 16_384;
/// Spans that are held back of one session.
const HELD_OF_ONE: usize = 2048;
/// 2 to the power of 56: so many values do the random bits of a trace id have.
const RANDOM: u64 = 1 << 56;

/// Decides which spans go out.
#[derive(Debug)]
pub(in crate::sink::otlp) struct Sampler {
    /// Traces whose random bits are not below this are told.
    threshold: u64,
    /// Below this confidence, an event makes its trace be kept.
    confidence: f64,
    fates: HashMap<Arc<str>, Fate>,
    held: usize,
    /// Events that were left out, since the last time that somebody asked.
    sampled: u64,
}

/// What is known of a trace.
#[derive(Debug, Default)]
struct Fate {
    told: bool,
    held: VecDeque<Finished>,
    /// Spans that were held back and had to make room.
    dropped: u32,
}

impl Sampler {
    /// Tells that share of all traces, between 0 and 1, and those with an event of less
    /// confidence.
    pub(in crate::sink::otlp) fn new(ratio: f64, confidence: f64) -> Self {
        Self { threshold: threshold(ratio), confidence, fates: HashMap::new(), held: 0, sampled: 0 }
    }

    /// Whether an event must not be missed.
    pub(in crate::sink::otlp) fn matters(&self, event: &Event) -> bool {
        let refused =
            matches!(event.outcome, Outcome::Denied | Outcome::WouldDeny | Outcome::Failure);
        // What is none of these kinds was found by the daemon.
        let found = !matches!(event.kind, Class::Decision | Class::Lifecycle | Class::Activity);
        let killed = event.action == "session.kill"
            || (event.action == "session.end" && event.message.is_some());
        refused || found || killed || event.confidence < self.confidence
    }

    /// A session's trace is to be told, and with it what was held back.
    pub(in crate::sink::otlp) fn keep(&mut self, session: &Arc<str>, out: &mut Vec<Finished>) {
        let fate = self.fates.entry(Arc::clone(session)).or_default();
        fate.told = true;
        self.held -= fate.held.len();
        if let Some(last) = fate.held.back_mut().filter(|_| fate.dropped > 0) {
            let count = std::mem::take(&mut fate.dropped);
            last.span.attributes.push(number("agentguard.spans.left_out", count));
        }
        out.extend(fate.held.drain(..));
    }

    /// Lets a span go out, or holds it back.
    pub(in crate::sink::otlp) fn offer(&mut self, finished: Finished, out: &mut Vec<Finished>) {
        if finished.keep {
            self.keep(&finished.session, out);
        }
        let told = random(&finished.span.trace_id) >= self.threshold;
        let fate = self.fates.entry(Arc::clone(&finished.session)).or_default();
        if fate.told || told {
            out.push(finished);
            return;
        }
        fate.held.push_back(finished);
        self.held += 1;
        if fate.held.len() > HELD_OF_ONE || self.held > HELD {
            self.held -= 1;
            fate.dropped += 1;
            self.sampled += fate.held.pop_front().map_or(0, |oldest| oldest.weight);
        }
    }

    /// Whether a session's trace is told for what happened in it.
    pub(in crate::sink::otlp) fn kept(&self, session: &str) -> bool {
        self.fates.get(session).is_some_and(|fate| fate.told)
    }

    /// Forgets a session. What was held back of it is left out.
    pub(in crate::sink::otlp) fn forget(&mut self, session: &str) {
        if let Some(fate) = self.fates.remove(session) {
            self.held -= fate.held.len();
            self.sampled += fate.held.iter().map(|held| held.weight).sum::<u64>();
        }
    }

    /// Forgets all sessions.
    pub(in crate::sink::otlp) fn forget_all(&mut self) {
        for session in self.fates.keys().cloned().collect::<Vec<_>>() {
            self.forget(&session);
        }
    }

    /// Events that were left out since the last time.
    pub(in crate::sink::otlp) fn take_sampled(&mut self) -> u64 {
        std::mem::take(&mut self.sampled)
    }
}

/// The random bits of a trace id: its last 56 (W3C Trace Context, level 2), so that others
/// that sample by them choose the same traces.
fn random(trace: &[u8]) -> u64 {
    let last = trace.iter().rev().take(7).rev();
    last.fold(0, |bits, byte| (bits << 8) | u64::from(*byte))
}

/// Where the share of traces that is left out ends.
fn threshold(ratio: f64) -> u64 {
    // Exact: a whole number, from 0 to 2 to the power of 56.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "the value is within the range of both types"
    )]
    let threshold = ((1.0 - ratio.clamp(0.0, 1.0)) * RANDOM as f64) as u64;
    threshold
}

#[cfg(test)]
#[path = "sampling_tests.rs"]
mod tests;
