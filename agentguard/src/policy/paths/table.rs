//! The tables in memory, and the evaluator of the kernel over them.

use std::collections::HashMap;

use agentguard_common::path::{self, EdgeKey, Name, Node, Row, Table};
use agentguard_common::verdict::{Reason, Ruling};

use super::automaton::{Automaton, rows_at};
use super::bind::names_of;

/// What is done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading it.
    Read,
    /// Writing, creating, removing it, changing what is known of it.
    Write,
    /// Executing it.
    Exec,
}

/// An automaton in memory, as it stands in the kernel's tables.
#[derive(Clone, Debug)]
pub struct PathTable {
    edges: HashMap<EdgeKey, Node>,
    rows: HashMap<u32, Row>,
}

/// The number of its first state.
const FIRST: u32 = 1;

impl PathTable {
    /// Puts an automaton into tables of its own.
    #[must_use]
    pub fn new(automaton: &Automaton) -> Self {
        let (mut rows, mut firsts, mut next) = (HashMap::new(), Vec::new(), 1);
        for classifier in automaton.classifiers() {
            firsts.push(next);
            rows.extend(rows_at(classifier, next));
            next += u32::try_from(classifier.len()).unwrap_or(u32::MAX);
        }
        Self { edges: automaton.edges_at(FIRST, &firsts).collect(), rows }
    }

    /// The state that a path leads to. `None` for what is no absolute path within the limits,
    /// and where the tables are broken.
    #[must_use]
    pub fn find(&self, path: &[u8]) -> Option<Node> {
        let mut node = path::start(self, FIRST)?;
        for name in names_of(path)? {
            let mut key = EdgeKey { from: 0, what: 0, bytes: [0; path::CHUNK] };
            if !path::step(self, &mut node, &Name::new(&name)?, &mut key) {
                return None;
            }
        }
        Some(node)
    }

    /// What holds for a path.
    #[must_use]
    pub fn decide(&self, path: &[u8], access: Access) -> Ruling {
        let Some(node) = self.find(path) else { return Ruling::closed(Reason::Limit) };
        let right = match access {
            Access::Read => node.read,
            Access::Write => node.write,
            Access::Exec => node.exec,
        };
        right.ruling()
    }

    /// Whether reading a path taints the session.
    #[must_use]
    pub fn is_secret(&self, path: &[u8]) -> bool {
        self.find(path).is_none_or(|node| node.flags & path::flag::SECRET != 0)
    }
}

impl Table for PathTable {
    fn edge(&self, key: &EdgeKey) -> Option<&Node> {
        self.edges.get(key)
    }

    fn row(&self, number: u32) -> Option<&Row> {
        self.rows.get(&number)
    }
}
