//! A compiled policy: the kernel's tables in memory, and the same evaluator over
//! them.

use std::collections::BTreeMap;

use agentguard_common::egress::{self, Block, BlockKey, Entry, Key, PolicyEntry, Table};
use agentguard_common::net::{Destination, Protocols};
use agentguard_common::verdict::Ruling;

/// A policy as the kernel takes it. All keys are those of slot 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The policy itself.
    pub entry: PolicyEntry,
    /// The networks and the markers of the search.
    pub egress: BTreeMap<Key, Entry>,
    /// The port rules that did not fit there.
    pub blocks: BTreeMap<BlockKey, Block>,
}

impl Compiled {
    /// What the policy says to a destination, by the evaluator that the kernel
    /// runs.
    #[must_use]
    pub fn decide(&self, to: Destination, protocol: Protocols) -> Ruling {
        egress::decide(self, 0, &self.entry, to, protocol)
    }

    /// The networks with the keys that they have in a slot of the kernel's table.
    pub fn entries_at(&self, slot: u32) -> impl Iterator<Item = (Key, &Entry)> {
        self.egress.iter().map(move |(key, entry)| (Key { policy: slot, ..*key }, entry))
    }

    /// The blocks with the keys that they have in a slot of the kernel's table.
    pub fn blocks_at(&self, slot: u32) -> impl Iterator<Item = (BlockKey, &Block)> {
        self.blocks.iter().map(move |(key, block)| (BlockKey { policy: slot, ..*key }, block))
    }
}

impl Table for Compiled {
    fn entry(&self, key: &Key) -> Option<&Entry> {
        self.egress.get(key)
    }

    fn block(&self, key: &BlockKey) -> Option<&Block> {
        self.blocks.get(key)
    }
}
