//! What a sink has done with what it was offered. Every event ends in one of three
//! ways, so `offered = written + sampled + lost` once nothing is on its way.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::latency::Latency;

/// How much of an error's text is kept, in bytes.
const ERROR_BYTES: usize = 1024;

/// The books of one sink. Every part of it may be used from any thread.
#[derive(Debug)]
pub struct Health {
    name: Arc<str>,
    offered: AtomicU64,
    written: AtomicU64,
    sampled: AtomicU64,
    lost: AtomicU64,
    errors: AtomicU64,
    last_error: Mutex<Option<String>>,
    latency: Latency,
}

impl Health {
    /// Of a sink with that name, which becomes a metric's label.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            offered: AtomicU64::new(0),
            written: AtomicU64::new(0),
            sampled: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            last_error: Mutex::new(None),
            latency: Latency::default(),
        }
    }

    /// The sink's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// So many events were offered. The hub counts these for the sinks it feeds.
    pub fn add_offered(&self, count: u64) {
        self.offered.fetch_add(count, Relaxed);
    }

    /// So many have arrived where the sink sends them.
    pub fn add_written(&self, count: u64) {
        self.written.fetch_add(count, Relaxed);
    }

    /// So many were left out on purpose.
    pub fn add_sampled(&self, count: u64) {
        self.sampled.fetch_add(count, Relaxed);
    }

    /// So many were given up.
    pub fn add_lost(&self, count: u64) {
        self.lost.fetch_add(count, Relaxed);
    }

    /// Something went wrong. Says nothing of events: those that are lost by it are
    /// counted with [`Self::add_lost`]. The text must hold no secret.
    pub fn failed(&self, error: &dyn Display) {
        self.errors.fetch_add(1, Relaxed);
        let mut text = error.to_string();
        text.truncate(text.floor_char_boundary(ERROR_BYTES));
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }

    /// How long a write, a request or a batch took.
    pub fn took(&self, time: Duration) {
        self.latency.observe(time);
    }

    /// Events that were offered.
    #[must_use]
    pub fn offered(&self) -> u64 {
        self.offered.load(Relaxed)
    }

    /// Events that have arrived.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Events that were left out on purpose.
    #[must_use]
    pub fn sampled(&self) -> u64 {
        self.sampled.load(Relaxed)
    }

    /// Events that were given up.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// How often something went wrong.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Relaxed)
    }

    /// What went wrong last.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long writes took.
    #[must_use]
    pub const fn latency(&self) -> &Latency {
        &self.latency
    }

    /// Events that are neither written, left out nor given up yet.
    #[must_use]
    pub fn pending(&self) -> u64 {
        // What ended is read first: an event that ends meanwhile is not counted twice.
        let ended = self.written() + self.sampled() + self.lost();
        self.offered().saturating_sub(ended)
    }

    /// The sink is gone: what was on its way is lost.
    pub(super) fn close(&self) {
        self.add_lost(self.pending());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_ends_in_one_of_three_ways() {
        let health = Health::new("test");
        health.add_offered(10);
        health.add_written(3);
        health.add_sampled(2);
        health.add_lost(1);
        assert_eq!(health.pending(), 4);
        health.close();
        assert_eq!((health.pending(), health.lost()), (0, 5));
        health.close();
        assert_eq!(health.lost(), 5);
    }

    #[test]
    fn the_last_error_is_kept_and_bounded() {
        let health = Health::new("test");
        assert_eq!(health.last_error(), None);
        health.failed(&"ä".repeat(ERROR_BYTES));
        health.failed(&format_args!("x{}", "ä".repeat(ERROR_BYTES)));
        assert_eq!(health.errors(), 2);
        let kept = health.last_error().unwrap();
        assert!(kept.len() <= ERROR_BYTES && kept.starts_with("xä"));
    }
}
