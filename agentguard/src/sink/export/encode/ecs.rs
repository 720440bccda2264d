//! The Elastic Common Schema 8, as the bulk API takes it: a line that says what to do,
//! a line that is the document.
//!
//! Documents have an id, made of the host's name and the event's, and are only ever
//! created: one that is sent twice is there once.

use serde_json::{Value, json};

use crate::event::{Class, Event, Outcome, ProcessInfo, Severity};

const VERSION: &str = "8.17.0";

/// What is the same for all of them.
pub(in crate::sink::export) struct Ecs {
    pub(in crate::sink::export) index: String,
}

impl Ecs {
    pub(in crate::sink::export) fn encode(&self, event: &Event) -> [Value; 2] {
        let id = format!("{}-{}", event.host, event.id);
        [json!({ "create": { "_index": self.index, "_id": id } }), document(event)]
    }
}

fn document(event: &Event) -> Value {
    let process = event.process.as_ref();
    super::object([
        ("@timestamp", json!(event.timestamp)),
        ("ecs", json!({ "version": VERSION })),
        ("message", json!(super::words(event))),
        ("event", about(event)),
        ("host", json!({ "name": event.host.as_ref(), "hostname": event.host.as_ref() })),
        ("process", process.map_or(Value::Null, process_of)),
        ("user", process.map_or(Value::Null, |it| json!({ "id": it.uid.to_string() }))),
        ("group", process.map_or(Value::Null, |it| json!({ "id": it.gid.to_string() }))),
        ("destination", destination(event)),
        ("network", network(event)),
        ("dns", dns(event)),
        ("file", file(event)),
        ("rule", rule(event)),
        ("trace", event.correlation_id.as_ref().map_or(Value::Null, |id| json!({ "id": id }))),
        ("observer", observer()),
        ("agentguard", own(event)),
    ])
}

/// The rule of a policy that decided, or that of a finding.
fn rule(event: &Event) -> Value {
    let finding = event.finding.as_ref().map(|finding| &finding.rule);
    finding.or(event.rule.as_ref()).map_or(Value::Null, |rule| json!({ "id": rule }))
}

fn observer() -> Value {
    json!({
        "vendor": "agentguard",
        "product": "agentguard",
        "type": "ids",
        "version": env!("CARGO_PKG_VERSION"),
    })
}

fn about(event: &Event) -> Value {
    let (category, kinds) = category(event);
    super::object([
        ("kind", json!(if event.finding.is_some() { "alert" } else { "event" })),
        ("category", json!([category])),
        ("type", json!(kinds)),
        ("action", json!(event.action)),
        ("outcome", json!(outcome(event))),
        ("id", json!(event.id)),
        ("reason", json!(event.reason)),
        ("severity", json!(number(super::severity(event)))),
        ("module", json!("agentguard")),
        ("dataset", json!("agentguard.event")),
        ("provider", json!("agentguard")),
    ])
}

/// Its category, and its types within it, from the schema's lists.
fn category(event: &Event) -> (&'static str, Vec<&'static str>) {
    let ruling = match event.outcome {
        Outcome::Denied => "denied",
        _ => "allowed",
    };
    if event.finding.is_some() {
        return ("intrusion_detection", vec!["info"]);
    }
    match event.action {
        "session.start" => ("session", vec!["start"]),
        "session.end" | "session.kill" => ("session", vec!["end"]),
        _ if event.action.starts_with("session.") => ("session", vec!["info"]),
        _ if event.kind == Class::Lifecycle => ("host", vec!["info"]),
        "exec" if event.kind == Class::Activity => ("process", vec!["start"]),
        "exit" => ("process", vec!["end"]),
        "fork" | "exec" => ("process", vec!["start", ruling]),
        "resolve" | "answer" => ("network", vec!["protocol", ruling]),
        "file.create" | "file.mkdir" | "file.mknod" | "file.symlink" | "file.link" => {
            ("file", vec!["creation", ruling])
        }
        "file.delete" | "file.rmdir" => ("file", vec!["deletion", ruling]),
        "file.read" | "file.map" | "file.receive" => ("file", vec!["access", ruling]),
        _ if event.action.starts_with("file.") || event.action == "mount" => {
            ("file", vec!["change", ruling])
        }
        _ => ("network", vec!["connection", ruling]),
    }
}

/// Whether it came about: the schema has no word for a refusal but `failure`.
const fn outcome(event: &Event) -> &'static str {
    match event.outcome {
        Outcome::Allowed | Outcome::WouldDeny | Outcome::Success => "success",
        Outcome::Denied | Outcome::Failure => "failure",
        Outcome::Held => "unknown",
    }
}

const fn number(severity: Severity) -> u8 {
    match severity {
        Severity::Info => 10,
        Severity::Low => 30,
        Severity::Medium => 50,
        Severity::High => 70,
        Severity::Critical => 90,
    }
}

fn process_of(process: &ProcessInfo) -> Value {
    let parent = process.ppid.map_or(Value::Null, |pid| json!({ "pid": pid }));
    super::object([
        ("pid", json!(process.pid)),
        ("thread", json!({ "id": process.tid })),
        ("name", json!(process.comm)),
        ("executable", json!(process.exe)),
        ("args", json!(process.args)),
        (
            "args_count",
            if process.args.is_empty() { Value::Null } else { json!(process.args.len()) },
        ),
        ("working_directory", json!(process.cwd)),
        ("exit_code", json!(process.exit_code)),
        ("parent", parent),
    ])
}

fn destination(event: &Event) -> Value {
    let Some(to) = &event.destination else { return Value::Null };
    super::object([
        ("address", json!(to.name.as_ref().unwrap_or(&to.address))),
        ("domain", json!(to.name)),
        ("ip", json!(to.address)),
        ("port", json!(to.port)),
    ])
}

fn network(event: &Event) -> Value {
    let transport = match (&event.destination, &event.dns) {
        (Some(to), _) => to.transport.as_str(),
        (_, Some(dns)) => dns.transport,
        _ => return Value::Null,
    };
    let protocol = if event.dns.is_some() { json!("dns") } else { Value::Null };
    super::object([
        ("transport", json!(transport)),
        ("protocol", protocol),
        ("direction", json!("egress")),
    ])
}

fn dns(event: &Event) -> Value {
    let Some(dns) = &event.dns else { return Value::Null };
    super::object([
        ("type", json!(if event.action == "answer" { "answer" } else { "query" })),
        ("question", json!({ "name": dns.name, "type": dns.r#type })),
        ("resolved_ip", json!(dns.addresses)),
    ])
}

fn file(event: &Event) -> Value {
    if !event.action.starts_with("file.") {
        return Value::Null;
    }
    super::object([
        ("path", json!(event.resource)),
        ("name", json!(super::file_name(&event.resource))),
        ("target_path", json!(event.target)),
    ])
}

/// What the schema has no place for.
fn own(event: &Event) -> Value {
    super::object([
        ("agent_role", json!(event.agent_role)),
        ("session", json!(event.session)),
        ("kind", json!(event.kind)),
        ("outcome", json!(event.outcome)),
        ("resource", json!(event.resource)),
        ("target", json!(event.target)),
        ("confidence", json!(event.confidence)),
        ("evidence", event.finding.as_ref().map_or(Value::Null, |it| json!(it.evidence))),
        ("verdict", json!(event.verdict)),
        ("policy_hash", json!(event.policy_hash)),
        ("detail", json!(event.message)),
        ("signal", event.process.as_ref().map_or(Value::Null, |it| json!(it.signal))),
    ])
}
