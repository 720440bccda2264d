//! Metrics: counted from the same events that every sink gets, and read from the
//! kernel, the sessions, the sinks and this process when somebody asks.
//!
//! **Adding to them.** A part of the daemon that has something to count registers it
//! with [`Metrics::register`]: a type of the `prometheus` crate, or [`Read`] for values
//! that are read when asked for. Names and labels as in `docs/metrics.md`.

mod events;
mod kernel;
mod overview;
mod process;
mod serve;
mod sheet;
mod sinks;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Registry, TextEncoder};

pub use kernel::register as register_kernel;
pub use overview::{Overview, PolicyRow, SessionRow};
pub use serve::Endpoint;
pub(super) use serve::serve;
pub use sheet::{Read, Sheet, Spec};

use super::Healths;
use crate::error::Result;
use crate::event::{Class, Event};
use events::Events;

/// All metrics of the daemon.
pub struct Metrics {
    registry: Registry,
    events: Events,
    overview: Arc<Overview>,
}

impl Metrics {
    /// With those of events, sessions, sinks, this build and this process. Those of the
    /// kernel come with [`register_kernel`], when there are tables.
    ///
    /// # Errors
    ///
    /// Where a metric cannot be declared.
    pub fn new(healths: Healths) -> Result<Arc<Self>> {
        let registry = Registry::new();
        let events = Events::register(&registry)?;
        let overview = Arc::new(Overview::default());
        let metrics = Self { registry, events, overview };
        sinks::register(&metrics, healths)?;
        overview::register(&metrics)?;
        usage::register(&metrics)?;
        process::register(&metrics)?;
        Ok(Arc::new(metrics))
    }

    /// Adds what a part of the daemon counts.
    ///
    /// # Errors
    ///
    /// Where a metric of that name is there already.
    pub fn register(&self, collector: Box<dyn Collector>) -> Result<()> {
        Ok(self.registry.register(collector)?)
    }

    /// Counts an event.
    pub fn count(&self, event: &Event) {
        self.events.count(event);
    }

    /// An event of that sort was handed to every sink so long after the kernel had
    /// recorded it.
    pub fn published(&self, kind: Class, after: Duration) {
        self.events.published(kind, after);
    }

    /// What the daemon knows of sessions and policies.
    #[must_use]
    pub fn overview(&self) -> &Overview {
        &self.overview
    }

    /// Every metric as it is now. Reads kernel tables, so it takes some hundred system
    /// calls, and now and then some milliseconds: not for the daemon's thread.
    #[must_use]
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// The same in Prometheus' text format.
    ///
    /// # Errors
    ///
    /// Where a metric has no name or no value.
    pub fn text(&self) -> Result<String> {
        let mut text = String::new();
        TextEncoder::new().encode_utf8(&self.gather(), &mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests;
