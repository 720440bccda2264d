//! Events and alerts for the tests of sinks, with a value in every member.

use std::sync::Arc;

use super::alerts::{Alert, Key};
use crate::event::{
    Class, DestinationInfo, DnsInfo, Event, FindingInfo, Outcome, ProcessInfo, SCHEMA_VERSION,
    Severity,
};

fn base(action: &'static str, resource: &str, outcome: Outcome, kind: Class) -> Event {
    Event {
        timestamp: "2026-11-22T21:36:18.279677530Z".to_owned(),
        agent_role: "coder".to_owned(),
        action,
        resource: resource.to_owned(),
        outcome,
        confidence: 1.0,
        kind,
        id: "38c545023-0".to_owned(),
        session: Some("hoerqjw6wv".to_owned()),
        parent_span_id: None,
        correlation_id: Some("a9954834da685c845acbb56791de0394".to_owned()),
        process: None,
        destination: None,
        dns: None,
        target: None,
        verdict: None,
        reason: None,
        rule: None,
        question: None,
        finding: None,
        snapshot: None,
        policy_hash: Some("9b2a3bce".repeat(8)),
        message: None,
        sample_rate: None,
        host: Arc::from("host-1"),
        schema_version: SCHEMA_VERSION,
    }
}

fn process() -> ProcessInfo {
    ProcessInfo {
        pid: 181,
        tid: 182,
        ppid: Some(180),
        uid: 1000,
        gid: 1001,
        comm: "curl".to_owned(),
        exe: Some("/usr/bin/curl".to_owned()),
        args: vec!["curl".to_owned(), "-v".to_owned(), "a b|c=d\\e\"f".to_owned()],
        args_cut: false,
        cwd: Some("/srv/agent".to_owned()),
        ancestors: Vec::new(),
        exit_code: None,
        signal: None,
    }
}

/// A connection that was refused.
pub(crate) fn denied() -> Event {
    Event {
        process: Some(process()),
        destination: Some(DestinationInfo {
            name: Some("example.org".to_owned()),
            address: "203.0.113.7".to_owned(),
            port: 443,
            transport: "tcp".to_owned(),
            mapped: true,
        }),
        verdict: Some("deny"),
        reason: Some("rule"),
        rule: Some("no-example".to_owned()),
        message: Some("a message".to_owned()),
        ..base("connect", "tcp://203.0.113.7:443", Outcome::Denied, Class::Decision)
    }
}

/// A connection to a unix socket that was let through.
pub(crate) fn unix() -> Event {
    Event {
        process: Some(process()),
        verdict: Some("allow"),
        reason: Some("default"),
        ..base("connect", "unix:/run/docker.sock", Outcome::Allowed, Class::Decision)
    }
}

/// A question for a name that was refused.
pub(crate) fn question() -> Event {
    Event {
        process: Some(process()),
        dns: Some(DnsInfo {
            name: "example.org".to_owned(),
            r#type: "AAAA".to_owned(),
            resolver: "192.0.2.53".to_owned(),
            transport: "udp",
            addresses: vec!["203.0.113.7".to_owned()],
        }),
        verdict: Some("deny"),
        reason: Some("default"),
        ..base("resolve", "dns:example.org", Outcome::Denied, Class::Decision)
    }
}

/// A file that would not have been renamed.
pub(crate) fn rename() -> Event {
    Event {
        process: Some(process()),
        target: Some("/srv/keys/new".to_owned()),
        verdict: Some("deny"),
        reason: Some("rule"),
        rule: Some("keys".to_owned()),
        ..base("file.rename", "/srv/keys/id", Outcome::WouldDeny, Class::Decision)
    }
}

/// A program that was started.
pub(crate) fn exec() -> Event {
    Event {
        process: Some(process()),
        ..base("exec", "/usr/bin/curl", Outcome::Allowed, Class::Activity)
    }
}

/// A process that ended.
pub(crate) fn exit() -> Event {
    Event {
        process: Some(ProcessInfo { exit_code: Some(3), ..process() }),
        ..base("exit", "181", Outcome::Success, Class::Activity)
    }
}

/// Something that was noticed.
pub(crate) fn finding() -> Event {
    Event {
        confidence: 0.8,
        finding: Some(FindingInfo {
            rule: "probing".to_owned(),
            evidence: vec!["38c545023-0".to_owned(), "38c545029-1".to_owned()],
            severity: Severity::High,
        }),
        message: Some("41 ports of 3 hosts in 10 seconds".to_owned()),
        ..base("finding", "203.0.113.7", Outcome::Success, Class::Finding)
    }
}

/// Something that happened to a session or the daemon.
pub(crate) fn lifecycle(action: &'static str) -> Event {
    base(action, "sleep 100", Outcome::Success, Class::Lifecycle)
}

/// One of each sort.
pub(crate) fn all() -> Vec<Event> {
    let daemon = Event {
        session: None,
        correlation_id: None,
        policy_hash: None,
        agent_role: "agentguard".to_owned(),
        ..lifecycle("daemon.start")
    };
    let kill = Event { message: Some("killed by user 0".to_owned()), ..lifecycle("session.kill") };
    vec![
        denied(),
        unix(),
        question(),
        rename(),
        exec(),
        exit(),
        lifecycle("session.start"),
        kill,
        daemon,
        finding(),
    ]
}

/// An alert, with texts that need care in every format.
pub(crate) fn alert(severity: Severity) -> Alert {
    Alert {
        key: Key {
            host: "host-1".to_owned(),
            session: Some("hoerqjw6wv".to_owned()),
            rule: "session.kill".to_owned(),
        },
        severity,
        summary: "session.kill: killed <by> & \"user\" 0 (agent coder)".to_owned(),
        agent: "coder".to_owned(),
        resource: "sleep 100".to_owned(),
        confidence: 0.9,
        event: "38c545023-0".to_owned(),
        correlation_id: Some("a9954834da685c845acbb56791de0394".to_owned()),
        timestamp: "2026-11-22T21:36:18.279677530Z".to_owned(),
        lasting: false,
    }
}
