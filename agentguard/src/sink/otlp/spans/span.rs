//! Spans of our own: with ids that follow from what they stand for, so that whoever makes
//! the span of a thing again makes the same.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::span::{Event as SpanEvent, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use crate::event::{Event, Outcome};
use crate::session::span_id;
use crate::sink::otlp::attributes;

/// A span's id.
pub(in crate::sink::otlp) type SpanId = [u8; 8];

/// The W3C trace flag that says that a span is recorded.
const SAMPLED: u32 = 0x1;
/// Says whether a span's parent is of another process is known, and that it is.
const REMOTE_PARENT: u32 = 0x300;

/// A span that is over.
#[derive(Debug)]
pub(in crate::sink::otlp) struct Finished {
    /// Its session.
    pub(in crate::sink::otlp) session: Arc<str>,
    /// The span.
    pub(in crate::sink::otlp) span: Span,
    /// How many events went into it.
    pub(in crate::sink::otlp) weight: u64,
    /// Whether its trace is to be kept for its sake.
    pub(in crate::sink::otlp) keep: bool,
}

/// The trace id of a session's events: the correlation id, or one made of the session's
/// name where the daemon has no record of the session.
pub(in crate::sink::otlp) fn trace_id(event: &Event, session: &str) -> [u8; 16] {
    let given = event.correlation_id.as_deref().unwrap_or_default();
    match u128::from_str_radix(given, 16) {
        Ok(id) if given.len() == 32 && id != 0 => id.to_be_bytes(),
        _ => {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&span_id(&["trace", session]));
            id[8..].copy_from_slice(&span_id(&["trace too", session]));
            id
        }
    }
}

/// A parent's id from its sixteen digits.
pub(super) fn parent_id(digits: Option<&str>) -> Option<SpanId> {
    let digits = digits.filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|id| *id != 0).map(u64::to_be_bytes)
}

/// The beginning of a span.
pub(super) fn begin(
    trace: [u8; 16],
    id: SpanId,
    parent: Option<SpanId>,
    name: String,
    start: u64,
    attributes: Vec<KeyValue>,
) -> Span {
    Span {
        trace_id: trace.to_vec(),
        span_id: id.to_vec(),
        parent_span_id: parent.map(|id| id.to_vec()).unwrap_or_default(),
        flags: SAMPLED,
        name,
        kind: SpanKind::Internal as i32,
        start_time_unix_nano: start,
        attributes,
        ..Span::default()
    }
}

/// Says that a span's parent is somebody else's.
pub(super) fn below_a_strangers(span: &mut Span) {
    span.flags |= REMOTE_PARENT;
}

/// Says that what a span stands for went wrong.
pub(super) fn fail(span: &mut Span, why: String) {
    span.status = Some(Status { message: why, code: StatusCode::Error as i32 });
}

/// Something that has no duration as a span of its own, told at once.
pub(super) fn point(event: &Event, session: &str, trace: [u8; 16], parent: SpanId) -> Span {
    let at = attributes::nanoseconds(event);
    let id = span_id(&["event", session, &event.id]);
    let all = attributes::of_everything(event);
    let mut span = begin(trace, id, Some(parent), event.action.to_owned(), at, all);
    span.end_time_unix_nano = at;
    if matches!(event.outcome, Outcome::Denied | Outcome::Failure) {
        let why = event.reason.or(event.message.as_deref());
        let word = event.outcome.as_str();
        span.attributes.push(attributes::text("error.type", event.reason.unwrap_or(word)));
        fail(&mut span, why.map_or_else(|| word.to_owned(), |why| format!("{word}: {why}")));
    }
    span
}

/// The same as an event within the span of a process.
pub(super) fn within(event: &Event) -> SpanEvent {
    let process = event.process.as_ref();
    let mut all = attributes::of_event(event);
    all.extend(process.map(|process| attributes::number(attributes::PID, process.pid)));
    SpanEvent {
        time_unix_nano: attributes::nanoseconds(event),
        name: event.action.to_owned(),
        attributes: all,
        dropped_attributes_count: 0,
    }
}
