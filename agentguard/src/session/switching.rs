//! A running session goes on under another policy: everything that the new one needs stands
//! in the kernel's tables first; then one number changes, and with it all that decides.

use std::sync::Arc;

use agentguard_common::egress::PolicyEntry;
use agentguard_common::limit::{LIMITS, Rate};
use agentguard_common::session::{SessionEntry, State, Terms};

use super::manager::Sessions;
use super::{Session, SessionPaths, Slots};
use crate::error::{Error, Result};
use crate::kernel::{Carry, Tables};
use crate::policy::{Bindings, BoundPaths, Carried, Limits, Policy};

/// What a session changes to.
#[derive(Clone, Debug)]
pub struct Switch {
    /// The policy, where it stands, and its rules on paths with what the variables stand for
    /// in the session.
    pub policy: Arc<Policy>,
    /// Its slots.
    pub slots: Slots,
    /// The rules on paths.
    pub bound: Option<BoundPaths>,
    /// What the variables stand for.
    pub bindings: Bindings,
    /// Whether it is enforced or observed.
    pub state: State,
    /// What it may use of the host.
    pub limits: Limits,
    /// The limits per time.
    pub rates: [Rate; LIMITS.len()],
    /// What it learned of names under the old one, to be known under the new one.
    pub learned: Option<Arc<Relearned>>,
}

/// How what was learned under one policy is known under another.
#[derive(Clone, Debug)]
pub struct Relearned {
    /// The one.
    pub from: PolicyEntry,
    /// The other.
    pub to: PolicyEntry,
    /// What the names of the one are in the other.
    pub names: Carried,
}

impl Relearned {
    /// Lets a session know it. What it learns under the old policy by questions that are under
    /// way is for the next time.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses.
    pub fn carry(&self, session: u64, tables: &Tables) -> Result<()> {
        let carry = Carry { session, from: &self.from, to: &self.to, names: &self.names };
        tables.carry_learned(&carry)
    }
}

impl Switch {
    /// Whose numbers those of the lists of names are, see [`PolicyEntry::lists`].
    #[must_use]
    pub fn lists(&self) -> u32 {
        PolicyEntry::lists_of(self.policy.tag())
    }
}

impl Sessions {
    /// Lets a session go on under another policy.
    ///
    /// # Errors
    ///
    /// Where there is no such session, it is being ended, or the tables have no room; it goes
    /// on under the old one then.
    pub fn switch(&mut self, number: u64, to: &Switch, tables: &Tables) -> Result<Session> {
        let old = self.get_live(number)?.clone();
        let entry = *self.entries.get(&number).ok_or(Error::UnknownSession(old.id.clone()))?;
        let terms = Terms::unpack(entry.terms);
        if terms.state == State::Ending as u32 {
            return Err(Error::Refused(format!("session {} is being ended", old.id)));
        }
        let paths =
            to.bound.as_ref().map(|bound| self.paths.hold(number, bound, &to.policy, tables));
        let paths = paths.transpose()?;
        if let Some(learned) = &to.learned {
            learned.carry(number, tables)?;
        }
        let hash = crate::hex(&to.policy.hash);
        // Both ways to find out of: a daemon that is killed here sees in the kernel's table
        // which of them holds.
        let new = Session { policy_hash: hash, bindings: Some(to.bindings.clone()), ..old.clone() };
        let new = Session { paths: paths.clone(), paths_before: old.paths.clone(), ..new };
        self.store.keep(&new)?;
        let files = paths.as_ref().map_or(0, |paths| paths.stand.number);
        let terms = Terms {
            policy: to.slots.policy,
            tainted: to.slots.tainted,
            files,
            exec: to.policy.exec_flags(),
            state: to.state as u32,
        };
        let entry = SessionEntry { terms: terms.pack(), rates: to.rates, ..entry };
        tables.set_session(old.slot, entry)?;
        self.entries.insert(number, entry);
        self.live.insert(number, new.clone());
        self.paths.leave_others(number, paths.as_ref().map(|paths| paths.key.as_str()));
        match new.limits == to.limits {
            true => Ok(new),
            false => self.hold_to(number, to.limits.clone(), tables),
        }
    }

    /// Whether a running session uses the policy in a slot.
    #[must_use]
    pub fn uses_policy(&self, slot: u32) -> bool {
        let mut terms = self.entries.values().map(|entry| Terms::unpack(entry.terms));
        terms.any(|terms| terms.policy == slot || terms.tainted == slot)
    }

    /// Forgets which rules on paths a session had before, once nothing reads them any more.
    ///
    /// # Errors
    ///
    /// Where it cannot be remembered, or the kernel refuses.
    pub fn settle_paths(&mut self, tables: &Tables) -> Result<()> {
        for session in self.live.values_mut().filter(|session| session.paths_before.is_some()) {
            let before = session.paths_before.as_ref().map_or("", |before| before.key.as_str());
            if !self.paths.lingers(before) {
                session.paths_before = None;
                self.store.keep(session)?;
            }
        }
        self.paths.sweep(tables)
    }
}

/// Which rules on paths a session has that an earlier daemon may have been changing: what the
/// kernel goes by says so.
pub(super) fn settle_adopted(session: &mut Session, terms: Terms, hash: Option<String>) {
    let number = |paths: &Option<SessionPaths>| paths.as_ref().map_or(0, |of| of.stand.number);
    let before = session.paths_before.take();
    if number(&session.paths) != terms.files && number(&before) == terms.files {
        session.paths = before;
    }
    if let Some(hash) = hash {
        session.policy_hash = hash;
    }
}
