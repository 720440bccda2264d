//! Events as log records.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use tokio::sync::mpsc;

use super::exporter::Exporter;
use super::{attributes, signal, spans};
use crate::event::{Class, Event, Outcome, Severity};
use crate::session::{session_span_id, span_id};

/// Sends events on until their queue closes.
pub(super) async fn run(mut events: mpsc::Receiver<Arc<Event>>, exporter: Exporter<signal::Logs>) {
    while let Some(event) = events.recv().await {
        exporter.push(record(&event, now()), 1);
    }
    exporter.close().await;
}

/// An event as a log record.
fn record(event: &Event, observed: u64) -> LogRecord {
    let (severity_number, severity) = severity(event);
    let trace = event.session.as_deref().map(|session| (spans::trace_id(event, session), session));
    let span = trace.map(|(trace, session)| span_of(event, &crate::hex(&trace), session));
    let outcome = event.outcome.as_str();
    let body = format!("{outcome} {} {}", event.action, event.resource);
    LogRecord {
        time_unix_nano: attributes::nanoseconds(event),
        observed_time_unix_nano: observed,
        severity_number: severity_number as i32,
        severity_text: severity.into(),
        body: Some(AnyValue { value: Some(Value::StringValue(body)) }),
        attributes: attributes::of_everything(event),
        flags: u32::from(trace.is_some()),
        trace_id: trace.map(|(trace, _)| trace.to_vec()).unwrap_or_default(),
        span_id: span.map(|span| span.to_vec()).unwrap_or_default(),
        event_name: format!("agentguard.{}", event.action),
        ..LogRecord::default()
    }
}

/// The span that stands for the event where it has one of its own, else the session's.
fn span_of(event: &Event, trace: &str, session: &str) -> [u8; 8] {
    match (event.kind, event.action) {
        (Class::Activity, "exec") => span_id(&["process", session, &event.id]),
        (Class::Activity, _) | (Class::Lifecycle, "session.start" | "session.end") => {
            session_span_id(trace, session)
        }
        _ => span_id(&["event", session, &event.id]),
    }
}

fn severity(event: &Event) -> (SeverityNumber, &'static str) {
    if let Some(finding) = &event.finding {
        return match finding.severity {
            Severity::Info => (SeverityNumber::Info, "INFO"),
            Severity::Low | Severity::Medium => (SeverityNumber::Warn, "WARN"),
            Severity::High => (SeverityNumber::Error, "ERROR"),
            Severity::Critical => (SeverityNumber::Fatal, "FATAL"),
        };
    }
    match (event.outcome, event.kind) {
        (Outcome::Failure, _) => (SeverityNumber::Error, "ERROR"),
        (Outcome::Denied | Outcome::WouldDeny, _) => (SeverityNumber::Warn, "WARN"),
        (_, Class::Activity) => (SeverityNumber::Debug, "DEBUG"),
        _ => (SeverityNumber::Info, "INFO"),
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::otlp::sample::{TRACE, denied, exec, finding, written};

    #[test]
    fn a_record_is_tied_to_the_span_of_what_it_tells_of() {
        let record = record(&denied(3, 10), 7);
        assert_eq!(crate::hex(&record.trace_id), TRACE);
        assert_eq!(record.span_id, span_id(&["event", "s1", "connect-3-10"]));
        assert_eq!((record.severity_text.as_str(), record.observed_time_unix_nano), ("WARN", 7));
        assert_eq!(record.event_name, "agentguard.connect");
        let Some(AnyValue { value: Some(Value::StringValue(body)) }) = record.body else {
            panic!()
        };
        assert_eq!(body, "denied connect tcp://10.0.0.1:443");
    }

    #[test]
    fn a_finding_is_as_severe_as_it_says() {
        let found = record(&finding(1), 0);
        assert_eq!((found.severity_number, found.severity_text.as_str()), (21, "FATAL"));
        let keys: Vec<&str> = found.attributes.iter().map(|one| one.key.as_str()).collect();
        assert!(keys.contains(&"agentguard.finding.rule"), "{keys:?}");
    }

    #[test]
    fn activity_belongs_to_the_session_and_programs_to_their_own_spans() {
        assert_eq!(record(&written(1, 2), 0).span_id, session_span_id(TRACE, "s1"));
        let program = exec(1, 2, 1, "/bin/sh");
        assert_eq!(record(&program, 0).span_id, span_id(&["process", "s1", &program.id]));
        let outside = record(&Event { session: None, ..denied(1, 2) }, 0);
        assert!(outside.trace_id.is_empty() && outside.span_id.is_empty() && outside.flags == 0);
    }
}
