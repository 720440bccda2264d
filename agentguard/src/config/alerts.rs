//! The section `alerts`: whom to alert, and of what.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::SecretRef;
use super::amount::Span;
use super::delivery::{Login, SinkName, SpoolConfig, Text, TlsConfig, WebAddress};
use crate::event::Severity;

/// Whom to alert. Each one is told by itself: what happens to one changes nothing for
/// the others.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct AlertsConfig(pub Vec<AlertSink>);

impl<'de> Deserialize<'de> for AlertsConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let sinks = Vec::<AlertSink>::deserialize(deserializer)?;
        match SinkName::twice(sinks.iter().map(|sink| &sink.name)) {
            Some(name) => Err(D::Error::custom(format!(
                "two alert sinks are called {}\n  = give each a name of its own",
                name.as_str()
            ))),
            None => Ok(Self(sinks)),
        }
    }
}

/// One who is alerted.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertSink {
    /// Its name.
    pub name: SinkName,
    /// By which product.
    pub to: AlertProduct,
    /// What is less bad than this is not told. Default: `medium`.
    #[serde(default = "medium")]
    pub min_severity: Severity,
    /// An alert that was not raised again for so long is over. Default: `1h`.
    #[serde(default = "hour")]
    pub quiet: Span,
    /// An alert stays open for at least so long after it was raised, also when its
    /// session has ended. Default: `5m`.
    #[serde(default = "five_minutes")]
    pub hold: Span,
    /// Where your people read what to do: the rule's name is put after it, as in
    /// `https://wiki.example/response#`.
    pub runbook: Option<String>,
    /// TLS.
    #[serde(default)]
    pub tls: TlsConfig,
    /// Where alerts wait while they cannot be delivered.
    #[serde(default)]
    pub spool: SpoolConfig,
}

const fn medium() -> Severity {
    Severity::Medium
}

const fn hour() -> Span {
    Span(std::time::Duration::from_secs(3600))
}

const fn five_minutes() -> Span {
    Span(std::time::Duration::from_secs(300))
}

/// The products that alerts can go to.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AlertProduct {
    /// Prometheus Alertmanager, API v2.
    Alertmanager(AlertmanagerConfig),
    /// PagerDuty, Events API v2.
    Pagerduty(PagerdutyConfig),
    /// Opsgenie, Alert API v2.
    Opsgenie(OpsgenieConfig),
    /// Jira Service Management, Opsgenie's successor.
    JiraServiceManagement(OpsgenieConfig),
    /// A webhook of Slack, Mattermost, Rocket.Chat or others that take the same.
    Slack(SlackConfig),
    /// Anything else that takes HTTP requests.
    Http(HttpConfig),
}

/// Alertmanager.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertmanagerConfig {
    /// Where it is: `http://alertmanager.example:9093`.
    pub url: WebAddress,
    /// Who we are.
    pub login: Option<Login>,
    /// Labels for every alert, by which Alertmanager can route.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// PagerDuty.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PagerdutyConfig {
    /// The integration key of a service.
    pub routing_key: SecretRef,
    /// Another address, as `https://events.eu.pagerduty.com/v2/enqueue`.
    pub url: Option<WebAddress>,
}

/// Opsgenie, and Jira Service Management.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpsgenieConfig {
    /// The key of an API integration.
    pub api_key: SecretRef,
    /// Another address, as `https://api.eu.opsgenie.com`.
    pub url: Option<WebAddress>,
    /// The names of the teams that are to respond.
    #[serde(default)]
    pub teams: Vec<String>,
    /// Tags for every alert.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// Slack and those that take the same.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlackConfig {
    /// The webhook's address, which is a secret.
    pub url: SecretRef,
    /// Another channel than the webhook's own, where the product allows that.
    pub channel: Option<String>,
}

/// Any other HTTP receiver.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Where to.
    pub url: Text,
    /// `POST`, `PUT` or `PATCH`. Default: `POST`.
    #[serde(default)]
    pub method: Method,
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, Text>,
    /// Who we are.
    pub login: Option<Login>,
    /// The type of the body. Default: `application/json`.
    pub content_type: Option<String>,
    /// The body, as a Jinja template (docs/integrations.md). Default: the alert as JSON.
    pub template: Option<String>,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// POST.
    #[default]
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
}
