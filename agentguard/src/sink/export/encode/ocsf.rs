//! The Open Cybersecurity Schema Framework, 1.3: each event as the class that it is
//! closest to, with the profile `security_control` for what the policy decided. What
//! the schema has no place for stands in `unmapped`.

use serde_json::{Value, json};

use crate::event::{Class, Event, Outcome, ProcessInfo, Severity};

const VERSION: &str = "1.3.0";

/// A class, its name, and an activity of it.
struct Kind {
    class: u32,
    name: &'static str,
    activity: u32,
}

const FILE: (u32, &str) = (1001, "File System Activity");
const PROCESS: (u32, &str) = (1007, "Process Activity");
const NETWORK: (u32, &str) = (4001, "Network Activity");
const DNS: (u32, &str) = (4003, "DNS Activity");
const FINDING: (u32, &str) = (2004, "Detection Finding");
const APPLICATION: (u32, &str) = (6002, "Application Lifecycle");
/// Where the schema has no number for an activity.
const OTHER: u32 = 99;

/// An event in the schema's words.
pub(in crate::sink::export) fn ocsf(event: &Event) -> Value {
    let Kind { class, name, activity } = kind(event);
    let severity = super::severity(event);
    let mut value = super::object([
        ("activity_id", json!(activity)),
        ("activity_name", if activity == OTHER { json!(event.action) } else { Value::Null }),
        ("category_uid", json!(class / 1000)),
        ("class_uid", json!(class)),
        ("class_name", json!(name)),
        ("type_uid", json!(class * 100 + activity)),
        ("time", json!(super::milliseconds(event))),
        ("severity_id", json!(severity_id(severity))),
        ("severity", json!(severity_word(severity))),
        ("status_id", json!(if failed(event) { 2 } else { 1 })),
        ("status_detail", json!(event.reason)),
        ("message", json!(super::words(event))),
        ("metadata", metadata(event)),
        ("device", json!({ "hostname": event.host.as_ref(), "type_id": 0 })),
        ("unmapped", unmapped(event)),
    ]);
    if let Value::Object(members) = &mut value {
        let more = [subject(event, class), ruling(event)];
        let there = |value: &Value| !value.is_null() && *value != json!({});
        let more = more.into_iter().flatten().filter(|(_, value)| there(value));
        members.extend(more.map(|(name, value)| (name.to_owned(), value)));
    }
    value
}

fn kind(event: &Event) -> Kind {
    let ((class, name), activity) = match event.action {
        _ if event.finding.is_some() => (FINDING, 1),
        "exec" => (PROCESS, 1),
        "fork" => (PROCESS, 1),
        "exit" => (PROCESS, 2),
        "resolve" => (DNS, 1),
        "answer" => (DNS, 2),
        "mount" => (FILE, 12),
        action if action.starts_with("file.") => (FILE, file_activity(action)),
        "session.start" | "daemon.start" => (APPLICATION, 3),
        "session.end" | "session.kill" | "daemon.stop" => (APPLICATION, 4),
        _ if event.kind == Class::Lifecycle => (APPLICATION, OTHER),
        _ if event.outcome == Outcome::Denied => (NETWORK, 5),
        "send" | "packet" => (NETWORK, 6),
        "connect" | "foreign" => (NETWORK, 1),
        _ => (NETWORK, OTHER),
    };
    Kind { class, name, activity }
}

fn file_activity(action: &str) -> u32 {
    match action {
        "file.create" | "file.mkdir" | "file.mknod" | "file.symlink" | "file.link" => 1,
        "file.read" | "file.map" | "file.receive" => 2,
        "file.write" | "file.truncate" => 3,
        "file.delete" | "file.rmdir" => 4,
        "file.rename" => 5,
        "file.times" | "file.attributes" => 6,
        "file.chmod" | "file.chown" => 7,
        _ => OTHER,
    }
}

const fn failed(event: &Event) -> bool {
    matches!(event.outcome, Outcome::Denied | Outcome::Failure)
}

const fn severity_id(severity: Severity) -> u32 {
    match severity {
        Severity::Info => 1,
        Severity::Low => 2,
        Severity::Medium => 3,
        Severity::High => 4,
        Severity::Critical => 5,
    }
}

const fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "Informational",
        Severity::Low => "Low",
        Severity::Medium => "Medium",
        Severity::High => "High",
        Severity::Critical => "Critical",
    }
}

fn metadata(event: &Event) -> Value {
    let profiles: &[&str] =
        if event.verdict.is_some() { &["host", "security_control"] } else { &["host"] };
    super::object([
        ("version", json!(VERSION)),
        (
            "product",
            json!({
                "name": "agentguard",
                "vendor_name": "agentguard",
                "version": env!("CARGO_PKG_VERSION"),
            }),
        ),
        ("uid", json!(event.id)),
        ("correlation_uid", json!(event.correlation_id)),
        ("log_name", json!("events")),
        ("original_time", json!(event.timestamp)),
        ("profiles", json!(profiles)),
    ])
}

/// Who, and what the class is about.
fn subject(event: &Event, class: u32) -> Vec<(&'static str, Value)> {
    let acting = event.process.as_ref().map_or(Value::Null, process);
    let user = event.process.as_ref().map_or(Value::Null, |it| uid(it.uid));
    let actor = super::object([("process", acting.clone()), ("user", user)]);
    let mut all = vec![("actor", actor)];
    match class {
        1001 => {
            all.push(("file", file(&event.resource)));
            all.push(("file_result", event.target.as_deref().map_or(Value::Null, file)));
        }
        1007 => {
            all.push(("process", launched(event, acting)));
            let code = event.process.as_ref().and_then(|process| process.exit_code);
            all.push(("exit_code", json!(code)));
        }
        4001 => {
            all.push(("src_endpoint", json!({ "hostname": event.host.as_ref() })));
            all.push(("dst_endpoint", endpoint(event)));
            all.push(("connection_info", connection(event)));
        }
        2004 => all.extend(found(event)),
        4003 => all.extend(question(event)),
        _ => all.push(("app", application(event))),
    }
    all
}

/// The process that a process event is about: the program that was to be started, the
/// child, or who ended.
fn launched(event: &Event, acting: Value) -> Value {
    match event.action {
        "exec" if event.kind == Class::Decision => json!({ "file": file(&event.resource) }),
        "fork" => match event.resource.parse::<u32>() {
            Ok(pid) => json!({ "pid": pid }),
            Err(_) => json!({ "name": event.resource }),
        },
        _ => acting,
    }
}

fn process(process: &ProcessInfo) -> Value {
    let command = match process.args.as_slice() {
        [] => Value::Null,
        args => json!(args.join(" ")),
    };
    super::object([
        ("pid", json!(process.pid)),
        ("tid", json!(process.tid)),
        ("name", json!(process.comm)),
        ("file", process.exe.as_deref().map_or(Value::Null, file)),
        ("cmd_line", command),
        ("user", uid(process.uid)),
        ("parent_process", process.ppid.map_or(Value::Null, |pid| json!({ "pid": pid }))),
    ])
}

fn uid(uid: u32) -> Value {
    json!({ "uid": uid.to_string() })
}

fn file(path: &str) -> Value {
    json!({ "name": super::file_name(path), "path": path, "type_id": 0 })
}

fn endpoint(event: &Event) -> Value {
    match &event.destination {
        Some(to) => super::object([
            ("ip", json!(to.address)),
            ("port", json!(to.port)),
            ("hostname", json!(to.name)),
        ]),
        None => json!({ "name": event.resource }),
    }
}

fn connection(event: &Event) -> Value {
    let transport = event.destination.as_ref().map(|to| to.transport.as_str());
    let number = match transport {
        Some("tcp" | "mptcp") => json!(6),
        Some("udp") => json!(17),
        Some("icmp") => json!(1),
        _ => Value::Null,
    };
    super::object([
        // Outbound.
        ("direction_id", json!(2)),
        ("protocol_name", json!(transport)),
        ("protocol_num", number),
    ])
}

fn question(event: &Event) -> Vec<(&'static str, Value)> {
    let Some(dns) = &event.dns else {
        return vec![("dst_endpoint", json!({ "name": event.resource }))];
    };
    let answer = |address: &String| json!({ "rdata": address });
    let answers: Vec<Value> = dns.addresses.iter().map(answer).collect();
    vec![
        ("query", json!({ "hostname": dns.name, "type": dns.r#type })),
        ("answers", if answers.is_empty() { Value::Null } else { json!(answers) }),
        ("dst_endpoint", json!({ "ip": dns.resolver, "port": 53 })),
        ("connection_info", json!({ "direction_id": 2, "protocol_name": dns.transport })),
    ]
}

/// What was noticed. Each finding is one of its own here: who follows them up keeps
/// their states.
fn found(event: &Event) -> Vec<(&'static str, Value)> {
    let Some(finding) = &event.finding else { return Vec::new() };
    let events: Vec<Value> = finding.evidence.iter().map(|id| json!({ "uid": id })).collect();
    let info = super::object([
        ("uid", json!(event.id)),
        ("title", json!(finding.rule)),
        ("desc", json!(event.message)),
        ("analytic", json!({ "name": finding.rule, "type_id": 1 })),
        ("related_events", json!(events)),
    ]);
    vec![
        ("finding_info", info),
        // A number from 0 to 100, of one from 0 to 1.
        ("confidence_score", json!(hundredths(event.confidence))),
        ("is_alert", json!(true)),
        ("resources", json!([{ "name": event.resource, "type": "agent session" }])),
    ]
}

/// The nearest of the hundredths from 0 to 100.
fn hundredths(part: f64) -> u32 {
    (0..=100).find(|hundredth| f64::from(*hundredth) + 0.5 > part * 100.0).unwrap_or(100)
}

/// A session is an application that starts and stops; else it is agentguard itself.
fn application(event: &Event) -> Value {
    super::object([
        ("name", json!(event.agent_role)),
        ("uid", json!(event.session)),
        ("vendor_name", json!("agentguard")),
    ])
}

/// What the policy said.
fn ruling(event: &Event) -> Vec<(&'static str, Value)> {
    if event.verdict.is_none() {
        return Vec::new();
    }
    let (action, disposition) = match event.outcome {
        Outcome::Denied => (2, 2),
        // Detected, and let through.
        Outcome::WouldDeny => (1, 15),
        // Delayed.
        Outcome::Held => (0, 14),
        _ => (1, 1),
    };
    let policy =
        super::object([("name", json!(event.agent_role)), ("uid", json!(event.policy_hash))]);
    vec![("action_id", json!(action)), ("disposition_id", json!(disposition)), ("policy", policy)]
}

fn unmapped(event: &Event) -> Value {
    super::object([
        ("agent_role", json!(event.agent_role)),
        ("session", json!(event.session)),
        ("action", json!(event.action)),
        ("resource", json!(event.resource)),
        ("outcome", json!(event.outcome)),
        ("kind", json!(event.kind)),
        ("confidence", json!(event.confidence)),
        ("verdict", json!(event.verdict)),
        ("rule", json!(event.rule)),
        ("detail", json!(event.message)),
    ])
}
