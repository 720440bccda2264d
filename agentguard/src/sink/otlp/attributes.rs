//! Events in OpenTelemetry's words: the semantic conventions' names where there is one,
//! `agentguard.*` where there is none. Spans, their events and log records share them.

use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::event::{DestinationInfo, DnsInfo, Event, ProcessInfo};

/// The attribute that says which process a span is of.
pub(super) const PID: &str = "process.pid";

/// An attribute.
pub(super) fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

/// An attribute that is text.
pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

/// An attribute that is a number.
pub(super) fn number(key: &str, value: impl Into<i64>) -> KeyValue {
    attribute(key, Value::IntValue(value.into()))
}

fn texts<'a>(key: &str, values: impl Iterator<Item = &'a String>) -> KeyValue {
    let value = |text: &String| AnyValue { value: Some(Value::StringValue(text.clone())) };
    attribute(key, Value::ArrayValue(ArrayValue { values: values.map(value).collect() }))
}

/// When an event happened, in nanoseconds since 1970; 0 where that cannot be read.
pub(super) fn nanoseconds(event: &Event) -> u64 {
    let time = OffsetDateTime::parse(&event.timestamp, &Rfc3339);
    time.ok().and_then(|time| u64::try_from(time.unix_timestamp_nanos()).ok()).unwrap_or(0)
}

/// What all that is told of a session carries.
pub(super) fn of_session(event: &Event) -> Vec<KeyValue> {
    let mut all = vec![text("gen_ai.agent.name", &event.agent_role)];
    if let Some(session) = &event.session {
        all.push(text("gen_ai.conversation.id", session));
        all.push(text("session.id", session));
    }
    all
}

/// A process: which it is, and what it runs.
pub(super) fn of_process(process: &ProcessInfo) -> Vec<KeyValue> {
    let mut all = vec![
        number(PID, process.pid),
        number("process.real_user.id", process.uid),
        text("process.executable.name", executable_name(process)),
    ];
    if let Some(parent) = process.ppid {
        all.push(number("process.parent_pid", parent));
    }
    if let Some(exe) = &process.exe {
        all.push(text("process.executable.path", exe));
    }
    if !process.args.is_empty() {
        all.push(texts("process.command_args", process.args.iter()));
    }
    if let Some(cwd) = &process.cwd {
        all.push(text("process.working_directory", cwd));
    }
    if let Some(code) = process.exit_code {
        all.push(number("process.exit.code", code));
    }
    if let Some(signal) = process.signal {
        all.push(number("agentguard.process.signal", signal));
    }
    all
}

/// The name of what a process runs: the last part of its path, else its own name.
pub(super) fn executable_name(process: &ProcessInfo) -> String {
    let path = process.exe.as_deref().and_then(|path| path.rsplit('/').next());
    path.filter(|name| !name.is_empty()).unwrap_or(&process.comm).to_owned()
}

/// What an event says beside its session and its process.
pub(super) fn of_event(event: &Event) -> Vec<KeyValue> {
    let mut all = vec![
        text("agentguard.event.id", &event.id),
        text("agentguard.action", event.action),
        text("agentguard.resource", &event.resource),
        text("agentguard.outcome", event.outcome.as_str()),
        attribute("agentguard.confidence", Value::DoubleValue(event.confidence)),
    ];
    let mut word = |key, value: Option<&str>| all.extend(value.map(|value| text(key, value)));
    word("agentguard.verdict", event.verdict);
    word("agentguard.reason", event.reason);
    word("agentguard.rule", event.rule.as_deref());
    word("agentguard.policy.hash", event.policy_hash.as_deref());
    word("agentguard.message", event.message.as_deref());
    word("agentguard.target", event.target.as_deref());
    if event.action.starts_with("file.") {
        word("file.path", Some(&event.resource));
    }
    if let Some(finding) = &event.finding {
        all.push(text("agentguard.finding.rule", &finding.rule));
        all.push(text("agentguard.finding.severity", finding.severity.as_str()));
        all.push(texts("agentguard.finding.evidence", finding.evidence.iter()));
    }
    if let Some(destination) = &event.destination {
        all.extend(of_destination(destination));
    }
    if let Some(dns) = &event.dns {
        all.extend(of_dns(dns));
    }
    all
}

fn of_destination(destination: &DestinationInfo) -> Vec<KeyValue> {
    let version = if destination.address.contains(':') { "ipv6" } else { "ipv4" };
    let mut all = vec![
        text("network.peer.address", &destination.address),
        number("network.peer.port", destination.port),
        text("network.transport", &destination.transport),
        text("network.type", version),
    ];
    if let Some(name) = &destination.name {
        all.push(text("server.address", name));
        all.push(number("server.port", destination.port));
    }
    all
}

fn of_dns(dns: &DnsInfo) -> Vec<KeyValue> {
    let mut all = vec![
        text("dns.question.name", &dns.name),
        text("agentguard.dns.question.type", &dns.r#type),
        text("agentguard.dns.resolver", &dns.resolver),
        text("network.transport", dns.transport),
    ];
    if !dns.addresses.is_empty() {
        all.push(texts("dns.answers", dns.addresses.iter()));
    }
    all
}

/// An event with all that is known of it.
pub(super) fn of_everything(event: &Event) -> Vec<KeyValue> {
    let mut all = of_session(event);
    all.extend(of_event(event));
    all.extend(event.process.iter().flat_map(of_process));
    all
}
