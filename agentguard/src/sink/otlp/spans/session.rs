//! One session's part of the tree: its own span, and those of the programs that run.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use opentelemetry_proto::tonic::trace::v1::Span;

use super::span::{self, Finished, SpanId};
use super::{Books, Limits};
use crate::event::{Event, ProcessInfo};
use crate::session::{session_span_id, span_id};
use crate::sink::otlp::attributes::{self, number, text};

/// A span that is not over, and the number of events that went into it.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) span: Span,
    pub(super) weight: u64,
}

/// A process.
#[derive(Debug)]
pub(super) struct ProcessNode {
    /// The span that what it does stands below: its own, or that of the program that it
    /// was forked from.
    span: SpanId,
    /// Its own, while it runs.
    pub(super) own: Option<Open>,
    /// When it ended. It is remembered for a moment, as decisions about it may come late.
    gone: Option<Instant>,
    /// It was taken over from an earlier daemon, and nothing has been heard of it since.
    pub(super) restored: bool,
}

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It runs.
    Open,
    /// It was said to have ended. What is late has a moment to come.
    Ending(Instant),
    /// Its span is told.
    Told(Instant),
}

/// A session.
#[derive(Debug)]
pub(super) struct SessionNode {
    pub(super) id: Arc<str>,
    pub(super) trace: [u8; 16],
    pub(super) span_id: SpanId,
    /// Its span; its end is the last that was heard of it.
    pub(super) root: Open,
    pub(super) processes: HashMap<u32, ProcessNode>,
    /// The process that ran first.
    pub(super) first: Option<u32>,
    pub(super) stage: Stage,
    /// When something was last heard of it.
    pub(super) heard: Instant,
    /// It was taken over from an earlier daemon.
    pub(super) adopted: bool,
}

impl SessionNode {
    /// A session of which this is the first that is heard.
    pub(super) fn new(id: &Arc<str>, event: &Event, now: Instant) -> Self {
        let trace = span::trace_id(event, id);
        let span_id = session_span_id(&crate::hex(&trace), id);
        let parent = span::parent_id(event.parent_span_id.as_deref());
        let mut all = attributes::of_session(event);
        all.push(text("gen_ai.operation.name", "invoke_agent"));
        all.extend(event.policy_hash.iter().map(|hash| text("agentguard.policy.hash", hash)));
        let name = format!("invoke_agent {}", event.agent_role);
        let at = attributes::nanoseconds(event);
        let mut root = span::begin(trace, span_id, parent, name, at, all);
        if parent.is_some() {
            span::below_a_strangers(&mut root);
        }
        Self {
            id: Arc::clone(id),
            trace,
            span_id,
            root: Open { span: root, weight: 0 },
            processes: HashMap::new(),
            first: None,
            stage: Stage::Open,
            heard: now,
            adopted: false,
        }
    }

    /// Notes when the session was heard of.
    pub(super) fn heard(&mut self, event: &Event, now: Instant) {
        let at = attributes::nanoseconds(event);
        let root = &mut self.root.span;
        // What happened first can be told last.
        root.start_time_unix_nano = root.start_time_unix_nano.min(at);
        root.end_time_unix_nano = root.end_time_unix_nano.max(at);
        self.heard = now;
    }

    /// The session began.
    pub(super) fn started(&mut self, event: &Event) {
        self.root.weight += 1;
        self.root.span.attributes.push(text("agentguard.session.command", &event.resource));
    }

    /// The session was ended, or ends.
    pub(super) fn ends(&mut self, event: &Event, now: Instant) {
        self.root.weight += 1;
        if let Some(why) = &event.message {
            self.killed(why);
        }
        if self.stage == Stage::Open {
            self.stage = Stage::Ending(now);
        }
    }

    /// Somebody ended it.
    pub(super) fn killed(&mut self, why: &str) {
        span::fail(&mut self.root.span, why.to_owned());
    }

    /// The span that a process's deeds stand below.
    pub(super) fn parent_of(&self, process: Option<&ProcessInfo>) -> SpanId {
        let node = |pid: u32| self.processes.get(&pid).map(|node| node.span);
        process
            .and_then(|process| node(process.pid).or_else(|| node(process.ppid?)))
            .unwrap_or(self.span_id)
    }

    /// A process was made. Until it executes something, it acts for its maker.
    pub(super) fn forked(
        &mut self,
        parent: &ProcessInfo,
        child: u32,
        limits: &Limits,
        books: &mut Books,
    ) {
        let span = self.parent_of(Some(parent));
        if books.processes < limits.processes {
            self.put(child, ProcessNode::of(span), books);
        }
        self.absorb(parent.pid);
    }

    /// A process executes a program: a span of its own begins. That of the program it ran
    /// before ends, and is the new one's parent.
    pub(super) fn executed(
        &mut self,
        event: &Event,
        process: &ProcessInfo,
        limits: &Limits,
        books: &mut Books,
    ) -> Option<Finished> {
        let at = attributes::nanoseconds(event);
        let parent = self.parent_of(Some(process));
        let replaced = self.processes.remove(&process.pid);
        books.processes -= usize::from(replaced.is_some());
        let replaced = replaced.and_then(|node| node.own).map(|mut open| {
            open.span.attributes.push(text("agentguard.process.end", "replaced"));
            self.finish(open, at, books)
        });
        self.first.get_or_insert(process.pid);
        if books.open < limits.open && books.processes < limits.processes {
            let id = span_id(&["process", &self.id, &event.id]);
            let mut all = attributes::of_session(event);
            all.extend(attributes::of_process(process));
            all.push(text("agentguard.event.id", &event.id));
            let name = attributes::executable_name(process);
            let span = span::begin(self.trace, id, Some(parent), name, at, all);
            books.open += 1;
            let own = Some(Open { span, weight: 1 });
            self.put(
                process.pid,
                ProcessNode { span: id, own, gone: None, restored: false },
                books,
            );
        } else {
            books.lost += 1;
        }
        replaced
    }

    /// A process ended.
    pub(super) fn exited(
        &mut self,
        event: &Event,
        process: &ProcessInfo,
        now: Instant,
        books: &mut Books,
    ) -> Option<Finished> {
        let Some(node) = self.processes.get_mut(&process.pid) else {
            self.absorb(process.pid);
            return None;
        };
        (node.gone, node.restored) = (Some(now), false);
        let Some(mut open) = node.own.take() else {
            self.absorb(process.pid);
            return None;
        };
        open.weight += 1;
        let why = match (process.exit_code, process.signal) {
            (_, Some(signal)) => Some(format!("signal {signal}")),
            (Some(code), None) if code != 0 => Some(code.to_string()),
            _ => None,
        };
        let all = &mut open.span.attributes;
        all.extend(process.exit_code.map(|code| number("process.exit.code", code)));
        all.extend(process.signal.map(|signal| number("agentguard.process.signal", signal)));
        let failed = why.is_some();
        if let Some(why) = why {
            all.push(text("error.type", &why));
            span::fail(&mut open.span, format!("ended with {why}"));
        }
        let finished = self.finish(open, attributes::nanoseconds(event), books);
        // Programs that a shell tries fail all the time; the one that is the session matters.
        Some(Finished { keep: failed && self.first == Some(process.pid), ..finished })
    }

    /// Puts an event into the span of the process that it is about, where that is open
    /// and has room. Says whether it is accounted for.
    pub(super) fn told_within(
        &mut self,
        event: &Event,
        limits: &Limits,
        books: &mut Books,
    ) -> bool {
        let pid = event.process.as_ref().map(|process| process.pid);
        let known = pid.and_then(|pid| self.processes.get_mut(&pid));
        let open = match (known, pid) {
            (Some(node), _) => {
                node.restored = false;
                node.own.as_mut()
            }
            (None, Some(_)) => None,
            (None, None) => Some(&mut self.root),
        };
        let Some(open) = open else { return false };
        if open.span.events.len() >= limits.events_of_one {
            open.span.dropped_events_count += 1;
            books.sampled += 1;
        } else if books.events >= limits.events {
            open.span.dropped_events_count += 1;
            books.lost += 1;
        } else {
            open.span.events.push(span::within(event));
            open.weight += 1;
            books.events += 1;
        }
        true
    }

    /// Counts an event that changes no span of its own.
    fn absorb(&mut self, pid: u32) {
        let node = self.processes.get_mut(&pid);
        let own = node.and_then(|node| {
            node.restored = false;
            node.own.as_mut()
        });
        own.unwrap_or(&mut self.root).weight += 1;
    }

    /// The session is over: what is still open ends with it, and its own span last.
    pub(super) fn tell(&mut self, now: Instant, books: &mut Books, out: &mut Vec<Finished>) {
        let end = self.root.span.end_time_unix_nano;
        books.processes -= self.processes.len();
        for node in std::mem::take(&mut self.processes).into_values() {
            let Some(mut open) = node.own else { continue };
            open.span.attributes.push(text("agentguard.process.end", "unknown"));
            out.push(self.finish(open, end, books));
        }
        let root = std::mem::take(&mut self.root);
        books.open += 1;
        out.push(self.finish(root, end, books));
        self.stage = Stage::Told(now);
    }

    /// Forgets processes that ended a while ago.
    pub(super) fn forget_gone(&mut self, before: Instant, books: &mut Books) {
        let had = self.processes.len();
        self.processes.retain(|_, node| node.gone.is_none_or(|gone| gone > before));
        books.processes -= had - self.processes.len();
    }

    /// Forgets processes of an earlier daemon's time that are not there any more, and of
    /// whose end nobody told: whether that daemon told of them is not known, and the same
    /// span must not be told twice with different ends.
    pub(super) fn forget_lost(&mut self, runs: &dyn Fn(u32, u64) -> bool, books: &mut Books) {
        let had = self.processes.len();
        self.processes.retain(|pid, node| {
            let start = node.own.as_ref().map(|open| open.span.start_time_unix_nano);
            let there = !node.restored || start.is_some_and(|start| runs(*pid, start));
            if !there && let Some(open) = &node.own {
                books.open -= 1;
                books.events -= open.span.events.len();
            }
            node.restored = false;
            there
        });
        books.processes -= had - self.processes.len();
    }

    /// Takes a process over from an earlier daemon.
    pub(super) fn restore(&mut self, pid: u32, span: Span, books: &mut Books) {
        let Ok(id) = SpanId::try_from(span.span_id.as_slice()) else { return };
        books.open += 1;
        books.events += span.events.len();
        let own = Some(Open { span, weight: 0 });
        self.put(pid, ProcessNode { span: id, own, gone: None, restored: true }, books);
    }

    fn finish(&self, mut open: Open, end: u64, books: &mut Books) -> Finished {
        books.open -= 1;
        books.events -= open.span.events.len();
        let span = &mut open.span;
        span.end_time_unix_nano = end.max(span.start_time_unix_nano);
        let session = Arc::clone(&self.id);
        Finished { session, span: open.span, weight: open.weight, keep: false }
    }

    fn put(&mut self, pid: u32, node: ProcessNode, books: &mut Books) {
        // A number that is used again: its old process is long gone.
        if let Some(old) = self.processes.insert(pid, node) {
            if let Some(open) = old.own {
                books.open -= 1;
                books.events -= open.span.events.len();
                books.lost += open.weight;
            }
        } else {
            books.processes += 1;
        }
    }
}

impl ProcessNode {
    fn of(span: SpanId) -> Self {
        Self { span, own: None, gone: None, restored: false }
    }
}
