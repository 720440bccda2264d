//! The rules on paths that are in force: one automaton for all sessions of a policy in which
//! the variables stand for the same, in the kernel for as long as one of them lives.

use std::collections::{BTreeMap, BTreeSet};

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

/// Those of all sessions.
#[derive(Default)]
pub(super) struct PathsInForce {
    known: BTreeMap<String, InForce>,
}

struct InForce {
    stand: Stand,
    users: BTreeSet<u64>,
    /// Missing after a restart of the daemon.
    automaton: Option<Automaton>,
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
            let new =
                || InForce { stand: of.stand.clone(), users: BTreeSet::new(), automaton: None };
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
            let new = InForce { stand, users: BTreeSet::new(), automaton: Some(automaton) };
            self.known.insert(key.clone(), new);
        }
        let stand = self.known.get_mut(&key).map(|known| {
            known.users.insert(session);
            known.stand.clone()
        });
        let none = || crate::error::Error::Refused("rules on paths are gone".into());
        Ok(SessionPaths { key, stand: stand.ok_or_else(none)? })
    }

    /// A session has ended: what only it used goes.
    pub(super) fn release(&mut self, session: u64, tables: &Tables) -> Result<()> {
        let mut gone = Vec::new();
        for (key, known) in &mut self.known {
            if known.users.remove(&session) && known.users.is_empty() {
                gone.push(key.clone());
            }
        }
        for key in gone {
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
