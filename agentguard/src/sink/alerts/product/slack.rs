//! A webhook as Slack has it: a text and an attachment with a colour, which Mattermost
//! and Rocket.Chat take too.

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{Facts, JSON, ProductError, Request, Secret, facts};
use crate::config::SlackConfig;
use crate::event::Severity;
use crate::sink::alerts::tracker::Notice;
use crate::sink::delivery::check_url;

/// Slack, and those like it.
pub(in crate::sink::alerts) struct Slack {
    url: Secret,
    channel: Option<String>,
}

impl Slack {
    pub(super) fn new(config: &SlackConfig) -> Result<Self, ProductError> {
        let url = Secret::new(&config.url)?;
        check_url(url.get()?.expose_secret())?;
        Ok(Self { url, channel: config.channel.clone() })
    }

    pub(super) fn request(&self, notice: &Notice, facts: &Facts) -> Result<Request, ProductError> {
        let url = self.url.get()?;
        let mut body = message(notice, facts);
        if let Some(channel) = &self.channel {
            body["channel"] = json!(channel);
        }
        Ok(Request::post(url.expose_secret(), JSON, super::json(&body))?.hide(&url))
    }
}

fn message(notice: &Notice, facts: &Facts) -> Value {
    let state = if notice.resolved { "over" } else { facts.severity };
    let text = escape(&format!("[{state}] {}", facts::cut(&facts.summary, 2000)));
    let field = |(name, value): (&str, String)| json!({ "title": name, "value": escape(&facts::cut(&value, 500)), "short": true });
    let fields: Vec<Value> = facts.details().into_iter().map(field).collect();
    let color = if notice.resolved { "#2eb67d" } else { color(notice.alert.severity) };
    json!({
        "username": "agentguard",
        "text": text,
        "attachments": [{
            "color": color,
            "fallback": text,
            "title": escape(&facts.rule),
            "title_link": facts.runbook,
            "fields": fields,
            "ts": notice.last / 1000,
        }],
    })
}

/// The three characters that mean something to Slack: a text of an agent's choosing
/// must not be able to call a channel or to show a link under another name.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const fn color(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "#8d8d8d",
        Severity::Low => "#36c5f0",
        Severity::Medium => "#ecb22e",
        Severity::High => "#f2711c",
        Severity::Critical => "#e01e5a",
    }
}
