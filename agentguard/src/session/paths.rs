//! The rules on paths that are in force: one automaton for all sessions of a policy in which
//! the variables stand for the same, in the kernel for as long as one of them lives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Session;
use crate::error::Result;
use crate::kernel::{Stand, Tables};
use crate::policy::{Automaton, BoundPaths, Policy};

/// The rules on paths of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionPaths {
    /// What tells them from those of others, in hexadecimal digits.
    pub key: String,
    /// Where they stand in the kernel's tables.
    pub stand: Stand,
}

/// How long what a session was decided by stays after it is decided by something else: a
/// decision under way may still read it, and takes microseconds.
pub const LINGER: Duration = Duration::from_secs(1);

/// Those of all sessions.
#[derive(Default)]
pub(super) struct PathsInForce {
    known: BTreeMap<String, InForce>,
}

struct InForce {
    stand: Stand,
    users: BTreeSet<u64>,
    /// Since when nobody has it who had it before.
    left: Option<Instant>,
    /// Missing after a restart of the daemon.
    automaton: Option<Automaton>,
}

impl InForce {
    const fn new(stand: Stand, automaton: Option<Automaton>) -> Self {
        Self { stand, users: BTreeSet::new(), left: None, automaton }
    }
}

impl PathsInForce {
    /// Takes over what sessions have from an earlier daemon, and removes from the kernel's
    /// tables what none of them has.
    pub(super) fn adopt<'s>(
        sessions: impl Iterator<Item = &'s Session>,
        complete: bool,
        tables: &Tables,
    ) -> Result<Self> {
        let mut paths = Self::default();
        for session in sessions {
            let Some(of) = &session.paths else { continue };
            let new = || InForce::new(of.stand.clone(), None);
            paths.known.entry(of.key.clone()).or_insert_with(new).users.insert(session.number);
        }
        // Of a session that the store has lost nobody knows what is its.
        if complete {
            tables.sweep_paths(&paths.stands())?;
        }
        Ok(paths)
    }

    /// The rules for a session, put into the kernel's tables where they are not there yet.
    pub(super) fn hold(
        &mut self,
        session: u64,
        bound: &BoundPaths,
        policy: &Policy,
        tables: &Tables,
    ) -> Result<SessionPaths> {
        let key = crate::hex(&bound.key);
        if !self.known.contains_key(&key) {
            let automaton = bound.compile(policy)?;
            let stand = tables.add_paths(&automaton, &self.stands())?;
            let new = InForce::new(stand, Some(automaton));
            self.known.insert(key.clone(), new);
        }
        let stand = self.known.get_mut(&key).map(|known| {
            known.users.insert(session);
            known.left = None;
            known.stand.clone()
        });
        let none = || crate::error::Error::Refused("rules on paths are gone".into());
        Ok(SessionPaths { key, stand: stand.ok_or_else(none)? })
    }

    /// A session has other rules now: what only it used goes, once no decision can read it.
    pub(super) fn leave_others(&mut self, session: u64, kept: Option<&str>) {
        let others = self.known.iter_mut().filter(|(key, _)| Some(key.as_str()) != kept);
        for (_, known) in others {
            if known.users.remove(&session) && known.users.is_empty() {
                known.left = Some(Instant::now());
            }
        }
    }

    /// Whether rules that are nobody's still stand in the kernel's tables.
    pub(super) fn lingers(&self, key: &str) -> bool {
        self.known.get(key).is_some_and(|known| known.left.is_some())
    }

    /// Removes what nobody has any more.
    pub(super) fn sweep(&mut self, tables: &Tables) -> Result<()> {
        let over = |known: &InForce| known.left.is_some_and(|left| left.elapsed() >= LINGER);
        let gone = self.known.iter().filter(|(_, known)| over(known));
        let gone: Vec<String> = gone.map(|(key, _)| key.clone()).collect();
        self.remove(gone, tables)
    }

    /// A session has ended: what only it used goes.
    pub(super) fn release(&mut self, session: u64, tables: &Tables) -> Result<()> {
        let mut gone = Vec::new();
        for (key, known) in &mut self.known {
            if known.users.remove(&session) && known.users.is_empty() {
                gone.push(key.clone());
            }
        }
        self.remove(gone, tables)
    }

    fn remove(&mut self, keys: Vec<String>, tables: &Tables) -> Result<()> {
        for key in keys {
            if let Some(known) = self.known.remove(&key) {
                tables.remove_paths(&known.stand, known.automaton.as_ref())?;
            }
        }
        Ok(())
    }

    fn stands(&self) -> Vec<&Stand> {
        self.known.values().map(|known| &known.stand).collect()
    }
}
