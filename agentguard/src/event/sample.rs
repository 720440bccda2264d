//! An event for tests.

use super::{Class, DestinationInfo, Event, Outcome, ProcessInfo};

/// A connection that was denied.
pub(crate) fn sample() -> Event {
    Event {
        timestamp: "2026-11-22T21:36:18.279677530Z".to_owned(),
        agent_role: "coder".to_owned(),
        action: "connect",
        resource: "tcp://127.0.0.1:9".to_owned(),
        outcome: Outcome::Denied,
        confidence: 1.0,
        kind: Class::Decision,
        id: "38c545023-0".to_owned(),
        session: Some("hoerqjw6wv".to_owned()),
        parent_span_id: None,
        correlation_id: Some("a9954834da685c845acbb56791de0394".to_owned()),
        process: Some(ProcessInfo {
            pid: 1,
            tid: 1,
            ppid: Some(1),
            uid: 0,
            gid: 0,
            comm: "tool".to_owned(),
            exe: Some("/usr/bin/tool".to_owned()),
            args: Vec::new(),
            args_cut: false,
            ancestors: Vec::new(),
            cwd: None,
            exit_code: None,
            signal: None,
        }),
        destination: Some(DestinationInfo {
            name: Some("example.com".to_owned()),
            address: "127.0.0.1".to_owned(),
            port: 9,
            transport: "tcp".to_owned(),
            mapped: false,
        }),
        dns: None,
        target: None,
        verdict: Some("deny"),
        reason: Some("default"),
        rule: None,
        question: None,
        finding: None,
        snapshot: None,
        policy_hash: Some(
            "9b2a3bce9b2a3bce9b2a3bce9b2a3bce9b2a3bce9b2a3bce9b2a3bce9b2a3bce".to_owned(),
        ),
        message: None,
        sample_rate: None,
        host: "host".into(),
        schema_version: super::SCHEMA_VERSION,
    }
}
