//! The sinks against a receiver on loopback: what arrives, what is tried again, what is
//! lost and counted, and that a restart yields one trace.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::receiver::{Receiver, Reply, behind_tls, testdata};
use super::sample::{TRACE, denied, end, exec, exit, fork, start, written};
use super::*;
use crate::config::Settings;
use crate::sink::Health;

/// A sink of traces that runs.
struct Sink {
    events: mpsc::Sender<Arc<Event>>,
    health: Arc<Health>,
    task: JoinHandle<()>,
}

impl Sink {
    fn start(yaml: &str, state: &Path) -> Self {
        let config = config(yaml);
        let target = config.target(&config.traces, "traces").unwrap();
        let (client, pace) = (Client::new(&target).unwrap(), pace(&config));
        let health = Arc::new(Health::new("test"));
        let traces = Traces::new(&config.sampling, state.join(SAVED), Arc::clone(&health));
        let exporter = Exporter::start(client, resource(&config), pace, Arc::clone(&health));
        let (events, queue) = mpsc::channel(4096);
        Self { events, health, task: tokio::spawn(traces.run(queue, exporter)) }
    }

    async fn see(&self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.health.add_offered(1);
            self.events.send(Arc::new(event)).await.unwrap();
        }
    }

    /// Lets it finish, and sees that every event is accounted for.
    async fn stop(self) -> Arc<Health> {
        drop(self.events);
        self.task.await.unwrap();
        assert_eq!(self.health.pending(), 0, "{:?}", self.health);
        let ended = self.health.written() + self.health.sampled() + self.health.lost();
        assert_eq!(ended, self.health.offered());
        self.health
    }
}

fn config(yaml: &str) -> OtlpConfig {
    let yaml = format!("otlp:\n  delay: 50ms\n  batch: 3\n{yaml}");
    Settings::parse(Path::new("f"), yaml.as_bytes()).unwrap().otlp
}

fn http(address: SocketAddr) -> String {
    format!("  endpoint: http://{address}\n")
}

fn grpc(address: SocketAddr) -> String {
    format!("  endpoint: http://{address}\n  protocol: grpc\n")
}

fn story() -> Vec<Event> {
    vec![
        start(0),
        exec(1, 10, 9, "/bin/sh"),
        fork(2, 10, 11),
        exec(3, 11, 10, "/bin/make"),
        written(4, 11),
        denied(5, 11),
        exit(6, 11, 2),
        exit(7, 10, 0),
        end(8),
    ]
}

fn names(spans: &[Span]) -> BTreeSet<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

const ALL: [&str; 4] = ["connect", "invoke_agent coder", "make", "sh"];

#[tokio::test]
async fn a_session_arrives_as_a_trace_over_http_and_grpc() {
    for compression in ["none", "gzip"] {
        let receiver = Receiver::default();
        let ways = [http(receiver.http().await), grpc(receiver.grpc().await)];
        for (turn, way) in ways.iter().enumerate() {
            let state = tempfile::tempdir().unwrap();
            let more = format!("{way}  compression: {compression}\n  resource: {{a: b}}\n");
            let sink = Sink::start(&more, state.path());
            sink.see(story()).await;
            let health = sink.stop().await;
            assert_eq!((health.written(), health.errors()), (9, 0), "{:?}", health.last_error());
            let spans = receiver.spans();
            assert_eq!(spans.len(), 4 * (turn + 1));
            assert_eq!(names(&spans), ALL.into());
            assert!(spans.iter().all(|span| crate::hex(&span.trace_id) == TRACE));
        }
        let spans = receiver.spans();
        let ids: BTreeSet<_> = spans.iter().map(|span| &span.span_id).collect();
        assert_eq!(ids.len(), 4, "both ways have the same ids");
        let resource: BTreeSet<_> =
            receiver.resource().into_iter().map(|attribute| attribute.key).collect();
        assert!(["service.name", "host.name", "a"].iter().all(|key| resource.contains(*key)));
    }
}

#[tokio::test]
async fn events_arrive_as_log_records_over_http_and_grpc() {
    let receiver = Receiver::default();
    for way in [http(receiver.http().await), grpc(receiver.grpc().await)] {
        let config = config(&way);
        let client = Client::new(&config.target(&config.logs, "logs").unwrap()).unwrap();
        let health = Arc::new(Health::new("test"));
        let exporter =
            Exporter::start(client, resource(&config), pace(&config), Arc::clone(&health));
        let (events, queue) = mpsc::channel(16);
        let task = tokio::spawn(logs::run(queue, exporter));
        for event in story() {
            events.send(Arc::new(event)).await.unwrap();
        }
        drop(events);
        task.await.unwrap();
        assert_eq!((health.written(), health.lost()), (9, 0));
    }
    let logs = receiver.logs();
    assert_eq!(logs.len(), 18);
    assert!(logs.iter().all(|log| crate::hex(&log.trace_id) == TRACE));
}

/// The whole of it as the daemon starts it: three sinks on the hub's thread.
#[test]
fn the_daemon_starts_what_is_configured() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for protocol in ["http", "grpc"] {
        let receiver = Receiver::default();
        let address = match protocol {
            "http" => runtime.block_on(receiver.http()),
            _ => runtime.block_on(receiver.grpc()),
        };
        let yaml = format!(
            "otlp: {{endpoint: 'http://{address}', protocol: {protocol}, metrics_every: 1s}}\n"
        );
        let settings = Settings::parse(Path::new("f"), yaml.as_bytes()).unwrap();
        let state = tempfile::tempdir().unwrap();
        let mut hub = crate::sink::start(&settings, state.path()).unwrap();
        for event in story() {
            hub.offer(&Arc::new(event));
        }
        runtime.block_on(until(|| !receiver.metrics().is_empty()));
        hub.stop();
        assert_eq!(names(&receiver.spans()), ALL.into());
        let logged = receiver.logs();
        assert_eq!(logged.len(), 3, "activity is not logged unless that is asked for");
        assert!(receiver.metrics().iter().any(|metric| metric.name == "agentguard_build_info"));
        for health in hub.healths() {
            let (name, error) = (health.name(), health.last_error());
            assert_eq!((health.pending(), health.lost(), error), (0, 0, None), "{name}");
        }
    }
    let settings = Settings::default();
    let state = tempfile::tempdir().unwrap();
    assert!(crate::sink::start(&settings, state.path()).unwrap().healths().is_empty());
}

#[tokio::test]
async fn a_busy_receiver_is_tried_again() {
    let receiver = Receiver::default();
    for way in [http(receiver.http().await), grpc(receiver.grpc().await)] {
        let state = tempfile::tempdir().unwrap();
        receiver.will([Reply::Busy]);
        let sink = Sink::start(&way, state.path());
        sink.see([start(0), denied(1, 10)]).await;
        let before = receiver.spans().len();
        until(|| receiver.spans().len() > before).await;
        let health = sink.stop().await;
        assert_eq!((health.written(), health.lost(), health.errors()), (2, 0, 1));
        assert!(health.last_error().unwrap().contains("busy"), "{health:?}");
    }
}

#[tokio::test]
async fn what_is_refused_is_lost_and_counted() {
    let receiver = Receiver::default();
    for way in [http(receiver.http().await), grpc(receiver.grpc().await)] {
        let state = tempfile::tempdir().unwrap();
        receiver.will([Reply::Refuse, Reply::Partly(2)]);
        let sink = Sink::start(&way, state.path());
        sink.see((0..6).map(|number| denied(number, 10))).await;
        let health = sink.stop().await;
        assert_eq!((health.written(), health.lost(), health.errors()), (1, 5, 2));
        assert!(health.last_error().unwrap().contains("too long"), "{health:?}");
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_costs_what_has_no_room_and_no_time_to_stop() {
    let receiver = Receiver::default();
    receiver.will([Reply::Hang; 9]);
    let state = tempfile::tempdir().unwrap();
    let more = format!("{}  queue: 4\n  timeout: 1h\n", http(receiver.http().await));
    let sink = Sink::start(&more, state.path());
    sink.see((0..40).map(|number| denied(number, 10))).await;
    let begun = Instant::now();
    let health = sink.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!((health.written(), health.lost()), (0, 40));
}

#[tokio::test]
async fn nobody_there_is_no_harm() {
    // A port that was free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for way in [http(address), grpc(address)] {
        let state = tempfile::tempdir().unwrap();
        let sink = Sink::start(&format!("{way}  retry: 100ms\n"), state.path());
        sink.see([denied(1, 10)]).await;
        let health = sink.stop().await;
        assert_eq!(health.lost(), 1);
        let error = health.last_error().unwrap();
        assert!(error.contains("onnect"), "{error}");
    }
}

#[tokio::test]
async fn a_secret_can_be_replaced_and_is_in_no_error() {
    let state = tempfile::tempdir().unwrap();
    let key = state.path().join("key");
    let receiver = Receiver::default();
    for way in [http(receiver.http().await), grpc(receiver.grpc().await)] {
        std::fs::write(&key, "first-key\n").unwrap();
        let more = format!("{way}  headers: {{api-key: {{file: {}}}}}\n", key.display());
        let sink = Sink::start(&more, state.path());
        let before = receiver.keys().len();
        sink.see([denied(1, 10)]).await;
        until(|| receiver.keys().len() > before).await;
        std::fs::write(&key, "second-key\n").unwrap();
        receiver.will([Reply::Refuse]);
        sink.see([denied(2, 10)]).await;
        let health = sink.stop().await;
        assert_eq!(receiver.keys()[before..], ["first-key", "second-key"]);
        assert!(!health.last_error().unwrap().contains("-key"));
        std::fs::remove_file(&key).unwrap();
    }
    let config = config(&format!(
        "{}  headers: {{api-key: {{file: /nonexistent}}}}\n",
        http(receiver.http().await)
    ));
    let target = config.target(&config.traces, "traces").unwrap();
    assert!(matches!(Client::new(&target), Err(OtlpError::Secret(_))));
}

#[tokio::test]
async fn tls_trusts_its_authority_only_and_shows_its_certificate() {
    let receiver = Receiver::default();
    let [http, grpc] = [receiver.http().await, receiver.grpc().await];
    let (ca, certificate, key) =
        (testdata("ca.pem"), testdata("client.pem"), testdata("client.key"));
    let trusting = format!("ca: {}", ca.display());
    let identity = format!("{{certificate: {}, key: {}}}", certificate.display(), key.display());
    for (plain, protocol) in [(http, "http"), (grpc, "grpc")] {
        let address = behind_tls(plain).await;
        for (tls, taken) in [
            (format!("{{{trusting}, identity: {identity}}}"), 1),
            (format!("{{{trusting}}}"), 0),
            ("{}".to_owned(), 0),
        ] {
            let state = tempfile::tempdir().unwrap();
            let port = address.port();
            let sink = Sink::start(
                &format!(
                    "  endpoint: https://localhost:{port}\n  protocol: {protocol}\n  tls: {tls}\n  retry: 1ms\n"
                ),
                state.path(),
            );
            sink.see([denied(1, 10)]).await;
            let health = sink.stop().await;
            assert_eq!(health.written(), taken, "{protocol} {tls}: {:?}", health.last_error());
        }
    }
}

#[tokio::test]
async fn only_what_matters_is_sent_of_traces_outside_of_the_share() {
    let receiver = Receiver::default();
    let more = format!("{}  sampling: {{ratio: 0}}\n", http(receiver.http().await));
    let state = tempfile::tempdir().unwrap();
    let sink = Sink::start(&more, state.path());
    let quiet = |event: Event| Event { session: Some("quiet".into()), ..event };
    let dull = story().into_iter().filter(|event| event.action != "connect");
    // Its first program ends well.
    sink.see(dull.map(quiet)).await;
    sink.see(story()).await;
    let health = sink.stop().await;
    assert_eq!((health.written(), health.sampled()), (9, 8));
    assert_eq!((names(&receiver.spans()), receiver.spans().len()), (ALL.into(), 4));
}

/// Stopped and started anew, or killed: one trace, each span once.
#[tokio::test]
async fn a_restart_in_mid_session_yields_one_trace() {
    for killed in [false, true] {
        for at in 1..story().len() {
            let receiver = Receiver::default();
            let way = http(receiver.http().await);
            let state = tempfile::tempdir().unwrap();
            // There are such processes: the second daemon looks for them much later.
            let mut events = story();
            let rest = events.split_off(at);
            let first = Sink::start(&way, state.path());
            first.see(events).await;
            if killed {
                // The last word is saved within the next second; then it is killed.
                tokio::time::sleep(Duration::from_millis(1300)).await;
                first.task.abort();
            } else {
                first.stop().await;
            }
            let second = Sink::start(&way, state.path());
            second.see(rest).await;
            second.stop().await;
            let spans = receiver.spans();
            let by_id: BTreeMap<_, _> = spans.iter().map(|span| (&span.span_id, span)).collect();
            assert_eq!(by_id.len(), spans.len(), "killed {killed}, at {at}: one is told twice");
            assert_eq!(names(&spans), ALL.into(), "killed {killed}, at {at}");
            assert_eq!(spans.iter().map(|span| &span.trace_id).collect::<BTreeSet<_>>().len(), 1);
            let parents = spans.iter().filter(|span| !span.parent_span_id.is_empty());
            assert!(parents.into_iter().all(|span| by_id.contains_key(&span.parent_span_id)));
        }
    }
}

#[tokio::test]
async fn open_spans_that_cannot_be_saved_are_lost_when_the_daemon_stops() {
    let receiver = Receiver::default();
    let way = http(receiver.http().await);
    let sink = Sink::start(&way, Path::new("/nonexistent"));
    sink.see([start(0), exec(1, 10, 9, "/bin/sh"), denied(2, 10)]).await;
    let health = sink.stop().await;
    assert_eq!((health.written(), health.lost()), (1, 2), "what is over is sent all the same");
    assert!(health.errors() > 0);
}

/// Waits until something is so, for ten seconds.
async fn until(so: impl Fn() -> bool) {
    for _ in 0..1000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come");
}
