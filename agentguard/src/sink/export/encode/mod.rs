//! One event in the words of each log store. Pure: an event and settings go in, bytes
//! come out.

mod cef;
mod datadog;
mod ecs;
mod ocsf;
mod splunk;
#[cfg(test)]
pub(super) mod tests;

pub(super) use cef::Cef;
pub(super) use datadog::Datadog;
pub(super) use ecs::Ecs;
pub(super) use ocsf::ocsf;
pub(super) use splunk::Splunk;

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::event::{Class, Event, Outcome, Severity};

/// When an event happened, in nanoseconds since 1970; 0 where its time is none.
fn nanoseconds(event: &Event) -> i128 {
    OffsetDateTime::parse(&event.timestamp, &Rfc3339)
        .map_or(0, OffsetDateTime::unix_timestamp_nanos)
}

/// When an event happened, in milliseconds since 1970.
fn milliseconds(event: &Event) -> i64 {
    i64::try_from(nanoseconds(event) / 1_000_000).unwrap_or(0)
}

/// How bad an event is. A finding has its own severity; the others go by what became
/// of them.
fn severity(event: &Event) -> Severity {
    if let Some(finding) = &event.finding {
        return finding.severity;
    }
    match (event.kind, event.outcome) {
        (Class::Lifecycle, Outcome::Failure) => Severity::High,
        (Class::Lifecycle, _) if event.action == "session.kill" => Severity::High,
        (Class::Decision, Outcome::Denied) => Severity::Medium,
        (Class::Decision, Outcome::WouldDeny | Outcome::Held) => Severity::Low,
        _ => Severity::Info,
    }
}

/// A line for people.
fn words(event: &Event) -> String {
    let outcome = event.outcome.as_str();
    let mut text = match &event.finding {
        Some(it) => format!("finding {} {} {}", event.agent_role, it.rule, event.resource),
        None => format!("{outcome} {} {} {}", event.agent_role, event.action, event.resource),
    };
    if let Some(message) = &event.message {
        text.push_str(": ");
        text.push_str(message);
    }
    text
}

/// The event as it stands in the log.
fn plain(event: &Event) -> Value {
    serde_json::to_value(event).unwrap_or_default()
}

/// An object without members that have no value.
fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let there = |value: &Value| match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    };
    let members = members.into_iter().filter(|(_, value)| there(value));
    Value::Object(members.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

/// The last part of a path.
fn file_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(path)
}
