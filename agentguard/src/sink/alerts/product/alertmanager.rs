//! Alertmanager, API v2: a list of alerts with labels, by which it tells them apart,
//! and annotations. It forgets an alert when `endsAt` passes or when it is restarted,
//! so it is told of open ones again and again.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Credentials, Facts, JSON, ProductError, Request, facts};
use crate::config::AlertmanagerConfig;
use crate::sink::alerts::tracker::Notice;

/// Alertmanager.
pub(in crate::sink::alerts) struct Alertmanager {
    url: String,
    credentials: Credentials,
    labels: BTreeMap<String, String>,
}

impl Alertmanager {
    pub(super) fn new(config: &AlertmanagerConfig) -> Result<Self, ProductError> {
        let url = config.url.with_path("/api/v2/alerts");
        let credentials = Credentials::new(config.login.as_ref())?;
        Ok(Self { url, credentials, labels: config.labels.clone() })
    }

    pub(super) fn request(
        &self,
        notices: &[Notice],
        runbook: Option<&str>,
    ) -> Result<Request, ProductError> {
        let alert = |notice| alert(&self.labels, notice, &Facts::of(notice, runbook));
        let body = super::json(&notices.iter().map(alert).collect());
        Ok(self.credentials.on(Request::post(&self.url, JSON, body)?)?)
    }
}

fn alert(fixed: &BTreeMap<String, String>, notice: &Notice, facts: &Facts) -> Value {
    let mut labels: Map<String, Value> =
        fixed.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    // Only what stays the same as long as the alert is open may be a label. The severity
    // can rise; that is another alert then, to be routed elsewhere.
    let own = [
        ("alertname", facts.rule.as_str()),
        ("severity", facts.severity),
        ("agent", &facts.agent),
        ("session", &facts.session),
        ("host", &facts.host),
        ("source", "agentguard"),
    ];
    labels.extend(
        own.into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.to_owned(), json!(value))),
    );
    let mut annotations: Map<String, Value> = facts
        .details()
        .into_iter()
        .filter(|(name, _)| !labels.contains_key(*name) && *name != "rule" && *name != "runbook")
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    annotations.insert("summary".to_owned(), json!(facts.summary));
    if !facts.runbook.is_empty() {
        annotations.insert("runbook_url".to_owned(), json!(facts.runbook));
    }
    json!({
        "labels": labels,
        "annotations": annotations,
        "startsAt": facts.first,
        "endsAt": facts::rfc3339(notice.until),
    })
}
