//! Datadog's log intake, v2: a list of objects with the attributes that it reserves;
//! the event's own stand beside them under `agentguard`.

use serde_json::{Value, json};

use crate::event::{Event, Severity};

/// What is the same for all of them.
pub(in crate::sink::export) struct Datadog {
    pub(in crate::sink::export) service: String,
    /// Tags, with commas between.
    pub(in crate::sink::export) tags: String,
}

impl Datadog {
    pub(in crate::sink::export) fn encode(&self, event: &Event) -> Value {
        let mut entry = super::object([
            ("ddsource", json!("agentguard")),
            ("service", json!(self.service)),
            ("hostname", json!(event.host.as_ref())),
            ("ddtags", if self.tags.is_empty() { Value::Null } else { json!(self.tags) }),
            ("status", json!(status(super::severity(event)))),
            ("message", json!(super::words(event))),
            ("timestamp", json!(super::milliseconds(event))),
            ("agentguard", super::plain(event)),
        ]);
        if let Some(id) = &event.correlation_id {
            // Under this name Datadog ties a log to its trace.
            entry["trace_id"] = json!(id);
        }
        entry
    }
}

const fn status(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Low => "notice",
        Severity::Medium => "warning",
        Severity::High => "error",
        Severity::Critical => "critical",
    }
}
