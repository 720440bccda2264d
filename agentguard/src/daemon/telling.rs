//! Events on their way out: into the log, to whoever listens, and to the sinks.

use std::sync::Arc;

use super::{Daemon, State};
use crate::event::{Event, Outcome};
use crate::session::Session;
use crate::sink::{Published, Sent};

impl Daemon {
    /// Tells of lost lines, once that can be written.
    pub(super) fn tell_lost(&self, lost: u64) {
        let mut state = self.state.borrow_mut();
        let message = Some(format!("{lost} lines could not be written"));
        let event =
            state.enricher.lifecycle("log.lost", None, "log".into(), Outcome::Failure, message);
        let line = event.line();
        if state.journal.log_mut().write(&line) {
            state.recent.add(Sent { line: line.into(), session: None, uid: 0, kind: event.kind });
        }
        state.journal.log_mut().told_lost(lost);
    }

    /// Tells of something in the life of a session or of the daemon.
    pub(super) fn tell(
        &self,
        action: &'static str,
        session: Option<&Session>,
        resource: String,
        outcome: Outcome,
        message: Option<String>,
    ) {
        let event = {
            let mut state = self.state.borrow_mut();
            state.enricher.lifecycle(action, session, resource, outcome, message)
        };
        self.publish(&Arc::new(event));
    }

    /// Tells of something that happened to a session as a whole.
    pub(super) fn tell_session(&self, action: &'static str, session: &Session, message: String) {
        self.tell(action, Some(session), session.id.clone(), Outcome::Success, Some(message));
    }

    /// Hands an event to the log, to whoever listens, and to the sinks.
    pub(super) fn publish(&self, event: &Arc<Event>) {
        let mut state = self.state.borrow_mut();
        let State { sessions, journal, recent, hub, .. } = &mut *state;
        if !journal.wants(event.kind) && !recent.has_listeners() && !hub.wants(event) {
            // Nobody reads it, so nobody has to make it readable.
            return hub.offer(event);
        }
        let session = event.session.as_ref().and_then(|id| {
            let mut known = sessions.live().chain(sessions.ended());
            known.find(|session| session.id == *id)
        });
        // Where the resource is the command, it is read word by word.
        let command = session.map(|session| session.command.as_slice());
        let command = command.filter(|command| event.resource == command.join(" "));
        let uid = session.map_or(0, |session| session.uid);
        let Published { event, line } = journal.write(event, command);
        recent.add(Sent {
            line: line.into(),
            session: event.session.as_deref().map(Into::into),
            uid,
            kind: event.kind,
        });
        hub.offer(&event);
    }
}
