//! The tables of rules on paths: see `agentguard_common::path`.
//!
//! Each automaton has states and rows of its own. The numbers of states are not used again
//! for as long as possible, because directories remember states (`Remembered`); when they
//! have all been used, what directories remember is made void. How far they have been used
//! is kept beside the edges, in the table itself, which lives as long as what remembers.

use agentguard_common::path::{CHUNK, EdgeKey, MAX_EDGES, MAX_ROWS, Node, Row, edge};
use bytemuck::Zeroable as _;
use serde::{Deserialize, Serialize};

use super::Map;
use super::places::FIRST as LIMIT;
use crate::error::{Error, Result};
use crate::policy::{Automaton, rows_at};

/// The key behind which the next free state is kept: no automaton has the number 0.
const NEXT: EdgeKey = EdgeKey { from: 0, what: edge::START, bytes: [0; CHUNK] };

/// Where an automaton stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stand {
    /// Its number, which is that of its first state; never 0.
    pub number: u32,
    /// How many states there are.
    pub states: u32,
    /// The first row and the number of rows of each classifier.
    pub rows: Vec<(u32, u32)>,
}

impl Stand {
    /// The first state behind it.
    const fn end(&self) -> u32 {
        self.number.saturating_add(self.states)
    }
}

/// The tables.
pub(super) struct PathTables {
    pub(super) edges: Map<EdgeKey, Node>,
    pub(super) rows: Map<u32, Row>,
    pub(super) mounts: Map<u32, u32>,
}

impl PathTables {
    /// Writes an automaton, rows first. `taken` are those that stand there. On failure
    /// nothing of it is left.
    pub(super) fn add(&self, automaton: &Automaton, taken: &[&Stand]) -> Result<Stand> {
        let rows = free_rows(automaton, taken)?;
        let number = self.free_states(automaton.states(), taken)?;
        let stand = Stand { number, states: automaton.states(), rows };
        let done = self.write(automaton, &stand);
        if done.is_err() {
            self.remove(&stand, Some(automaton))?;
        }
        done.map(|()| stand).map_err(|error| match error {
            Error::System { source, .. }
                if matches!(source.raw_os_error(), Some(libc::E2BIG | libc::ENOSPC)) =>
            {
                full("edges of rules on paths", MAX_EDGES)
            }
            other => other,
        })
    }

    fn write(&self, automaton: &Automaton, stand: &Stand) -> Result<()> {
        for (classifier, (first, _)) in automaton.classifiers().zip(&stand.rows) {
            let (numbers, rows): (Vec<u32>, Vec<Row>) = rows_at(classifier, *first).unzip();
            self.rows.set_all(&numbers, &rows)?;
        }
        let firsts: Vec<u32> = stand.rows.iter().map(|(first, _)| *first).collect();
        let (keys, nodes): (Vec<EdgeKey>, Vec<Node>) =
            automaton.edges_at(stand.number, &firsts).unzip();
        self.edges.set_all(&keys, &nodes)
    }

    /// Removes an automaton that no session uses. Without it at hand, its edges are looked
    /// for.
    pub(super) fn remove(&self, stand: &Stand, automaton: Option<&Automaton>) -> Result<()> {
        let states = stand.number..stand.end();
        match automaton {
            Some(automaton) => {
                for (key, _) in automaton.edges_at(stand.number, &[]) {
                    self.edges.remove(&key)?;
                }
            }
            None => self.remove_where(&|state| states.contains(&state))?,
        }
        Ok(())
    }

    /// Removes what belongs to none of these: a daemon that was killed left it half written,
    /// or did not come to removing it.
    pub(super) fn sweep(&self, known: &[&Stand]) -> Result<()> {
        let of = |state| known.iter().any(|stand| (stand.number..stand.end()).contains(&state));
        self.remove_where(&|state| state != NEXT.from && state < LIMIT && !of(state))
    }

    fn remove_where(&self, gone: &dyn Fn(u32) -> bool) -> Result<()> {
        for key in self.edges.keys()?.into_iter().filter(|key| gone(key.from)) {
            self.edges.remove(&key)?;
        }
        Ok(())
    }

    /// The first of so many free states.
    fn free_states(&self, count: u32, taken: &[&Stand]) -> Result<u32> {
        let kept = self.edges.get(&NEXT)?.map_or(1, |node| node.state.max(1));
        let (first, again) = free_range(kept, count, LIMIT, &ranges_of_states(taken))
            .ok_or_else(|| full("states of rules on paths", LIMIT))?;
        if again {
            // Directories may remember states of these numbers.
            let turn = self.mounts.get(&0)?.unwrap_or(0);
            self.mounts.set(&0, &turn.wrapping_add(1))?;
        }
        let node = Node { state: first.saturating_add(count), ..Node::zeroed() };
        self.edges.set(&NEXT, &node)?;
        Ok(first)
    }
}

fn full(what: &'static str, limit: u32) -> Error {
    let mend = "end sessions in other workspaces, or write fewer rules on paths";
    Error::Full { what, limit, mend }
}

fn ranges_of_states(taken: &[&Stand]) -> Vec<(u32, u32)> {
    taken.iter().map(|stand| (stand.number, stand.states)).collect()
}

/// Free rows for each classifier.
fn free_rows(automaton: &Automaton, taken: &[&Stand]) -> Result<Vec<(u32, u32)>> {
    let mut ranges: Vec<(u32, u32)> = taken.iter().flat_map(|stand| stand.rows.clone()).collect();
    let mut rows = Vec::new();
    for classifier in automaton.classifiers() {
        let count = u32::try_from(classifier.len()).unwrap_or(u32::MAX);
        let (first, _) = free_range(1, count, MAX_ROWS, &ranges)
            .ok_or_else(|| full("rows of patterns of names", MAX_ROWS))?;
        ranges.push((first, count));
        rows.push((first, count));
    }
    Ok(rows)
}

/// The first of so many free numbers below a limit, from `from` on or else from 1 on; true
/// in the latter case. Ranges are given by their first number and their length.
fn free_range(from: u32, count: u32, limit: u32, taken: &[(u32, u32)]) -> Option<(u32, bool)> {
    let mut taken = taken.to_vec();
    taken.sort_unstable();
    let find = |from: u32| {
        let mut first = from;
        for (begin, length) in &taken {
            let end = begin.saturating_add(*length);
            if first < end && *begin < first.saturating_add(count) {
                first = end;
            }
        }
        (first.checked_add(count)? <= limit).then_some(first)
    };
    find(from).map(|first| (first, false)).or_else(|| find(1).map(|first| (first, true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ranges_meet_none_that_is_taken() {
        assert_eq!(free_range(1, 5, 100, &[]), Some((1, false)));
        assert_eq!(free_range(1, 5, 100, &[(3, 4)]), Some((7, false)));
        assert_eq!(free_range(1, 5, 100, &[(6, 4), (1, 2)]), Some((10, false)));
        assert_eq!(free_range(1, 3, 100, &[(6, 4), (1, 2)]), Some((3, false)));
        assert_eq!(free_range(90, 20, 100, &[(1, 9)]), Some((10, true)));
        assert_eq!(free_range(90, 20, 100, &[(1, 90)]), None);
        assert_eq!(free_range(95, 5, 100, &[]), Some((95, false)));
        assert_eq!(free_range(1, 100, 100, &[]), None);
    }
}
