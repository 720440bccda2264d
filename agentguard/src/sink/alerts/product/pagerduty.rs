//! PagerDuty, Events API v2: `trigger` and `resolve`, tied by `dedup_key`.

use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use super::{Facts, JSON, ProductError, Request, Secret, facts};
use crate::config::{PagerdutyConfig, WebAddress};
use crate::event::Severity;
use crate::sink::alerts::tracker::Notice;

const URL: &str = "https://events.pagerduty.com/v2/enqueue";

/// PagerDuty.
pub(in crate::sink::alerts) struct Pagerduty {
    url: String,
    routing_key: Secret,
}

impl Pagerduty {
    pub(super) fn new(config: &PagerdutyConfig) -> Result<Self, ProductError> {
        let url = config.url.as_ref().map_or(URL, WebAddress::as_str).to_owned();
        Ok(Self { url, routing_key: Secret::new(&config.routing_key)? })
    }

    pub(super) fn request(&self, notice: &Notice, facts: &Facts) -> Result<Request, ProductError> {
        let key = self.routing_key.get()?;
        let mut body = json!({
            "routing_key": key.expose_secret(),
            "event_action": if notice.resolved { "resolve" } else { "trigger" },
            "dedup_key": facts::cut(&facts.key, 255),
        });
        if !notice.resolved {
            body["payload"] = payload(notice, facts);
            body["client"] = json!("agentguard");
            if !facts.runbook.is_empty() {
                body["links"] = json!([{ "href": facts.runbook, "text": "What to do" }]);
            }
        }
        Ok(Request::post(&self.url, JSON, super::json(&body))?.hide(&key))
    }
}

fn payload(notice: &Notice, facts: &Facts) -> Value {
    let details: Map<String, Value> =
        facts.details().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    json!({
        "summary": facts::cut(&facts.summary, 1024),
        "source": facts.host,
        "severity": severity(notice.alert.severity),
        "timestamp": facts.last,
        "component": facts.agent,
        "group": facts.session,
        "class": facts.rule,
        "custom_details": details,
    })
}

/// PagerDuty has four.
const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Low | Severity::Medium => "warning",
        Severity::High => "error",
        Severity::Critical => "critical",
    }
}
