//! The metrics of a daemon without a kernel: what is counted, how it is shown, and
//! what the endpoint answers.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Class, Enricher, Event, Outcome};
use crate::policy::Limits;
use crate::session::{Cgroup, Phase};
use crate::sink::{Endpoint, Hub, Metrics, PolicyRow, SessionRow, serve_metrics};

fn event(kind: Class, action: &'static str, outcome: Outcome) -> Event {
    let made = Enricher::new().lifecycle(action, None, "x".into(), outcome, None);
    Event { kind, agent_role: "coder".into(), reason: Some("default"), ..made }
}

fn hub() -> (Hub, Arc<Metrics>) {
    let mut hub = Hub::default();
    let metrics = Metrics::new(hub.books()).unwrap();
    hub.measure(Arc::clone(&metrics));
    (hub, metrics)
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "no line {line:?} in:\n{text}");
}

#[test]
fn every_event_is_counted_once_under_bounded_labels() {
    let (mut hub, metrics) = hub();
    for _ in 0..3 {
        hub.offer(&Arc::new(event(Class::Decision, "connect", Outcome::Denied)));
    }
    hub.offer(&Arc::new(event(Class::Activity, "exec", Outcome::Allowed)));
    hub.offer(&Arc::new(event(Class::Lifecycle, "session.start", Outcome::Success)));
    metrics.published(Class::Decision, Duration::from_millis(2));
    let text = metrics.text().unwrap();
    has(
        &text,
        "agentguard_decisions_total{action=\"connect\",agent=\"coder\",outcome=\"denied\",reason=\"default\"} 3",
    );
    has(&text, "agentguard_activity_total{action=\"exec\",agent=\"coder\"} 1");
    has(
        &text,
        "agentguard_lifecycle_events_total{action=\"session.start\",agent=\"coder\",outcome=\"success\"} 1",
    );
    has(&text, "agentguard_publish_latency_seconds_bucket{kind=\"decision\",le=\"0.001\"} 0");
    has(&text, "agentguard_publish_latency_seconds_bucket{kind=\"decision\",le=\"0.005\"} 1");
    has(&text, "agentguard_publish_latency_seconds_bucket{kind=\"decision\",le=\"+Inf\"} 1");
    has(&text, "agentguard_publish_latency_seconds_sum{kind=\"decision\"} 0.002");
}

#[test]
fn the_books_of_sinks_that_come_later_are_shown_too() {
    let (mut hub, metrics) = hub();
    let health = hub.health("late");
    health.add_offered(5);
    health.add_written(2);
    health.add_lost(1);
    health.failed(&"broken");
    health.took(Duration::from_secs(1));
    // A second sink of that name does not make the same line twice.
    hub.health("late").add_offered(0);
    let text = metrics.text().unwrap();
    for (name, value) in [
        ("offered_total", 5),
        ("written_total", 2),
        ("lost_total", 1),
        ("errors_total", 1),
        ("sampled_total", 0),
        ("pending", 2),
        ("latency_seconds_count", 1),
    ] {
        has(&text, &format!("agentguard_sink_{name}{{sink=\"late\"}} {value}"));
    }
    assert!(!text.contains("broken"), "an error's text is no label");
}

#[test]
fn sessions_are_counted_by_state_and_policies_are_named_with_their_hash() {
    let (_hub, metrics) = hub();
    assert_eq!(metrics.overview().check(), Err("starting".into()));
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("memory.current"), "3000\n").unwrap();
    std::fs::write(directory.path().join("pids.current"), "9\n").unwrap();
    let row = |slot, state| SessionRow {
        slot,
        agent: "coder".into(),
        state,
        slowed: slot == 1,
        cgroup: Some(Cgroup::at(directory.path().into())),
        limits: Limits { pids: Some(10 + slot), ..Limits::default() },
    };
    let policy =
        |agent: &str| PolicyRow { agent: agent.into(), mode: "enforce", hash: "ab".into() };
    metrics.overview().set(
        vec![row(0, Phase::Running), row(1, Phase::Running), row(2, Phase::Standby)],
        [policy("coder"), policy("idle")].into(),
    );
    assert_eq!(metrics.overview().check(), Ok(()));
    let text = metrics.text().unwrap();
    has(&text, "agentguard_sessions{agent=\"coder\",state=\"running\"} 2");
    has(&text, "agentguard_sessions{agent=\"coder\",state=\"standby\"} 1");
    has(&text, "agentguard_sessions{agent=\"idle\",state=\"running\"} 0");
    has(&text, "agentguard_session_memory_bytes{agent=\"coder\"} 9000");
    has(&text, "agentguard_sessions_slowed{agent=\"coder\"} 1");
    has(&text, "agentguard_limit_use_ratio{agent=\"coder\",limit=\"pids\"} 0.9");
    assert!(!text.contains("limit=\"memory\""), "there is no such limit");
    has(&text, "agentguard_policy_info{agent=\"coder\",mode=\"enforce\",policy_hash=\"ab\"} 1");
}

#[test]
fn a_metric_cannot_be_declared_twice() {
    let (_hub, metrics) = hub();
    let again = super::sinks::register(&metrics, Hub::default().books());
    assert!(again.unwrap_err().to_string().starts_with("cannot count"));
}

fn get(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_endpoint_answers_what_it_has_and_nothing_else() {
    let (mut hub, metrics) = hub();
    let endpoint = Endpoint::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = endpoint.address().unwrap();
    assert!(Endpoint::bind(address).err().unwrap().to_string().contains("metrics.listen"));
    serve_metrics(&mut hub, endpoint, Arc::clone(&metrics)).unwrap();
    // One that says nothing holds nobody up.
    let silent = TcpStream::connect(address).unwrap();
    let ask = |path: &str| get(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert!(ask("/healthz").starts_with("HTTP/1.1 503"), "no sweep yet");
    metrics.overview().set(Vec::new(), [].into());
    assert!(ask("/healthz").starts_with("HTTP/1.1 200"));
    let answer = ask("/metrics");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("text/plain; version=0.0.4"));
    assert!(answer.contains("agentguard_build_info{"));
    assert!(answer.contains("process_resident_memory_bytes "));
    assert!(ask("/").starts_with("HTTP/1.1 404"));
    assert!(get(address, "POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 405"));
    assert!(get(address, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
    drop(silent);
    hub.stop();
    assert!(TcpStream::connect(address).is_err(), "it ends with the hub");
}
