//! Calls that are held, and what people answered, as the kernel has them
//! ([`agentguard_common::hold`]).

use agentguard_common::hold::{Hold, HoldKey, state};
use agentguard_common::verdict::Reason;

use super::{Map, Tables};
use crate::error::Result;

/// The tables of them.
pub struct HoldTables {
    pub(super) holds: Map<HoldKey, Hold>,
    /// How many of a session's the daemon has dropped, by slot.
    pub(super) dropped: Map<u32, u64>,
    /// When the daemon was last seen.
    pub(super) seen: Map<u32, u64>,
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// Whether it may go on.
    pub allow: bool,
    /// For how long that is good for all such calls of the session, in nanoseconds since boot;
    /// 0 as long as it lives, `None` for this one call.
    pub until: Option<u64>,
}

impl HoldTables {
    /// Tells the kernel that a daemon is there, at a time in nanoseconds since boot; 0 when it
    /// goes.
    ///
    /// # Errors
    ///
    /// [`crate::Error::System`] where the kernel refuses.
    pub fn set_seen(&self, now: u64) -> Result<()> {
        self.seen.set(&0, &now)
    }

    /// Answers a question. False where the call does not wait any more, and nothing more than
    /// this call was answered.
    ///
    /// # Errors
    ///
    /// [`crate::Error::System`] where the kernel refuses.
    pub fn answer(&self, key: HoldKey, word: Word) -> Result<bool> {
        let Some(until) = word.until else {
            let state = if word.allow { state::ONCE } else { state::REFUSED };
            return self.put(key, state, Reason::Refused);
        };
        let (state, reason) = if word.allow {
            (state::ALLOWED, Reason::Approved)
        } else {
            (state::DENIED, Reason::Refused)
        };
        let all = HoldKey::new(key.session, key.digest, 0);
        self.holds.set(&all, &Hold { until, state, detail: reason as u32, step: 0, process: 0 })?;
        Ok(true)
    }

    /// Refuses a call that waits, for a reason of the daemon's.
    ///
    /// # Errors
    ///
    /// [`crate::Error::System`] where the kernel refuses.
    pub fn refuse(&self, key: HoldKey, reason: Reason) -> Result<bool> {
        self.put(key, state::REFUSED, reason)
    }

    fn put(&self, key: HoldKey, state: u32, reason: Reason) -> Result<bool> {
        let Some(hold) = self.holds.get(&key)?.filter(|hold| hold.state == state::WAITING) else {
            return Ok(false);
        };
        self.holds.replace(&key, &Hold { state, detail: reason as u32, ..hold })
    }

    /// Until when a call waits, in nanoseconds since boot; `None` where it does not.
    ///
    /// # Errors
    ///
    /// [`crate::Error::System`] where the table cannot be read.
    pub fn waits(&self, key: &HoldKey) -> Result<Option<u64>> {
        let hold = self.holds.get(key)?.filter(|hold| hold.state == state::WAITING);
        Ok(hold.map(|hold| hold.until))
    }

    /// Takes a question away whose thread asks it no more.
    ///
    /// # Errors
    ///
    /// [`crate::Error::System`] where the kernel refuses.
    pub fn drop_one(&self, key: &HoldKey, slot: Option<u32>) -> Result<()> {
        let counts = self.holds.get(key)?.is_some_and(|hold| hold.state != state::USED);
        if self.holds.remove(key)?
            && counts
            && key.thread != 0
            && let Some(slot) = slot
        {
            let dropped = self.dropped.get(&slot)?.unwrap_or(0);
            self.dropped.set(&slot, &(dropped + 1))?;
        }
        Ok(())
    }

    /// All questions and answers.
    ///
    /// # Errors
    ///
    /// [`crate::Error::System`] where the table cannot be read.
    pub fn all(&self) -> Result<Vec<(HoldKey, Hold)>> {
        let keys = self.holds.keys()?;
        let found = keys.into_iter().map(|key| Ok((key, self.holds.get(&key)?)));
        let found: Result<Vec<(HoldKey, Option<Hold>)>> = found.collect();
        Ok(found?.into_iter().filter_map(|(key, hold)| Some((key, hold?))).collect())
    }
}

impl Tables {
    /// Those of calls that are held.
    #[must_use]
    pub const fn holds(&self) -> &HoldTables {
        &self.holds
    }
}
