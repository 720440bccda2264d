//! The end of sessions that agentguard kills. From the first step on, the kernel lets a
//! session do nothing more; its processes are then killed until none is left, whoever asked
//! for it: a person, a limit, a response.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Daemon;
use crate::error::{Error, Result};
use crate::event::{Event, Outcome};
use crate::session::{Camera, Doomed};

/// How long whoever asks waits for the last process to be gone.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often what is left is killed again.
const PAUSE: Duration = Duration::from_millis(2);
/// How many times running there must be nothing: see [`Doomed::kill`].
const CALM: u32 = 2;

/// A session whose processes are being killed.
pub(super) struct Dying {
    number: u64,
    doomed: Doomed,
    calm: u32,
    until: Instant,
}

impl Daemon {
    /// Ends a session: at once for what it may do, and its processes as soon as they go.
    ///
    /// # Errors
    ///
    /// Where there is none, or the kernel refuses.
    pub fn put_down(&self, number: u64, why: &str) -> Result<()> {
        if self.is_dying(number) {
            return Ok(());
        }
        let doomed = self.end(number, why)?;
        self.notify(number);
        let mut camera = doomed.hold_still();
        let calm = u32::from(doomed.kill(&self.tables, Some(&mut camera))?);
        let dying = Dying { number, doomed, calm, until: Instant::now() + PATIENCE };
        self.state.borrow_mut().dying.push(dying);
        self.to_bury.notify_one();
        self.tell_snapshot(number, camera);
        Ok(())
    }

    /// The same, where nobody waits for an answer.
    pub(super) fn put_down_or_log(&self, number: u64, why: &str) {
        if let Err(error) = self.put_down(number, why) {
            tracing::error!(%error, number, "cannot end a session");
        }
    }

    /// Ends a session and waits until no process of it is left.
    ///
    /// # Errors
    ///
    /// Where it cannot be ended, or processes are left when patience is over.
    pub async fn kill(&self, number: u64, id: &str, why: &str) -> Result<()> {
        self.put_down(number, why)?;
        let gone = async {
            while self.is_dying(number) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.map_err(|_| {
            Error::Refused(format!(
                "processes of session {id} are still being ended; they can do nothing any more"
            ))
        })
    }

    /// Tells what a session was doing when it was ended.
    fn tell_snapshot(&self, number: u64, camera: Camera) {
        let Some(snapshot) = camera.taken() else { return };
        let event = {
            let mut state = self.state.borrow_mut();
            let Some(session) = state.sessions.get(number).cloned() else { return };
            let (id, done) = (session.id.clone(), Outcome::Success);
            state.enricher.lifecycle("session.snapshot", Some(&session), id, done, None)
        };
        self.publish(&Arc::new(Event { snapshot: Some(Box::new(snapshot)), ..event }));
    }

    fn is_dying(&self, number: u64) -> bool {
        self.state.borrow().dying.iter().any(|dying| dying.number == number)
    }

    /// One round of killing what is left. True when nobody is dying any more.
    fn kill_round(&self) -> bool {
        let mut round = std::mem::take(&mut self.state.borrow_mut().dying);
        let mut gone = Vec::new();
        round.retain_mut(|dying| {
            match dying.doomed.kill(&self.tables, None) {
                Ok(true) => dying.calm += 1,
                Ok(false) => dying.calm = 0,
                Err(error) => tracing::error!(%error, "cannot look for what is to be killed"),
            }
            let over = dying.calm >= CALM || Instant::now() > dying.until;
            if over {
                gone.push(dying.number);
            }
            !over
        });
        let mut state = self.state.borrow_mut();
        // What was added in the meantime stays.
        state.dying.append(&mut round);
        let done = state.dying.is_empty();
        drop(state);
        gone.into_iter().for_each(|number| self.emptied(number));
        done
    }
}

/// Kills what is left of sessions that are being ended, for as long as the daemon lives.
pub(super) async fn bury(daemon: Rc<Daemon>) {
    loop {
        daemon.to_bury.notified().await;
        while !daemon.kill_round() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
