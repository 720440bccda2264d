//! OpenTelemetry: sessions as traces, events as log records, and agentguard's own
//! metrics, sent over OTLP.
//!
//! Each signal is a sink of its own, with its own queue, receiver and books. The messages
//! are those of `opentelemetry-proto`; the SDK is not used, because it gives spans ids by
//! chance, and ours have to be the same after a restart.

mod attributes;
mod client;
mod delta;
mod exporter;
mod grpc;
mod headers;
mod http;
mod logs;
mod metrics;
#[cfg(test)]
mod receiver;
#[cfg(test)]
mod sample;
mod signal;
mod spans;
#[cfg(test)]
mod tests;
mod traces;

use std::path::Path;
use std::sync::Arc;

use client::Client;
use exporter::{Exporter, Pace};
use opentelemetry_proto::tonic::resource::v1::Resource;
use traces::Traces;

use super::Hub;
use super::delivery::TlsError;
use crate::config::{OtlpConfig, SecretError};
use crate::error::Result;
use crate::event::{Class, Event};

/// The file of open spans, in the daemon's memory.
const SAVED: &str = "otlp-open-spans.pb";

/// Why OTLP cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// A secret cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A header cannot be sent.
    #[error(
        "the value of the header {0:?} cannot be sent\n  = it has characters that HTTP does not allow: correct what it refers to"
    )]
    Header(String),
}

/// Starts what the configuration asks for. Open spans are kept in the directory `state`.
///
/// # Errors
///
/// Where a secret or a certificate that is referred to cannot be used.
pub(super) fn start(config: &OtlpConfig, state: &Path, hub: &mut Hub) -> Result<()> {
    let resource = resource(config);
    if let Some(target) = config.target(&config.traces, "traces") {
        let client = Client::new(&target)?;
        let (resource, pace) = (resource.clone(), pace(config));
        let (sampling, saved) = (config.sampling.clone(), state.join(SAVED));
        hub.attach("otlp-traces", of_session, |events, health| async move {
            let traces = Traces::new(&sampling, saved, Arc::clone(&health));
            traces.run(events, Exporter::start(client, resource, pace, health)).await;
        })?;
    }
    if let Some(target) = config.target(&config.logs, "logs") {
        let client = Client::new(&target)?;
        let (resource, pace) = (resource.clone(), pace(config));
        let wants = if config.log_activity { everything } else { all_but_activity };
        hub.attach("otlp-logs", wants, |events, health| async move {
            logs::run(events, Exporter::start(client, resource, pace, health)).await;
        })?;
    }
    if let (Some(target), Some(metrics)) =
        (config.target(&config.metrics, "metrics"), hub.metrics().cloned())
    {
        let client = Client::new(&target)?;
        let (health, every) = (hub.health("otlp-metrics"), config.metrics_every.0);
        let temporality = config.temporality;
        let sender = metrics::Sender { metrics, client, resource, every, temporality, health };
        hub.serve(|| sender.run())?;
    }
    Ok(())
}

fn of_session(event: &Event) -> bool {
    event.session.is_some()
}

fn everything(_: &Event) -> bool {
    true
}

fn all_but_activity(event: &Event) -> bool {
    event.kind != Class::Activity
}

fn pace(config: &OtlpConfig) -> Pace {
    let whole = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Pace {
        queue: whole(config.queue),
        batch: whole(config.batch),
        delay: config.delay.0,
        retry: config.retry.0,
    }
}

/// What all of it comes from. What the configuration says comes last, and holds.
fn resource(config: &OtlpConfig) -> Resource {
    use attributes::text;
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let mut all = vec![
        text("service.name", "agentguard"),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("host.name", host.unwrap_or_else(|| "localhost".into())),
        text("os.type", "linux"),
    ];
    all.retain(|attribute| !config.resource.contains_key(&attribute.key));
    all.extend(config.resource.iter().map(|(key, value)| text(key, value)));
    Resource { attributes: all, ..Resource::default() }
}
