//! Sessions as traces: what is told of a session becomes a tree of spans.
//!
//! A session is a span, and so is each execution of a program, below the program that
//! started it. Decisions and what the daemon does to a session are spans without duration,
//! told at once; other activity is written into the span of the program that did it.
//!
//! Ids are hashes of what a span stands for, and what is open is saved ([`memory`]), so a
//! daemon that takes a session over goes on with the same trace. Everything here is
//! bounded; what finds no room is counted.

pub(super) mod memory;
mod sampling;
mod session;
mod span;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) use sampling::Sampler;
use session::{SessionNode, Stage};
pub(super) use span::{Finished, trace_id};

use crate::event::{Class, Event};

/// How long a session's end waits for what is late.
const LATE: Duration = Duration::from_secs(2);
/// How long a session that was told is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How long a daemon that takes over waits for what its predecessor left in the kernel,
/// before it looks which processes are still there.
const SETTLE: Duration = Duration::from_secs(10);
/// How long a session of an earlier daemon's time may be silent and without processes
/// before it counts as over.
const SILENT: Duration = Duration::from_secs(600);

/// How much is kept in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Sessions.
    pub(super) sessions: usize,
    /// Processes, those without a span of their own included.
    pub(super) processes: usize,
    /// Spans of programs that are open.
    pub(super) open: usize,
    /// Events within all open spans.
    pub(super) events: usize,
    /// Events within one span, as OpenTelemetry's own limit is.
    pub(super) events_of_one: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sessions: 4096, processes: 32_768, open: 8192, events: 16_384, events_of_one: 128 }
    }
}

/// What is in memory, and what became of events that are in no span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Books {
    processes: usize,
    open: usize,
    events: usize,
    /// Events left out on purpose.
    pub(super) sampled: u64,
    /// Events for which there was no room.
    pub(super) lost: u64,
}

/// The sessions that there are, and their open spans.
#[derive(Debug, Default)]
pub(super) struct Tree {
    sessions: HashMap<Arc<str>, SessionNode>,
    limits: Limits,
    books: Books,
    /// When open spans were taken over from an earlier daemon, until that is settled.
    restored: Option<Instant>,
    /// Whether what is open has changed since it was saved.
    dirty: bool,
}

impl Tree {
    /// Empty, with other limits than usual.
    #[cfg(test)]
    fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes an event in, and hands out the spans that it ends.
    pub(super) fn apply(&mut self, event: &Event, now: Instant, out: &mut Vec<Finished>) {
        let Some(id) = event.session.as_deref() else {
            self.books.sampled += 1;
            return;
        };
        if !self.sessions.contains_key(id) {
            if self.sessions.len() >= self.limits.sessions {
                self.books.lost += 1;
                return;
            }
            let id: Arc<str> = id.into();
            self.sessions.insert(Arc::clone(&id), SessionNode::new(&id, event, now));
        }
        let Self { sessions, limits, books, .. } = self;
        let Some(node) = sessions.get_mut(id) else { return };
        self.dirty = true;
        if matches!(node.stage, Stage::Told(_)) {
            late(node, event, books, out);
            return;
        }
        node.heard(event, now);
        let process = event.process.as_ref();
        match (event.kind, event.action, process) {
            (Class::Lifecycle, "session.start", _) => node.started(event),
            (Class::Lifecycle, "session.end", _) => node.ends(event, now),
            (Class::Activity, "exec", Some(process)) => {
                out.extend(node.executed(event, process, limits, books));
            }
            (Class::Activity, "fork", Some(process)) => {
                let child = event.resource.parse().unwrap_or(process.pid);
                node.forked(process, child, limits, books);
            }
            (Class::Activity, "exit", Some(process)) => {
                out.extend(node.exited(event, process, now, books));
            }
            (Class::Activity, ..) if node.told_within(event, limits, books) => {}
            _ => {
                if event.action == "session.kill" {
                    node.killed(event.message.as_deref().unwrap_or("killed"));
                }
                out.push(point(node, event));
            }
        }
    }

    /// The name of a session that there is.
    pub(super) fn known(&self, session: &str) -> Option<Arc<str>> {
        self.sessions.get_key_value(session).map(|(id, _)| Arc::clone(id))
    }

    /// Ends what is to end by now. `runs` says whether a process that executed its program
    /// at that time is still there. Sessions that are forgotten are named.
    pub(super) fn tick(
        &mut self,
        now: Instant,
        runs: &dyn Fn(u32, u64) -> bool,
        out: &mut Vec<Finished>,
    ) -> Vec<Arc<str>> {
        let Self { sessions, books, restored, .. } = self;
        let over = |since: Instant, time| now.saturating_duration_since(since) >= time;
        if restored.is_some_and(|at| over(at, SETTLE)) {
            *restored = None;
            sessions.values_mut().for_each(|node| node.forget_lost(runs, books));
            self.dirty = true;
        }
        let mut forgotten = Vec::new();
        sessions.retain(|id, node| {
            if let Some(before) = now.checked_sub(LATE) {
                node.forget_gone(before, books);
            }
            let silent = node.adopted && node.processes.is_empty() && over(node.heard, SILENT);
            match node.stage {
                Stage::Ending(since) if over(since, LATE) => node.tell(now, books, out),
                Stage::Open if silent => node.tell(now, books, out),
                Stage::Told(since) if over(since, REMEMBERED) => {
                    forgotten.push(Arc::clone(id));
                    return false;
                }
                _ => return true,
            }
            self.dirty = true;
            true
        });
        forgotten
    }

    /// Tells of the sessions that end now, without waiting for what is late.
    pub(super) fn close(&mut self, now: Instant, out: &mut Vec<Finished>) {
        let Self { sessions, books, .. } = self;
        for node in sessions.values_mut().filter(|node| matches!(node.stage, Stage::Ending(_))) {
            node.tell(now, books, out);
            self.dirty = true;
        }
    }

    /// What became of events that went into no span, since the last time.
    pub(super) fn take_books(&mut self) -> Books {
        let books = self.books;
        (self.books.sampled, self.books.lost) = (0, 0);
        books
    }

    /// Takes the events out of the open spans' account: those spans are saved, and the
    /// daemon that comes next tells of them.
    pub(super) fn hand_over(&mut self) -> u64 {
        let mut handed = 0;
        for node in self.sessions.values_mut() {
            handed += std::mem::take(&mut node.root.weight);
            let open = node.processes.values_mut().filter_map(|process| process.own.as_mut());
            handed += open.map(|open| std::mem::take(&mut open.weight)).sum::<u64>();
        }
        handed
    }
}

/// What comes after a session's span was told: what stands for itself is told, the rest
/// has no place any more.
fn late(node: &SessionNode, event: &Event, books: &mut Books, out: &mut Vec<Finished>) {
    match (event.kind, event.action) {
        (Class::Activity, _) | (Class::Lifecycle, "session.start" | "session.end") => {
            books.sampled += 1;
        }
        _ => out.push(point(node, event)),
    }
}

fn point(node: &SessionNode, event: &Event) -> Finished {
    let parent = node.parent_of(event.process.as_ref());
    let span = span::point(event, &node.id, node.trace, parent);
    Finished { session: Arc::clone(&node.id), span, weight: 1, keep: false }
}
