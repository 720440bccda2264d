//! Events for the tests of this part.

use crate::event::{Class, DestinationInfo, Event, FindingInfo, Outcome, ProcessInfo, Severity};

pub(super) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// An event of session `s1`, so many seconds into a day.
pub(super) fn event(action: &'static str, kind: Class, second: u32) -> Event {
    Event {
        timestamp: format!("2026-11-25T12:{:02}:{:02}.000000000Z", second / 60, second % 60),
        agent_role: "coder".into(),
        action,
        resource: "what".into(),
        outcome: Outcome::Allowed,
        confidence: 1.0,
        kind,
        id: format!("{action}-{second}"),
        session: Some("s1".into()),
        correlation_id: Some(TRACE.into()),
        parent_span_id: None,
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
        sample_rate: None,
        policy_hash: Some("abc".into()),
        message: None,
        host: "host".into(),
        schema_version: crate::event::SCHEMA_VERSION,
    }
}

pub(super) fn process(pid: u32, ppid: u32, exe: &str) -> ProcessInfo {
    ProcessInfo {
        pid,
        tid: pid,
        ppid: Some(ppid),
        uid: 1000,
        gid: 1000,
        comm: "comm".into(),
        exe: Some(exe.into()),
        args: vec![exe.into(), "-x".into()],
        args_cut: false,
        cwd: Some("/srv".into()),
        exit_code: None,
        signal: None,
        ancestors: Vec::new(),
    }
}

pub(super) fn exec(second: u32, pid: u32, ppid: u32, exe: &str) -> Event {
    Event {
        process: Some(process(pid, ppid, exe)),
        resource: exe.into(),
        id: format!("exec-{second}-{pid}"),
        ..event("exec", Class::Activity, second)
    }
}

pub(super) fn fork(second: u32, parent: u32, child: u32) -> Event {
    Event {
        process: Some(process(parent, 1, "/bin/any")),
        resource: child.to_string(),
        id: format!("fork-{second}-{child}"),
        ..event("fork", Class::Activity, second)
    }
}

pub(super) fn exit(second: u32, pid: u32, code: u32) -> Event {
    let process = ProcessInfo { exit_code: Some(code), ..process(pid, 1, "/bin/any") };
    Event {
        process: Some(process),
        id: format!("exit-{second}-{pid}"),
        ..event("exit", Class::Activity, second)
    }
}

pub(super) fn denied(second: u32, pid: u32) -> Event {
    Event {
        process: Some(process(pid, 1, "/bin/any")),
        resource: "tcp://10.0.0.1:443".into(),
        outcome: Outcome::Denied,
        verdict: Some("deny"),
        reason: Some("default"),
        destination: Some(DestinationInfo {
            name: Some("db.example".into()),
            address: "10.0.0.1".into(),
            port: 443,
            transport: "tcp".into(),
            mapped: false,
        }),
        id: format!("connect-{second}-{pid}"),
        ..event("connect", Class::Decision, second)
    }
}

pub(super) fn finding(second: u32) -> Event {
    let rule = "beacon".to_owned();
    let evidence = vec!["connect-1-10".to_owned()];
    let finding = FindingInfo { rule, evidence, severity: Severity::Critical };
    Event { finding: Some(finding), ..event("finding", Class::Finding, second) }
}

pub(super) fn written(second: u32, pid: u32) -> Event {
    Event {
        process: Some(process(pid, 1, "/bin/any")),
        resource: "/srv/file".into(),
        id: format!("write-{second}-{pid}"),
        ..event("file.write", Class::Activity, second)
    }
}

pub(super) fn start(second: u32) -> Event {
    Event {
        outcome: Outcome::Success,
        resource: "sh -c make".into(),
        ..event("session.start", Class::Lifecycle, second)
    }
}

pub(super) fn end(second: u32) -> Event {
    Event { outcome: Outcome::Success, ..event("session.end", Class::Lifecycle, second) }
}
