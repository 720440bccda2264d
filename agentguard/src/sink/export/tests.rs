//! From the event to the store, with the fake server, or a listener of the test, in
//! its place.

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use super::*;
use crate::config::Settings;
use crate::sink::delivery::fake::{Fake, Reply, Seen};
use crate::sink::sample;

const TOKEN: &str = "0f3c8b1e-token";

struct Running {
    events: mpsc::Sender<Arc<Event>>,
    health: Arc<Health>,
    task: tokio::task::JoinHandle<()>,
}

/// One sink, from a configuration as a person would write it.
fn export(directory: &Path, to: &str, more: &str) -> Export {
    let key = directory.join("key");
    std::fs::write(&key, TOKEN).unwrap();
    let to = to.replace("SECRET", &format!("{{file: '{}'}}", key.display()));
    let text = format!(
        "export:\n- name: test\n  to: {to}\n  spool: {{directory: '{}'}}\n{more}",
        directory.display()
    );
    let settings = Settings::parse("f".as_ref(), text.as_bytes()).unwrap();
    Export::new(&settings.export.0[0]).unwrap()
}

impl Running {
    fn start(export: Export) -> Self {
        let (events, receiver) = mpsc::channel(4096);
        let health = Arc::new(Health::new("test"));
        let task = tokio::spawn(export.run(receiver, Arc::clone(&health)));
        Self { events, health, task }
    }

    async fn offer(&self, events: Vec<Event>) {
        for event in events {
            self.health.add_offered(1);
            self.events.send(Arc::new(event)).await.unwrap();
        }
    }

    async fn stop(self) -> Arc<Health> {
        drop(self.events);
        self.task.await.unwrap();
        self.health
    }
}

/// Sends one event of each sort and hands out the request.
async fn sent(to: &str, more: &str) -> (Seen, Arc<Health>) {
    let (fake, directory) = (Fake::start([]).await, tempfile::tempdir().unwrap());
    let to = to.replace("URL", &fake.url(""));
    let running = Running::start(export(directory.path(), &to, more));
    running.offer(sample::all()).await;
    let health = running.stop().await;
    let seen = fake.seen();
    assert_eq!(seen.len(), 1, "one request for all of them");
    let books = (health.offered(), health.written(), health.lost(), health.errors());
    assert_eq!(books, (10, 10, 0, 0));
    (seen[0].clone(), health)
}

#[tokio::test]
async fn json_lines_are_those_of_the_log() {
    let to = "{json: {url: 'URL/in', headers: {x-a: b, x-key: SECRET}, login: {bearer: SECRET}}}";
    let (seen, _) = sent(to, "").await;
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/in"));
    assert_eq!(seen.header("content-type"), "application/x-ndjson");
    assert_eq!(seen.header("content-encoding"), "gzip");
    assert_eq!(seen.header("authorization"), format!("Bearer {TOKEN}"));
    assert_eq!((seen.header("x-a"), seen.header("x-key")), ("b", TOKEN));
    let lines: Vec<String> = sample::all().iter().map(Event::line).collect();
    assert_eq!(String::from_utf8(seen.body).unwrap(), lines.join("\n") + "\n");
}

#[tokio::test]
async fn what_is_not_to_be_compressed_is_not() {
    let (seen, _) = sent("{json: {url: 'URL/in'}}", "  gzip: false\n").await;
    assert_eq!(seen.header("content-encoding"), "");
    assert_eq!(seen.lines().len(), 10);
}

#[tokio::test]
async fn ocsf_is_sent_as_lines() {
    let (seen, _) = sent("{ocsf: {url: 'URL/in'}}", "").await;
    for value in seen.lines() {
        encode::tests::check(include_str!("encode/schemas/ocsf.json"), &value);
    }
}

#[tokio::test]
async fn elasticsearch_gets_a_bulk_request() {
    let (seen, _) = sent("{elasticsearch: {url: 'URL', api_key: SECRET}}", "").await;
    assert!(seen.path.starts_with("/_bulk?filter_path=errors,items."), "{}", seen.path);
    assert_eq!(seen.header("content-type"), "application/x-ndjson");
    assert_eq!(seen.header("authorization"), format!("ApiKey {TOKEN}"));
    let lines = seen.lines();
    assert_eq!(lines.len(), 20);
    for pair in lines.chunks(2) {
        assert_eq!(pair[0]["create"]["_index"], "logs-agentguard-default");
        encode::tests::check(include_str!("encode/schemas/ecs.json"), &pair[1]);
    }
}

#[tokio::test]
async fn splunk_gets_events_for_its_collector() {
    let to = "{splunk: {url: 'URL', token: SECRET, index: agents}}";
    let (seen, _) = sent(to, "").await;
    assert_eq!(seen.path, "/services/collector/event");
    assert_eq!(seen.header("authorization"), format!("Splunk {TOKEN}"));
    for value in seen.lines() {
        encode::tests::check(include_str!("encode/schemas/splunk.json"), &value);
        assert_eq!(value["index"], "agents");
    }
}

#[tokio::test]
async fn sumo_logic_gets_lines_at_its_secret_address() {
    let (fake, directory) = (Fake::start([]).await, tempfile::tempdir().unwrap());
    let key = directory.path().join("address");
    std::fs::write(&key, fake.url("/receiver/v1/http/ZaVnC4dhaV39")).unwrap();
    let to =
        format!("{{sumo_logic: {{url: {{file: '{}'}}, category: agents/prod}}}}", key.display());
    let running = Running::start(export(directory.path(), &to, ""));
    running.offer(sample::all()).await;
    running.stop().await;
    let seen = &fake.seen()[0];
    assert_eq!(seen.path, "/receiver/v1/http/ZaVnC4dhaV39");
    assert_eq!(seen.header("x-sumo-category"), "agents/prod");
    assert_eq!(seen.header("x-sumo-name"), "agentguard");
    assert_eq!(seen.lines().len(), 10);
}

#[tokio::test]
async fn panther_gets_lines_with_its_secret() {
    let (seen, _) = sent("{panther: {url: 'URL/http/1', secret: SECRET}}", "").await;
    assert_eq!(seen.header("authorization"), format!("Bearer {TOKEN}"));
    assert!(seen.body.len() < 500_000 && seen.lines().len() == 10);
    let (seen, _) =
        sent("{panther: {url: 'URL/http/1', secret: SECRET, header: x-secret}}", "").await;
    assert_eq!((seen.header("x-secret"), seen.header("authorization")), (TOKEN, ""));
}

#[tokio::test]
async fn datadog_gets_a_list() {
    let to = "{datadog: {api_key: SECRET, url: 'URL/api/v2/logs', tags: ['env:prod']}}";
    let (seen, _) = sent(to, "").await;
    assert_eq!(seen.path, "/api/v2/logs");
    assert_eq!(seen.header("dd-api-key"), TOKEN);
    assert_eq!(seen.header("content-type"), "application/json");
    encode::tests::check(include_str!("encode/schemas/datadog.json"), &seen.json());
}

#[tokio::test]
async fn requests_are_as_large_and_as_late_as_configured() {
    let (fake, directory) = (Fake::start([]).await, tempfile::tempdir().unwrap());
    let to = format!("{{json: {{url: '{}'}}}}", fake.url("/"));
    let more = "  batch: {events: 4, bytes: 100kB, wait: 50ms}\n";
    let running = Running::start(export(directory.path(), &to, more));
    running.offer(sample::all()).await;
    // Nothing more comes, and still the last arrive.
    let sizes: Vec<usize> = fake.wait(3).await.iter().map(|seen| seen.lines().len()).collect();
    assert_eq!(sizes, [4, 4, 2]);
    running.stop().await;
    let more = "  batch: {bytes: 1kB}\n";
    let running = Running::start(export(directory.path(), &to, more));
    running.offer(sample::all()).await;
    running.stop().await;
    let small = fake.seen().split_off(3);
    assert!(small.len() > 1);
    assert!(small.iter().all(|seen| seen.body.len() <= 1000 || seen.lines().len() == 1));
}

#[tokio::test]
async fn elasticsearch_says_for_each_document_what_became_of_it() {
    let items = |statuses: &[u16]| {
        let item =
            |status: &u16| json!({ "create": { "status": status, "error": { "type": "x" } } });
        let items: Vec<Value> = statuses.iter().map(item).collect();
        let body = json!({ "errors": true, "items": items }).to_string();
        Reply { body, ..Reply::status(200) }
    };
    let page = Reply { body: "<html>sign in".to_owned(), ..Reply::status(200) };
    let replies =
        [page, items(&[201, 429]), items(&[409, 201, 400, 201, 201, 201, 201, 201, 201, 201])];
    let (fake, directory) = (Fake::start(replies).await, tempfile::tempdir().unwrap());
    let to = format!("{{elasticsearch: {{url: '{}'}}}}", fake.url(""));
    let running = Running::start(export(directory.path(), &to, ""));
    running.offer(sample::all()).await;
    let seen = fake.wait(3).await;
    assert!(seen.iter().all(|again| again.body == seen[0].body), "all of it again");
    let health = running.stop().await;
    assert_eq!((health.offered(), health.written(), health.lost()), (10, 9, 1));
    assert!(health.last_error().unwrap().contains("400 x"));
}

#[tokio::test]
async fn an_outage_with_a_restart_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let running =
        Running::start(export(directory.path(), "{json: {url: 'http://127.0.0.1:1'}}", ""));
    running.offer(sample::all()).await;
    let health = running.stop().await;
    assert_eq!((health.written(), health.pending()), (0, 10));
    let fake = Fake::start([]).await;
    let to = format!("{{json: {{url: '{}'}}}}", fake.url("/"));
    let running = Running::start(export(directory.path(), &to, ""));
    assert_eq!(fake.wait(1).await[0].lines().len(), 10);
    let health = running.stop().await;
    assert_eq!((health.offered(), health.written(), health.lost()), (10, 10, 0));
}

#[test]
fn what_waits_for_one_store_is_not_given_to_another() {
    let directory = tempfile::tempdir().unwrap();
    let json = export(directory.path(), "{json: {url: 'http://127.0.0.1:1'}}", "");
    let ocsf = export(directory.path(), "{ocsf: {url: 'http://127.0.0.1:1'}}", "");
    assert_ne!(json.directory, ocsf.directory);
}

#[test]
fn activity_goes_where_it_is_wanted() {
    assert!(wants_all(&sample::exec()) && !wants_no_activity(&sample::exec()));
    assert!(wants_no_activity(&sample::denied()) && wants_no_activity(&sample::lifecycle("x")));
}

#[tokio::test]
async fn a_store_that_never_answers_holds_up_no_other() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fake = Fake::start([]).await;
    let [one, two] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let more = "  batch: {wait: 10ms}\n";
    let to = format!("{{json: {{url: 'http://{}'}}}}", silent.local_addr().unwrap());
    let hanging = Running::start(export(one.path(), &to, more));
    let to = format!("{{json: {{url: '{}'}}}}", fake.url("/"));
    let working = Running::start(export(two.path(), &to, more));
    for round in 1..=5 {
        hanging.offer(sample::all()).await;
        working.offer(sample::all()).await;
        let lines: usize = fake.wait(round).await.iter().map(|seen| seen.lines().len()).sum();
        assert_eq!(lines, round * 10);
    }
    assert_eq!((working.stop().await.written(), hanging.health.written()), (50, 0));
    hanging.task.abort();
}

/// The messages in a stream, each with its length before it.
fn counted(mut bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let blank = bytes.iter().position(|byte| *byte == b' ').unwrap();
        let length: usize = std::str::from_utf8(&bytes[..blank]).unwrap().parse().unwrap();
        let (message, rest) = bytes[blank + 1..].split_at(length);
        found.push(String::from_utf8(message.to_vec()).unwrap());
        bytes = rest;
    }
    found
}

#[tokio::test]
async fn syslog_over_tcp_is_counted_and_connects_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let address = listener.local_addr().unwrap();
    let to = format!("{{syslog: {{address: '{address}', transport: tcp}}}}");
    let more = "  batch: {wait: 10ms}\n";
    let running = Running::start(export(directory.path(), &to, more));
    running.offer(vec![sample::denied(), sample::rename()]).await;
    let (mut first, _) = listener.accept().await.unwrap();
    let mut bytes = vec![0; 64 << 10];
    let read = first.read(&mut bytes).await.unwrap();
    let messages = counted(&bytes[..read]);
    assert_eq!(messages.len(), 2);
    assert!(messages[0].starts_with("<108>1 2026-11-22T21:36:18.279677Z host-1 agentguard "));
    drop(first);
    tokio::time::sleep(Duration::from_millis(50)).await;
    running.offer(vec![sample::question()]).await;
    let (mut second, _) = listener.accept().await.unwrap();
    let read = second.read(&mut bytes).await.unwrap();
    assert!(counted(&bytes[..read])[0].contains("|resolve|"));
    let health = running.stop().await;
    assert_eq!((health.written(), health.lost()), (3, 0));
}

#[tokio::test]
async fn syslog_over_udp_is_a_packet_for_each() {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let address = socket.local_addr().unwrap();
    let to = format!("{{syslog: {{address: '{address}', transport: udp, facility: 4}}}}");
    let running = Running::start(export(directory.path(), &to, ""));
    running.offer(vec![sample::denied(), sample::rename()]).await;
    running.stop().await;
    let mut bytes = vec![0; 4096];
    for begin in ["<36>1 ", "<37>1 "] {
        let read = socket.recv(&mut bytes).await.unwrap();
        let text = std::str::from_utf8(&bytes[..read]).unwrap();
        assert!(text.starts_with(begin) && text.contains(" CEF:0|"), "{text}");
    }
}

#[tokio::test]
async fn syslog_over_tls_trusts_only_whom_it_is_told_to() {
    let (server, ca) = tls_server();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, ca).unwrap();
    let port = listener.local_addr().unwrap().port();
    let to = format!("{{syslog: {{address: 'localhost:{port}'}}}}");
    let trusting = format!("  batch: {{wait: 10ms}}\n  tls: {{ca: '{}'}}\n", file.display());
    let running = Running::start(export(directory.path(), &to, &trusting));
    running.offer(vec![sample::denied()]).await;
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = server.accept(stream).await.unwrap();
    let mut bytes = vec![0; 64 << 10];
    let read = stream.read(&mut bytes).await.unwrap();
    assert!(counted(&bytes[..read])[0].contains("|connect|"));
    running.stop().await;
    // Without the file it is whom the host trusts, and that is not this server.
    let running = Running::start(export(directory.path(), &to, "  batch: {wait: 10ms}\n"));
    running.offer(vec![sample::denied()]).await;
    let (stream, _) = listener.accept().await.unwrap();
    assert!(server.accept(stream).await.is_err());
    running.task.abort();
}

fn tls_server() -> (tokio_rustls::TlsAcceptor, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (tokio_rustls::TlsAcceptor::from(Arc::new(config)), made.cert.pem())
}

#[test]
fn addresses_of_syslog_servers_are_checked() {
    let directory = tempfile::tempdir().unwrap();
    for address in ["syslog.example", "syslog.example:x", ":514"] {
        let text = format!("export: [{{name: x, to: {{syslog: {{address: '{address}'}}}}}}]");
        let settings = Settings::parse("f".as_ref(), text.as_bytes()).unwrap();
        let Err(error) = Export::new(&settings.export.0[0]) else { panic!("{address}") };
        assert!(error.to_string().contains("HOST:PORT"), "{error}");
    }
    export(directory.path(), "{syslog: {address: '[::1]:6514'}}", "");
}
