//! The tables that say where file systems stand: see `agentguard_common::place`.

use std::collections::{BTreeMap, BTreeSet};

use agentguard_common::path::{CHUNK, EdgeKey, Node, Right, edge, flag};
use agentguard_common::place::{Device, DeviceKey, Place, SAME};
use bytemuck::Zeroable as _;

use super::Map;
use crate::error::Result;

/// The first of the states that lead to places of parts; those below are the policies'.
pub(super) const FIRST: u32 = 1 << 31;

/// Where a file system's directories stand in the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stands {
    /// By the way to the directory from the file system's root on, the numbers of the places.
    pub places: BTreeMap<Vec<u8>, [u32; SAME]>,
}

/// Where everything stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The file systems.
    pub devices: BTreeMap<(u32, u32), Stands>,
    /// The places by their numbers.
    pub places: BTreeMap<u32, Vec<u8>>,
}

/// The tables.
pub(super) struct PlaceTables {
    pub(super) devices: Map<DeviceKey, Device>,
    pub(super) places: Map<u32, Place>,
    pub(super) mounts: Map<u32, u32>,
    pub(super) paths: Map<EdgeKey, Node>,
}

impl PlaceTables {
    /// Puts in place where everything stands: what is new before what refers to it, what is
    /// old afterwards.
    pub(super) fn set(&self, standing: &Standing) -> Result<()> {
        for (number, path) in &standing.places {
            // The daemon gives none that is too long.
            if let Some(place) = Place::new(path) {
                self.places.set(number, &place)?;
            }
        }
        let old: Vec<EdgeKey> =
            self.paths.keys()?.into_iter().filter(|key| key.from >= FIRST).collect();
        let last = old.iter().map(|key| key.from).max().unwrap_or(FIRST);
        // From the beginning again where the numbers come to an end.
        let mut next = if last > FIRST + (FIRST >> 1) { FIRST } else { last.saturating_add(1) };
        let mut written = BTreeSet::new();
        for ((what, number), stands) in &standing.devices {
            let key = DeviceKey { what: *what, number: *number };
            let mut parts = Parts { next: &mut next, edges: Vec::new() };
            let root = stands.places.get([].as_slice()).copied().unwrap_or_default();
            let start = parts.add(stands);
            for (edge, node) in &parts.edges {
                self.paths.set(edge, node)?;
                written.insert(edge.from);
            }
            self.devices.set(&key, &Device { places: root, parts: start })?;
        }
        for key in self.devices.keys()? {
            if !standing.devices.contains_key(&(key.what, key.number)) {
                self.devices.remove(&key)?;
            }
        }
        let turn = self.mounts.get(&0)?.unwrap_or(0);
        self.mounts.set(&0, &turn.wrapping_add(1))?;
        for key in old.into_iter().filter(|key| !written.contains(&key.from)) {
            self.paths.remove(&key)?;
        }
        for number in self.places.keys()? {
            if !standing.places.contains_key(&number) {
                self.places.remove(&number)?;
            }
        }
        Ok(())
    }
}

/// The automaton of a file system's parts, on its way into the table.
struct Parts<'a> {
    next: &'a mut u32,
    edges: Vec<(EdgeKey, Node)>,
}

impl Parts<'_> {
    /// All parts but the root; the state to begin in, 0 where there are none.
    fn add(&mut self, stands: &Stands) -> u32 {
        let mut states: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        let parts = stands.places.iter().filter(|(way, _)| !way.is_empty());
        let mut start = 0;
        for (way, _) in parts {
            if start == 0 {
                start = self.state();
                states.insert(Vec::new(), start);
            }
            let mut here = Vec::new();
            let mut from = start;
            for name in way.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
                here.push(b'/');
                here.extend_from_slice(name);
                let known = states.get(&here).copied();
                let state = known.unwrap_or_else(|| self.state());
                if known.is_none() {
                    states.insert(here.clone(), state);
                    let places = stands.places.get(&here).copied().unwrap_or_default();
                    self.name(from, name, node(state, places));
                }
                from = state;
            }
        }
        start
    }

    fn state(&mut self) -> u32 {
        let state = *self.next;
        *self.next += 1;
        state
    }

    /// A name's edges: one for each part of it that is compared at once.
    fn name(&mut self, from: u32, name: &[u8], to: Node) {
        let mut from = from;
        let mut chunks = name.chunks(CHUNK).peekable();
        while let Some(chunk) = chunks.next() {
            let mut bytes = [0; CHUNK];
            bytes.iter_mut().zip(chunk).for_each(|(to, byte)| *to = *byte);
            if chunks.peek().is_none() {
                self.edges.push((EdgeKey { from, what: edge::NAME, bytes }, to));
                return;
            }
            let key = EdgeKey { from, what: edge::PART, bytes };
            // Names that begin alike share what they share.
            let known = self.edges.iter().find(|(known, _)| *known == key);
            let state = match known.map(|(_, node)| node.state) {
                Some(state) => state,
                None => {
                    let state = self.state();
                    self.edges.push((key, node(state, [0; SAME])));
                    state
                }
            };
            from = state;
        }
    }
}

fn node(state: u32, places: [u32; SAME]) -> Node {
    let [read, write, exec] = places.map(Right);
    Node { state, flags: flag::STAYS, read, write, exec, ..Node::zeroed() }
}
