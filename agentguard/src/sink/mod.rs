//! Where events go: the log, the memory that `agentguard events` reads, and the hub
//! that feeds what talks to others.

mod alerts;
pub mod audit;
mod delivery;
mod export;
mod health;
mod hub;
mod journal;
mod latency;
mod log;
mod metrics;
mod otlp;
mod recent;
mod rotate;
#[cfg(test)]
mod sample;
mod sampler;
mod spool;

pub use delivery::TlsError;
pub use health::Health;
pub use hub::{Healths, Hub};
pub use journal::{Journal, Published};
pub use latency::{BOUNDS, Latency, Reading};
pub use log::{Log, LogOptions};
pub use metrics::{
    Endpoint, Metrics, Overview, PolicyRow, Read, SessionRow, Sheet, Spec, register_kernel,
};
pub use otlp::OtlpError;
pub use recent::{Recent, Sent};

use std::path::Path;
use std::sync::Arc;

use crate::config::Settings;
use crate::error::{Error, Result};

/// Starts every sink that the configuration asks for. What is wrong with one is found
/// here, before the daemon touches the kernel. `state` is the daemon's memory.
///
/// # Errors
///
/// What a sink cannot start without: an address in use, a secret that is not there.
pub fn start(settings: &Settings, state: &Path) -> Result<Hub> {
    let mut hub = Hub::default();
    let metrics = Metrics::new(hub.books())?;
    hub.measure(Arc::clone(&metrics));
    if let Some(listen) = settings.metrics.listen {
        serve_metrics(&mut hub, Endpoint::bind(listen)?, metrics)?;
    }
    otlp::start(&settings.otlp, state, &mut hub)?;
    start_alerts(&mut hub, settings)?;
    start_export(&mut hub, settings)?;
    Ok(hub)
}

fn start_alerts(hub: &mut Hub, settings: &Settings) -> Result<()> {
    for config in &settings.alerts.0 {
        let name = format!("alerts/{}", config.name.as_str());
        let sink = alerts::Alerts::new(config)
            .map_err(|source| Error::Sink { sink: name.clone(), why: source.to_string() })?;
        hub.attach(name, alerts::wants, |events, health| sink.run(events, health))?;
    }
    Ok(())
}

fn start_export(hub: &mut Hub, settings: &Settings) -> Result<()> {
    for config in &settings.export.0 {
        let name = format!("export/{}", config.name.as_str());
        let sink = export::Export::new(config)
            .map_err(|source| Error::Sink { sink: name.clone(), why: source.to_string() })?;
        let wants = if config.activity { export::wants_all } else { export::wants_no_activity };
        hub.attach(name, wants, |events, health| sink.run(events, health))?;
    }
    Ok(())
}

/// Serves metrics from the hub's thread.
///
/// # Errors
///
/// Where the thread cannot be made.
pub fn serve_metrics(hub: &mut Hub, endpoint: Endpoint, metrics: Arc<Metrics>) -> Result<()> {
    hub.serve(|| metrics::serve(endpoint, metrics))
}
