//! The section `otlp`: what is sent by OTLP, and where to. What is given for all signals
//! holds for each that does not say otherwise.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::{Span, Text, TlsConfig};

/// OTLP. Nothing is sent without an endpoint.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpConfig {
    /// Where to, for example `https://otel.example:4318`. With `protocol: http`, each
    /// signal's own path (`/v1/traces`) is put behind it.
    pub endpoint: Option<Endpoint>,
    /// How: `http` (protobuf, usually port 4318) or `grpc` (usually port 4317).
    pub protocol: Protocol,
    /// What every request carries.
    pub headers: Headers,
    /// TLS.
    pub tls: TlsConfig,
    /// Whether requests are compressed: `none` or `gzip`.
    pub compression: Compression,
    /// How long the receiver may take to answer.
    pub timeout: Span,
    /// For how long a batch that was not taken is tried again before it is given up.
    pub retry: Span,
    /// How many spans, and how many log records, may wait. What is more is lost, and
    /// counted.
    #[serde(deserialize_with = "queue")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub queue: u32,
    /// How many go into one request at most.
    #[serde(deserialize_with = "batch")]
    #[schemars(range(min = 1, max = 10_000))]
    pub batch: u32,
    /// How long an incomplete batch waits.
    pub delay: Span,
    /// What is said of where all of it comes from, beside the service's and the host's
    /// name: `deployment.environment.name: production`.
    pub resource: BTreeMap<String, String>,
    /// Which traces are sent.
    pub sampling: SamplingConfig,
    /// Whether activity is among the logs, or only decisions and lifecycle.
    pub log_activity: bool,
    /// How often metrics are sent.
    pub metrics_every: Span,
    /// What counters say: `cumulative` (since the daemon started) or `delta` (since they
    /// were last taken), which some products want.
    pub temporality: Temporality,
    /// Sessions as traces.
    pub traces: SignalConfig,
    /// Events as log records.
    pub logs: SignalConfig,
    /// Metrics, as Prometheus would find them.
    pub metrics: SignalConfig,
}

impl Default for OtlpConfig {
    fn default() -> Self {
        let seconds = |seconds| Span(Duration::from_secs(seconds));
        Self {
            endpoint: None,
            protocol: Protocol::default(),
            headers: Headers::default(),
            tls: TlsConfig::default(),
            compression: Compression::default(),
            timeout: seconds(10),
            retry: seconds(300),
            queue: 8192,
            batch: 512,
            delay: seconds(2),
            resource: BTreeMap::new(),
            sampling: SamplingConfig::default(),
            log_activity: false,
            metrics_every: seconds(60),
            temporality: Temporality::default(),
            traces: SignalConfig::default(),
            logs: SignalConfig::default(),
            metrics: SignalConfig::default(),
        }
    }
}

/// What is particular to traces, logs or metrics. What is left out is as for all.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SignalConfig {
    /// `false` where this signal is not to be sent.
    pub send: Option<bool>,
    /// Where to. With `protocol: http` it is taken as it is, path and all.
    pub endpoint: Option<Endpoint>,
    /// How.
    pub protocol: Option<Protocol>,
    /// What every request carries, instead of what is given for all.
    pub headers: Option<Headers>,
    /// TLS.
    pub tls: Option<TlsConfig>,
    /// Whether requests are compressed.
    pub compression: Option<Compression>,
    /// How long the receiver may take to answer.
    pub timeout: Option<Span>,
}

/// Which traces are sent. One trace is one session; it is sent whole or not at all.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingConfig {
    /// The share of all traces, from 0 to 1. Those in which something was denied, failed
    /// or was killed are sent in any case.
    #[serde(deserialize_with = "share")]
    #[schemars(range(min = 0, max = 1))]
    pub ratio: f64,
    /// Traces with an event of less confidence than this are sent in any case.
    #[serde(deserialize_with = "share")]
    #[schemars(range(min = 0, max = 1))]
    pub confidence: f64,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self { ratio: 1.0, confidence: 0.8 }
    }
}

/// How OTLP is carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Protobuf over HTTP.
    #[default]
    Http,
    /// gRPC.
    Grpc,
}

/// How requests are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
}

/// What counters say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Temporality {
    /// How much since the daemon started.
    #[default]
    Cumulative,
    /// How much since they were last taken.
    Delta,
}

/// Where to send.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub struct Endpoint(#[schemars(with = "String")] Url);

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mend = "write it like https://otel.example:4318";
        let url = Url::parse(&text)
            .map_err(|error| D::Error::custom(format_args!("no URL: {error}\n  = {mend}")))?;
        let wrong = |what| Err(D::Error::custom(format_args!("{what}\n  = {mend}")));
        match url.scheme() {
            "http" | "https" => {}
            _ => return wrong("neither http nor https"),
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(D::Error::custom(
                "a user, a password or a query in a URL\n  = secrets go into headers, by reference",
            ));
        }
        Ok(Self(url))
    }
}

/// Headers of requests. Those whose names say that they carry a secret are references.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub struct Headers(BTreeMap<String, Text>);

/// Parts of names of headers that carry secrets.
const SECRET: &[&str] =
    &["auth", "key", "token", "secret", "password", "credential", "cookie", "team"];
/// Headers that OTLP itself sets.
const OWN: &[&str] =
    &["content-type", "content-length", "content-encoding", "host", "te", "user-agent"];

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut headers = BTreeMap::new();
        for (name, text) in BTreeMap::<String, Text>::deserialize(deserializer)? {
            let name = name.to_ascii_lowercase();
            if let Some(wrong) = unfit(&name, &text) {
                return Err(D::Error::custom(format_args!("the header {name:?} {wrong}")));
            }
            headers.insert(name, text);
        }
        Ok(Self(headers))
    }
}

/// Why a header cannot be, and the mend.
fn unfit(name: &str, text: &Text) -> Option<&'static str> {
    let own = OWN.contains(&name) || name.starts_with("grpc-") || name.ends_with("-bin");
    if own || HeaderName::try_from(name).is_err() {
        return Some("cannot be set\n  = leave it out");
    }
    match text {
        Text::Secret(_) => None,
        Text::Plain(_) if SECRET.iter().any(|part| name.contains(part)) => Some(
            "carries a secret\n  = say where it is: {file: PATH}, {credential: NAME} or {env: NAME}",
        ),
        Text::Plain(text) if HeaderValue::try_from(text).is_err() => {
            Some("has characters that HTTP does not allow\n  = correct its value")
        }
        Text::Plain(_) => None,
    }
}

impl Headers {
    /// Names, in small letters, and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Text)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text))
    }
}

/// Where one signal goes, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Where to; with HTTP, the whole URL.
    pub url: Url,
    /// How.
    pub protocol: Protocol,
    /// What every request carries.
    pub headers: Headers,
    /// TLS.
    pub tls: TlsConfig,
    /// How requests are compressed.
    pub compression: Compression,
    /// How long the receiver may take.
    pub timeout: Duration,
}

impl OtlpConfig {
    /// Where a signal goes that is sent at all. `name` is the last part of its path.
    #[must_use]
    pub fn target(&self, signal: &SignalConfig, name: &str) -> Option<Target> {
        if signal.send == Some(false) {
            return None;
        }
        let protocol = signal.protocol.unwrap_or(self.protocol);
        let url = match (&signal.endpoint, &self.endpoint) {
            (Some(own), _) => own.0.clone(),
            (None, Some(all)) if protocol == Protocol::Http => {
                let mut url = all.0.clone();
                url.set_path(&format!("{}/v1/{name}", url.path().trim_end_matches('/')));
                url
            }
            (None, Some(all)) => all.0.clone(),
            (None, None) => return None,
        };
        Some(Target {
            url,
            protocol,
            headers: signal.headers.as_ref().unwrap_or(&self.headers).clone(),
            tls: signal.tls.as_ref().unwrap_or(&self.tls).clone(),
            compression: signal.compression.unwrap_or(self.compression),
            timeout: signal.timeout.unwrap_or(self.timeout).0,
        })
    }
}

fn whole<'de, D: Deserializer<'de>>(deserializer: D, most: u32) -> Result<u32, D::Error> {
    let number = u32::deserialize(deserializer)?;
    match (1..=most).contains(&number) {
        true => Ok(number),
        false => Err(D::Error::custom(format_args!(
            "out of range\n  = write a whole number from 1 to {most}"
        ))),
    }
}

fn queue<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    whole(deserializer, 1_000_000)
}

fn batch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    whole(deserializer, 10_000)
}

fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let share = f64::deserialize(deserializer)?;
    match (0.0..=1.0).contains(&share) {
        true => Ok(share),
        false => Err(D::Error::custom("out of range\n  = write a number from 0 to 1")),
    }
}

#[cfg(test)]
#[path = "otlp_tests.rs"]
mod tests;
