//! Splunk's HTTP Event Collector: one object for each event, one after the other.

use serde_json::{Value, json};

use crate::event::Event;

/// What is the same for all of them.
pub(in crate::sink::export) struct Splunk {
    pub(in crate::sink::export) index: Option<String>,
    pub(in crate::sink::export) sourcetype: String,
}

impl Splunk {
    pub(in crate::sink::export) fn encode(&self, event: &Event) -> Value {
        let milliseconds = super::milliseconds(event);
        super::object([
            // Seconds with their fraction, as text so that none of it is rounded off.
            ("time", json!(format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000))),
            ("host", json!(event.host.as_ref())),
            ("source", json!("agentguard")),
            ("sourcetype", json!(self.sourcetype)),
            ("index", json!(self.index)),
            ("event", super::plain(event)),
        ])
    }
}
