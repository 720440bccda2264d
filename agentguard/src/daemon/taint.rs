//! Sessions that have read a secret: told of, remembered, and cleared by people. The kernel
//! marks them by itself, and holds their egress to what their policy says of that.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Daemon, State};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::session::Session;

/// How long the mark of a session that has ended stays: the kernel may have something left to
/// send of it, and tries that for about as long (`tcp_retries2`, 924 seconds at the least).
const STAYS: Duration = Duration::from_secs(30 * 60);

/// Marked sessions that are over, and since when that is known.
#[derive(Default)]
pub(super) struct Over(BTreeMap<u64, Instant>);

impl Daemon {
    /// A session has read a secret.
    pub(super) fn tainted(&self, number: u64, event: &Event) {
        let by = event.process.as_ref().map_or("a program", |process| process.comm.as_str());
        self.remember_taint(number, &format!("{by}: {} {}", event.action, event.resource));
    }

    fn remember_taint(&self, number: u64, why: &str) {
        let told = self.state.borrow_mut().sessions.set_tainted(number, Some(why));
        match told {
            Ok(session) => {
                self.tell_session("session.taint", &session, why.to_owned());
            }
            // A late record of a session that is over.
            Err(Error::UnknownSession(_)) => return,
            Err(error) => tracing::error!(%error, "a tainted session is not remembered as such"),
        }
        self.notify(number);
    }

    /// Takes the mark off a session: what its policy says of secrets holds no longer, until
    /// it reads one again.
    ///
    /// # Errors
    ///
    /// Where it has none, or the kernel refuses.
    pub fn clear(&self, number: u64, who: &str) -> Result<Session> {
        let session = {
            let mut state = self.state.borrow_mut();
            let State { sessions, .. } = &mut *state;
            if !self.tables.is_tainted(number)? {
                let id = sessions.get(number).map(|session| session.id.clone());
                let id = id.unwrap_or_default();
                return Err(Error::Refused(format!("session {id} has read no secret")));
            }
            self.tables.clear_taint(number)?;
            sessions.set_tainted(number, None)?
        };
        self.tell_session("session.clear", &session, who.to_owned());
        self.notify(number);
        Ok(session)
    }

    /// Looks for sessions whose record was lost, and forgets those that are long over.
    pub(super) fn look_at_taints(&self) -> Result<()> {
        let marked = self.tables.tainted()?;
        let unknown: Vec<u64> = {
            let mut state = self.state.borrow_mut();
            let State { sessions, over, .. } = &mut *state;
            let mut unknown = Vec::new();
            for number in marked {
                match sessions.get(number) {
                    Some(session) if session.tainted.is_none() => unknown.push(number),
                    Some(_) => {}
                    None => {
                        let since = *over.0.entry(number).or_insert_with(Instant::now);
                        if since.elapsed() >= STAYS {
                            self.tables.clear_taint(number)?;
                            over.0.remove(&number);
                        }
                    }
                }
            }
            unknown
        };
        unknown.into_iter().for_each(|number| self.remember_taint(number, "it read a secret"));
        Ok(())
    }
}
