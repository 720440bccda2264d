//! The section `otlp`: what is sent where, and what is refused.

use std::path::Path;

use crate::config::{Compression, OtlpConfig, Protocol, Settings, SignalConfig, Target};

fn parse(text: &str) -> Result<OtlpConfig, String> {
    let settings = Settings::parse(Path::new("f"), text.as_bytes());
    settings.map(|settings| settings.otlp).map_err(|error| error.to_string())
}

fn target(config: &OtlpConfig, signal: &SignalConfig, name: &str) -> Target {
    config.target(signal, name).unwrap()
}

#[test]
fn nothing_is_sent_without_an_endpoint() {
    let config = parse("otlp: {}\n").unwrap();
    assert_eq!(config, OtlpConfig::default());
    assert_eq!(config.target(&config.traces, "traces"), None);
}

#[test]
fn what_is_given_for_all_holds_where_a_signal_says_nothing() {
    let config = parse(
        "otlp:
  endpoint: https://otel.example/api/
  headers: {x-dataset: all, api-key: {file: /run/key}}
  compression: gzip
  timeout: 3s
  traces: {endpoint: 'https://traces.example/own', headers: {x-dataset: own}, timeout: 500ms}
  logs: {protocol: grpc, endpoint: 'http://127.0.0.1:4317'}
  metrics: {send: false}
",
    )
    .unwrap();
    let traces = target(&config, &config.traces, "traces");
    assert_eq!(traces.url.as_str(), "https://traces.example/own", "as it is");
    assert_eq!((traces.headers.iter().count(), traces.timeout.as_millis()), (1, 500));
    assert_eq!(traces.compression, Compression::Gzip);
    let logs = target(&config, &config.logs, "logs");
    assert_eq!((logs.protocol, logs.headers.iter().count()), (Protocol::Grpc, 2));
    assert_eq!(config.target(&config.metrics, "metrics"), None);
    let other = target(&config, &SignalConfig::default(), "other");
    assert_eq!(other.url.as_str(), "https://otel.example/api/v1/other");
}

#[test]
fn what_is_wrong_is_told_with_place_and_mend() {
    for (text, place, problem, mend) in [
        ("endpoint: 'otel.example:4318'", "2:13", "neither http nor https", "https://otel"),
        ("endpoint: nonsense", "2:13", "no URL", "https://otel"),
        ("endpoint: 'https://a:b@otel.example'", "2:13", "password", "headers"),
        ("headers: {authorization: Bearer}", "2:12", "carries a secret", "{file: PATH}"),
        ("headers: {x-honeycomb-team: abc}", "2:12", "carries a secret", "{file: PATH}"),
        ("headers: {host: abc}", "2:12", "cannot be set", "leave it out"),
        ("headers: {'a b': abc}", "2:12", "cannot be set", "leave it out"),
        ("queue: 0", "2:10", "out of range", "1000000"),
        ("batch: 10001", "2:10", "out of range", "10000"),
        ("sampling: {ratio: 1.5}", "2:21", "out of range", "0 to 1"),
        ("sampling: {ratio: .nan}", "2:21", "out of range", "0 to 1"),
        ("protocol: udp", "2:13", "not known", "http, grpc"),
        ("timeout: soon", "2:12", "no length of time", "30s"),
        ("traces: {url: x}", "2:12", "unknown key: url", "endpoint"),
    ] {
        let error = parse(&format!("otlp:\n  {text}\n")).unwrap_err();
        assert!(error.starts_with(&format!("f:{place}:")), "{text}: {error}");
        assert!(error.contains(problem) && error.contains(mend), "{text}: {error}");
    }
}

#[test]
fn a_secret_that_was_written_out_is_not_shown() {
    let error = parse("otlp:\n  headers: {api-key: c0rrect-h0rse}\n").unwrap_err();
    assert!(!error.contains("c0rrect"), "{error}");
}
