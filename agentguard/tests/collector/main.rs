//! OTLP against a real collector, Rotel: what agentguard sends is taken by it, over HTTP
//! and gRPC, and comes out of it as it went in. `cargo xtask setup` installs Rotel.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod rotel;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agentguard::config::Settings;
use agentguard::event::{Class, Event, Outcome, ProcessInfo, SCHEMA_VERSION};
use agentguard::session::session_span_id;
use agentguard::sink::{self, Hub};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use rotel::Rotel;
use store::Store;

/// The caller's trace and span.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn event(session: &str, action: &'static str, kind: Class, second: u32) -> Event {
    Event {
        timestamp: format!("2026-11-25T12:00:{second:02}.000000000Z"),
        agent_role: "coder".into(),
        action,
        resource: "tcp://10.0.0.1:443".into(),
        outcome: Outcome::Allowed,
        confidence: 1.0,
        kind,
        id: format!("{action}-{second}"),
        session: Some(session.into()),
        correlation_id: Some(TRACE.into()),
        parent_span_id: Some(CALLER.into()),
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
        schema_version: SCHEMA_VERSION,
    }
}

fn process(pid: u32, ppid: u32, exe: &str, exit_code: Option<u32>) -> Option<ProcessInfo> {
    Some(ProcessInfo {
        pid,
        tid: pid,
        ppid: Some(ppid),
        uid: 1000,
        gid: 1000,
        comm: "comm".into(),
        exe: Some(exe.into()),
        args: vec![exe.into()],
        args_cut: false,
        cwd: None,
        exit_code,
        signal: None,
        ancestors: Vec::new(),
    })
}

/// A shell runs make, which is refused a connection.
fn story(session: &str) -> Vec<Event> {
    let activity = |action, second, process| Event {
        process,
        ..event(session, action, Class::Activity, second)
    };
    vec![
        event(session, "session.start", Class::Lifecycle, 0),
        activity("exec", 1, process(10, 9, "/bin/sh", None)),
        activity("exec", 2, process(11, 10, "/usr/bin/make", None)),
        activity("file.write", 3, process(11, 10, "/usr/bin/make", None)),
        Event {
            process: process(11, 10, "/usr/bin/make", None),
            outcome: Outcome::Denied,
            reason: Some("default"),
            ..event(session, "connect", Class::Decision, 4)
        },
        activity("exit", 5, process(11, 10, "/usr/bin/make", Some(2))),
        activity("exit", 6, process(10, 9, "/bin/sh", Some(0))),
        event(session, "session.end", Class::Lifecycle, 7),
    ]
}

fn start(rotel: &Rotel, protocol: &str, state: &Path) -> Hub {
    let endpoint = if protocol == "grpc" { &rotel.grpc } else { &rotel.http };
    let yaml = format!(
        "otlp: {{endpoint: 'http://{endpoint}', protocol: {protocol}, metrics_every: 1s, delay: 100ms}}\n"
    );
    let settings = Settings::parse(Path::new("agentguard.yaml"), yaml.as_bytes()).unwrap();
    sink::start(&settings, state).unwrap()
}

fn offer(hub: &mut Hub, events: impl IntoIterator<Item = Event>) {
    events.into_iter().for_each(|event| hub.offer(&Arc::new(event)));
}

/// Stops the sinks, none of which may have lost anything.
fn stop(mut hub: Hub) {
    hub.stop();
    for health in hub.healths() {
        let books = (health.pending(), health.lost(), health.last_error());
        assert_eq!(books, (0, 0, None), "{}", health.name());
    }
}

/// The spans of a session, by name, once there are so many.
fn spans(store: &Store, session: &str, count: usize) -> BTreeMap<String, Span> {
    let of_session = |span: &Span| text(span, "session.id").as_deref() == Some(session);
    let all = store.until(|all| all.spans.iter().filter(|span| of_session(span)).count() >= count);
    let found: Vec<Span> = all.spans.into_iter().filter(of_session).collect();
    let ids: BTreeSet<_> = found.iter().map(|span| span.span_id.clone()).collect();
    assert_eq!((found.len(), ids.len()), (count, count), "each span comes once");
    found.into_iter().map(|span| (span.name.clone(), span)).collect()
}

fn text(span: &Span, key: &str) -> Option<String> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn check(spans: &BTreeMap<String, Span>, session: &str) {
    let [root, sh, make, connect] =
        ["invoke_agent coder", "sh", "make", "connect"].map(|name| &spans[name]);
    for span in spans.values() {
        assert_eq!(agentguard::hex(&span.trace_id), TRACE);
        assert_eq!(text(span, "gen_ai.agent.name").as_deref(), Some("coder"));
    }
    assert_eq!(root.span_id, session_span_id(TRACE, session));
    assert_eq!(agentguard::hex(&root.parent_span_id), CALLER);
    assert_eq!(sh.parent_span_id, root.span_id);
    assert_eq!(make.parent_span_id, sh.span_id);
    assert_eq!(connect.parent_span_id, make.span_id);
    let failed = |span: &Span| span.status.as_ref().is_some_and(|status| status.code == 2);
    assert!(failed(make) && failed(connect) && !failed(sh) && !failed(root));
    assert_eq!(make.events.len(), 1, "what it wrote");
}

#[test]
fn a_collector_takes_traces_logs_and_metrics_over_http_and_grpc() {
    let store = Store::start();
    let rotel = Rotel::start(&store.address);
    for protocol in ["http", "grpc"] {
        let state = tempfile::tempdir().unwrap();
        let mut hub = start(&rotel, protocol, state.path());
        let session = format!("by{protocol}");
        offer(&mut hub, story(&session));
        store.until(|all| !all.metrics.is_empty());
        stop(hub);
        check(&spans(&store, &session, 4), &session);
        let logs = store.until(|all| all.logs.len() >= 3).logs;
        assert!(logs.iter().all(|log| agentguard::hex(&log.trace_id) == TRACE));
        let metrics = store.take().metrics;
        assert!(metrics.iter().any(|metric| metric.name == "agentguard_build_info"));
    }
}

#[test]
fn a_daemon_that_is_restarted_in_mid_session_yields_one_trace() {
    let store = Store::start();
    let rotel = Rotel::start(&store.address);
    for half in [2, 4, 5] {
        let state = tempfile::tempdir().unwrap();
        let session = format!("half{half}");
        let mut events = story(&session);
        let rest = events.split_off(half);
        let mut first = start(&rotel, "grpc", state.path());
        offer(&mut first, events);
        // It goes on for a while: some of it is sent before the restart.
        std::thread::sleep(Duration::from_millis(1500));
        stop(first);
        let mut second = start(&rotel, "http", state.path());
        offer(&mut second, rest);
        stop(second);
        check(&spans(&store, &session, 4), &session);
    }
}
