//! The daemon's configuration file: one section for each part of the daemon, each a
//! type of its own in a file of its own.
//!
//! A file that is wrong is refused as a whole, with line, column and mend. What is
//! not in it has its default, and so has everything where there is no file.

mod alerts;
mod amount;
mod audit;
mod control;
mod delivery;
mod detect;
mod error;
mod export;
mod log;
mod metrics;
mod otlp;
mod redaction;
mod respond;
mod secret;
mod units;

use std::io::ErrorKind;
use std::path::Path;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;

pub use alerts::{
    AlertProduct, AlertSink, AlertmanagerConfig, AlertsConfig, HttpConfig, Method, OpsgenieConfig,
    PagerdutyConfig, SlackConfig,
};
pub use amount::{Bytes, Span};
pub use audit::{AuditConfig, CheckpointConfig};
pub use control::ControlConfig;
pub use delivery::{IdentityConfig, Login, SinkName, SpoolConfig, Text, TlsConfig, WebAddress};
pub use detect::DetectConfig;
pub use error::ConfigError;
pub use export::{
    BatchConfig, DatadogConfig, ElasticsearchConfig, ExportConfig, ExportProduct, ExportSink,
    HttpStoreConfig, PantherConfig, SplunkConfig, SumoLogicConfig, SyslogConfig, Transport,
};
pub use log::{LogConfig, Owner, RotateConfig, SamplingConfig, UnredactedConfig};
pub use metrics::MetricsConfig;
pub use otlp::{
    Compression, Endpoint, Headers, OtlpConfig, Protocol, SamplingConfig as TraceSamplingConfig,
    SignalConfig, Target, Temporality,
};
pub use redaction::{CustomPattern, RedactionConfig};
pub use respond::RespondConfig;
pub use secret::{SecretError, SecretRef, SecretSource};
pub use units::{Period, Size};

/// Where the configuration is read from unless another file is named.
pub const DEFAULT_PATH: &str = "/etc/agentguard/agentguard.yaml";

/// How long a configuration file may be, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// The whole configuration. Every section may be left out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The log of events.
    pub log: LogConfig,
    /// What is taken out of events before they leave the host.
    pub redaction: RedactionConfig,
    /// The audit log.
    pub audit: AuditConfig,
    /// Metrics for Prometheus.
    pub metrics: MetricsConfig,
    /// Traces, logs and metrics by OTLP.
    pub otlp: OtlpConfig,
    /// Alerts.
    pub alerts: AlertsConfig,
    /// Export to log stores.
    pub export: ExportConfig,
    /// The control interface.
    pub control: ControlConfig,
    /// Detection.
    pub detect: DetectConfig,
    /// Response.
    pub respond: RespondConfig,
}

impl Settings {
    /// Reads the file that was named, or the one at [`DEFAULT_PATH`] where none was:
    /// that one may be absent.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, or what is wrong with it.
    pub fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        let path = named.unwrap_or(Path::new(DEFAULT_PATH));
        match std::fs::read(path) {
            Ok(bytes) => Self::parse(path, &bytes),
            Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(error) => Err(ConfigError::unreadable(path, &error)),
        }
    }

    /// Reads the bytes of the file at `path`, which is not touched.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ConfigError> {
        let wrong = |problem: &str, mend: &str| ConfigError::whole(path, problem, mend);
        if bytes.len() > MAX_BYTES {
            return Err(wrong("too big", "a configuration has at most 1 MiB"));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|_| wrong("not UTF-8 text", "save the file as UTF-8"))?;
        // A file of nothing but comments says that all is as it is by default.
        if text
            .lines()
            .all(|line| matches!(line.trim(), "" | "---") || line.trim().starts_with('#'))
        {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(text).map_err(|error| ConfigError::of_yaml(path, &error))
    }

    /// The directories in which sinks keep what waits.
    pub fn spools(&self) -> impl Iterator<Item = &Path> {
        let alerts = self.alerts.0.iter().map(|sink| &sink.spool);
        let export = self.export.0.iter().map(|sink| &sink.spool);
        alerts.chain(export).map(|spool| spool.directory.as_path())
    }

    /// The JSON Schema (draft 2020-12) of the file, for editors.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Self>().into()
    }
}

#[cfg(test)]
mod tests;
