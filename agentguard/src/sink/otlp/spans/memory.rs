//! What is open, saved for the daemon that comes next: a file in OTLP's own format, one
//! set of spans a session, its own first. It lives beside the daemon's other memory in
//! `/run`, and is replaced whole.
//!
//! It is saved before anything that ended is sent, so no span that was told is open in it.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData};
use prost::Message as _;

use super::session::{Open, SessionNode, Stage};
use super::{Sampler, Tree};
use crate::sink::otlp::attributes::{self, number, text};

const SESSION: &str = "session";
const FIRST: &str = "first";
const KEPT: &str = "kept";

impl Tree {
    /// What is open, where that has changed since it was last asked for.
    pub(in crate::sink::otlp) fn save(&mut self, sampler: &Sampler) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.dirty) {
            return None;
        }
        let open = self.sessions.values().filter(|node| !matches!(node.stage, Stage::Told(_)));
        let sets = open.map(|node| saved(node, sampler.kept(&node.id)));
        Some(TracesData { resource_spans: sets.collect() }.encode_to_vec())
    }

    /// What was asked for could not be saved, and is to be asked for again.
    pub(in crate::sink::otlp) fn not_saved(&mut self) {
        self.dirty = true;
    }

    /// Takes over what an earlier daemon left open. What makes no sense is passed over.
    pub(in crate::sink::otlp) fn restore(
        &mut self,
        saved: &[u8],
        now: Instant,
        sampler: &mut Sampler,
    ) -> Result<(), prost::DecodeError> {
        let data = TracesData::decode(saved)?;
        for set in data.resource_spans.into_iter().take(self.limits.sessions) {
            self.restore_session(set, now, sampler);
        }
        self.restored = Some(now);
        Ok(())
    }

    fn restore_session(&mut self, set: ResourceSpans, now: Instant, sampler: &mut Sampler) {
        let about = set.resource.map(|resource| resource.attributes).unwrap_or_default();
        let mut spans = set.scope_spans.into_iter().flat_map(|scope| scope.spans);
        let (Some(Value::StringValue(id)), Some(root)) = (value(&about, SESSION), spans.next())
        else {
            return;
        };
        let ids = (root.trace_id.as_slice().try_into(), root.span_id.as_slice().try_into());
        let (Ok(trace), Ok(span_id)) = ids else { return };
        let id: Arc<str> = id.as_str().into();
        let mut node = SessionNode {
            id: Arc::clone(&id),
            trace,
            span_id,
            root: Open { span: root, weight: 0 },
            processes: std::collections::HashMap::new(),
            first: pid(&about, FIRST),
            stage: Stage::Open,
            heard: now,
            adopted: true,
        };
        for span in spans {
            if let Some(pid) = pid(&span.attributes, attributes::PID)
                && self.books.open < self.limits.open
            {
                node.restore(pid, span, &mut self.books);
            }
        }
        if value(&about, KEPT).is_some() {
            sampler.keep(&id, &mut Vec::new());
        }
        self.sessions.insert(id, node);
    }
}

fn saved(node: &SessionNode, kept: bool) -> ResourceSpans {
    let mut about = vec![text(SESSION, &*node.id)];
    about.extend(node.first.map(|pid| number(FIRST, pid)));
    about.extend(kept.then(|| number(KEPT, 1)));
    let open = node.processes.values().filter_map(|process| process.own.as_ref());
    let spans: Vec<Span> =
        std::iter::once(&node.root).chain(open).map(|open| open.span.clone()).collect();
    ResourceSpans {
        resource: Some(Resource { attributes: about, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

fn pid(attributes: &[KeyValue], key: &str) -> Option<u32> {
    match value(attributes, key) {
        Some(Value::IntValue(pid)) => u32::try_from(*pid).ok(),
        _ => None,
    }
}

/// Puts the file in place in one step.
pub(in crate::sink::otlp) fn write(path: &Path, data: &[u8]) -> std::io::Result<()> {
    let part = path.with_extension("part");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&part)?.write_all(data)?;
    std::fs::rename(&part, path)
}

/// Whether a process that executed its program at that time, in nanoseconds since 1970, is
/// still there: one of that number that was made later is another.
pub(in crate::sink::otlp) fn runs(pid: u32, executed: u64) -> bool {
    const NANOSECONDS: u64 = 1_000_000_000;
    let process = i32::try_from(pid).ok().and_then(|pid| procfs::process::Process::new(pid).ok());
    let Some(stat) = process.and_then(|process| process.stat().ok()) else { return false };
    let started = stat.starttime.saturating_mul(NANOSECONDS / procfs::ticks_per_second().max(1));
    let since_boot = crate::event::now_since_boot();
    let now = time::OffsetDateTime::now_utc().unix_timestamp_nanos();
    let boot = u64::try_from(now).unwrap_or(u64::MAX).saturating_sub(since_boot);
    // Clocks are set now and then; a second makes no difference to numbers of processes.
    boot.saturating_add(started) <= executed.saturating_add(NANOSECONDS)
}
