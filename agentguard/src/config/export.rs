//! The section `export`: which log stores get the events.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::SecretRef;
use super::amount::{Bytes, Span};
use super::delivery::{Login, SinkName, SpoolConfig, Text, TlsConfig, WebAddress};

/// The log stores. Each is fed by itself.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct ExportConfig(pub Vec<ExportSink>);

impl<'de> Deserialize<'de> for ExportConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let sinks = Vec::<ExportSink>::deserialize(deserializer)?;
        match SinkName::twice(sinks.iter().map(|sink| &sink.name)) {
            Some(name) => Err(D::Error::custom(format!(
                "two export sinks are called {}\n  = give each a name of its own",
                name.as_str()
            ))),
            None => Ok(Self(sinks)),
        }
    }
}

/// One log store.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportSink {
    /// Its name.
    pub name: SinkName,
    /// Which one.
    pub to: ExportProduct,
    /// Whether it gets activity too, of which there is much. Default: no.
    #[serde(default)]
    pub activity: bool,
    /// Whether requests are compressed. Default: yes. Syslog never is.
    #[serde(default = "yes")]
    pub gzip: bool,
    /// When a request is sent.
    #[serde(default)]
    pub batch: BatchConfig,
    /// TLS.
    #[serde(default)]
    pub tls: TlsConfig,
    /// Where events wait while they cannot be delivered.
    #[serde(default)]
    pub spool: SpoolConfig,
}

const fn yes() -> bool {
    true
}

/// When a request is sent: as soon as one of these is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BatchConfig {
    /// So many events, up to 1000.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(deserialize_with = "thousand")]
    pub events: usize,
    /// So many bytes, before compression. A single event that is larger goes alone.
    #[serde(deserialize_with = "half_megabyte")]
    pub bytes: Bytes,
    /// So long after the first event of it.
    pub wait: Span,
}

impl Default for BatchConfig {
    fn default() -> Self {
        let wait = Span(std::time::Duration::from_secs(1));
        Self { events: 500, bytes: Bytes(MAX_BATCH), wait }
    }
}

/// The largest request, before compression, in bytes: Panther takes no more than 500 KB
/// (its documentation has both 500 KB and 1 MB), and what the others take is more.
const MAX_BATCH: u64 = 480_000;

fn thousand<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match usize::deserialize(deserializer)? {
        events @ 1..=1000 => Ok(events),
        _ => Err(D::Error::custom("no size for a batch\n  = write a number from 1 to 1000")),
    }
}

fn half_megabyte<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    match Bytes::deserialize(deserializer)? {
        bytes @ Bytes(1..=MAX_BATCH) => Ok(bytes),
        _ => Err(D::Error::custom("no size for a batch\n  = write an amount up to 480kB")),
    }
}

/// The log stores that there are words for.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ExportProduct {
    /// JSON lines, as in the log: Vector, Fluent Bit, Logstash and many others.
    Json(HttpStoreConfig),
    /// JSON lines in the Open Cybersecurity Schema.
    Ocsf(HttpStoreConfig),
    /// Elasticsearch, in the Elastic Common Schema, by its bulk API.
    Elasticsearch(ElasticsearchConfig),
    /// Splunk, by its HTTP Event Collector.
    Splunk(SplunkConfig),
    /// Sumo Logic, by a hosted HTTP source.
    SumoLogic(SumoLogicConfig),
    /// Panther, by an HTTP source.
    Panther(PantherConfig),
    /// Datadog's log intake.
    Datadog(DatadogConfig),
    /// CEF over syslog (RFC 5424).
    Syslog(SyslogConfig),
}

/// Any store that takes JSON lines by HTTP.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpStoreConfig {
    /// Where to.
    pub url: Text,
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, Text>,
    /// Who we are.
    pub login: Option<Login>,
}

/// Elasticsearch.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ElasticsearchConfig {
    /// Where it is: `https://elastic.example:9200`.
    pub url: WebAddress,
    /// The data stream or index. Default: `logs-agentguard-default`.
    pub index: Option<String>,
    /// An API key, in the encoded form that Elasticsearch shows.
    pub api_key: Option<SecretRef>,
    /// Or another way to say who we are.
    pub login: Option<Login>,
}

/// Splunk.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SplunkConfig {
    /// Where the collector is: `https://splunk.example:8088`.
    pub url: WebAddress,
    /// Its token.
    pub token: SecretRef,
    /// The index, where it is not the token's own.
    pub index: Option<String>,
    /// The source type. Default: `agentguard:event`.
    pub sourcetype: Option<String>,
}

/// Sumo Logic.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SumoLogicConfig {
    /// The address of the HTTP source, which is a secret.
    pub url: SecretRef,
    /// The source category.
    pub category: Option<String>,
}

/// Panther.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PantherConfig {
    /// The address of the HTTP source.
    pub url: WebAddress,
    /// The shared secret.
    pub secret: SecretRef,
    /// The name of the header that it goes into, where the source does not take it as
    /// a bearer token.
    pub header: Option<String>,
}

/// Datadog.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatadogConfig {
    /// The API key.
    pub api_key: SecretRef,
    /// The site: `datadoghq.com`, `datadoghq.eu`, `us3.datadoghq.com`. Default: the first.
    pub site: Option<String>,
    /// Another address, for a proxy.
    pub url: Option<WebAddress>,
    /// The service. Default: `agentguard`.
    pub service: Option<String>,
    /// Tags: `env:prod`.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// A syslog server.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyslogConfig {
    /// The server and its port: `syslog.example:6514`.
    pub address: String,
    /// How it is reached. Default: `tls`.
    #[serde(default)]
    pub transport: Transport,
    /// The facility, 0 to 23. Default: 13, the log audit.
    #[serde(default = "log_audit", deserialize_with = "facility")]
    #[schemars(range(max = 23))]
    pub facility: u8,
}

/// How syslog is carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TLS (RFC 5425).
    #[default]
    Tls,
    /// TCP, with each message's length before it (RFC 6587).
    Tcp,
    /// UDP (RFC 5426): whatever is lost on the way is lost.
    Udp,
}

const fn log_audit() -> u8 {
    13
}

fn facility<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    match u8::deserialize(deserializer)? {
        facility @ 0..=23 => Ok(facility),
        _ => Err(D::Error::custom("no facility\n  = write a number from 0 to 23")),
    }
}
