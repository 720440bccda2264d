//! Tells sessions about themselves: the last refusal, a limit, why they are held or ended.
//! Refusals can be many, so a file is written anew only now and then; what holds or ends a
//! session is written before it does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Daemon, State};
use crate::event::{Class, Event, Outcome};
use crate::session::{Notice, Notices, Refusal};
use crate::why;

/// How often at the most refusals are written for one session.
const PAUSE: Duration = Duration::from_millis(200);

/// What sessions are to be told.
pub(super) struct Told {
    files: Notices,
    of: BTreeMap<u64, Pending>,
}

/// What one session is to be told.
#[derive(Default)]
struct Pending {
    /// The line of the last refusal.
    refusal: Option<String>,
    limit: Option<String>,
    warning: Option<String>,
    /// Whether the file says less than this.
    stale: bool,
    written: Option<Instant>,
}

impl Told {
    pub(super) const fn new(files: Notices) -> Self {
        Self { files, of: BTreeMap::new() }
    }

    /// Where a session finds what it is told.
    pub(super) fn path(&self, id: &str) -> std::path::PathBuf {
        self.files.path(id)
    }
}

impl Daemon {
    /// Something was refused, if it was: the session is told before long.
    pub(super) fn note_refusal(&self, number: u64, event: &Event) {
        if event.kind != Class::Decision || event.outcome != Outcome::Denied {
            return;
        }
        let pending = &mut self.state.borrow_mut().told.of;
        let pending = pending.entry(number).or_default();
        (pending.refusal, pending.stale) = (Some(event.line()), true);
    }

    /// A session reached a limit.
    pub(super) fn note_limit(&self, number: u64, text: String) {
        self.state.borrow_mut().told.of.entry(number).or_default().limit = Some(text);
        self.notify(number);
    }

    /// Something is about to happen to a session. Told once.
    pub(super) fn note_warning(&self, number: u64, text: String) {
        {
            let mut state = self.state.borrow_mut();
            let pending = state.told.of.entry(number).or_default();
            if pending.warning.is_some() {
                return;
            }
            pending.warning = Some(text);
        }
        self.notify(number);
    }

    /// Writes what a session is told, now.
    pub(super) fn notify(&self, number: u64) {
        let mut state = self.state.borrow_mut();
        let State { told, sessions, policies, .. } = &mut *state;
        let Some(session) = sessions.live().find(|session| session.number == number) else {
            // A late record of a session that is over.
            told.of.remove(&number);
            return;
        };
        let pending = told.of.entry(number).or_default();
        (pending.stale, pending.written) = (false, Some(Instant::now()));
        let refusal = pending.refusal.as_deref().and_then(|line| {
            let why = why::of_event(line, policies.of_line(line))?;
            let why::Explanation { id, action, resource, reason, rule, text, .. } = why;
            Some(Refusal { id, action, resource, reason, rule, text })
        });
        let (warning, limit) = (pending.warning.as_deref(), pending.limit.as_deref());
        let notice = Notice { warning, limit, refusal, ..Notice::of(session) };
        if let Err(error) = told.files.write(&notice, session.uid) {
            tracing::warn!(%error, session = session.id, "a session cannot be told about itself");
        }
    }

    /// Writes what has waited long enough.
    pub(super) fn notify_due(&self) {
        let now = Instant::now();
        let due = |pending: &Pending| {
            pending.stale && pending.written.is_none_or(|then| now.duration_since(then) >= PAUSE)
        };
        let due: Vec<u64> = {
            let state = self.state.borrow();
            let all = state.told.of.iter().filter(|(_, pending)| due(pending));
            all.map(|(number, _)| *number).collect()
        };
        due.into_iter().for_each(|number| self.notify(number));
    }

    /// A session has ended, and needs to be told nothing any more.
    pub(super) fn forget_notice(&self, number: u64, id: &str) {
        let mut state = self.state.borrow_mut();
        state.told.of.remove(&number);
        state.told.files.remove(id);
    }

    /// Tells the sessions that an earlier daemon left, and forgets those that are gone.
    pub(super) fn notify_all(&self) {
        let numbers: Vec<u64> = {
            let state = self.state.borrow();
            state.told.files.remove_others(&|id| state.sessions.live().any(|of| of.id == id));
            state.sessions.running().map(|session| session.number).collect()
        };
        numbers.into_iter().for_each(|number| self.notify(number));
    }
}
