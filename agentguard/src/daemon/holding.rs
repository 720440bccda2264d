//! Sessions that are held and let go on: by a person, or by a response.
//!
//! The cgroup is frozen at once. Processes that left it are found by their labels, which
//! takes a moment, and so is done beside everything else.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Daemon;
use crate::error::Result;
use crate::event::Outcome;
use crate::session::Phase;

/// How long processes are looked for that do not stand still yet.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often.
const PAUSE: Duration = Duration::from_millis(2);

/// A session whose processes are being brought to a stand.
pub(super) struct Stopping {
    number: u64,
    until: Instant,
}

impl Daemon {
    /// Holds a session: by a response with that id, or by a person.
    ///
    /// # Errors
    ///
    /// Where it does not run, or the kernel refuses.
    pub fn hold(
        &self,
        number: u64,
        why: &str,
        action: &'static str,
        rule: Option<String>,
    ) -> Result<()> {
        let held = self.state.borrow().sessions.get(number).map(|session| session.state);
        if rule.is_some() && held != Some(Phase::Running) {
            // It stands still already, or is being ended.
            return Ok(());
        }
        let session = self.state.borrow_mut().sessions.pause(number, why)?;
        self.notify(number);
        let stopping = Stopping { number, until: Instant::now() + PATIENCE };
        self.state.borrow_mut().stopping.push(stopping);
        self.to_stop.notify_one();
        match rule {
            Some(rule) => {
                self.tell_response(action, &session, Outcome::Success, rule, why.to_owned());
            }
            None => self.tell_session(action, &session, why.to_owned()),
        }
        Ok(())
    }

    /// Holds a session for a person, and waits until its processes stand still. False where
    /// some do not yet (they wait for a device, for example), but will.
    ///
    /// # Errors
    ///
    /// Where it does not run, or the kernel refuses.
    pub async fn pause(&self, number: u64, why: &str) -> Result<bool> {
        self.hold(number, why, "session.pause", None)?;
        while self.state.borrow().stopping.iter().any(|stopping| stopping.number == number) {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(self.state.borrow().sessions.frozen(number))
    }

    /// Lets a session go on.
    ///
    /// # Errors
    ///
    /// Where it is not held, or the kernel refuses.
    pub fn resume(&self, number: u64, who: &str) -> Result<()> {
        self.counting_anew(number);
        let session = self.state.borrow_mut().sessions.resume(number)?;
        self.notify(number);
        self.tell_session("session.resume", &session, who.to_owned());
        Ok(())
    }

    /// One round of looking for what does not stand still. True when all do.
    fn stop_round(&self) -> bool {
        let mut round = std::mem::take(&mut self.state.borrow_mut().stopping);
        round.retain(|stopping| {
            let state = self.state.borrow();
            let held = state.sessions.get(stopping.number);
            if held.is_none_or(|session| session.state != Phase::Paused) {
                return false;
            }
            let gathered = state.sessions.gather(stopping.number, &self.tables);
            let gathered = gathered.unwrap_or_else(|error| {
                tracing::error!(%error, "cannot look for processes to hold");
                false
            });
            let still = gathered && state.sessions.frozen(stopping.number);
            !still && Instant::now() < stopping.until
        });
        let mut state = self.state.borrow_mut();
        state.stopping.append(&mut round);
        state.stopping.is_empty()
    }
}

/// Brings to a stand what is left of sessions that are held, for as long as the daemon lives.
pub(super) async fn stop(daemon: Rc<Daemon>) {
    loop {
        daemon.to_stop.notified().await;
        while !daemon.stop_round() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
