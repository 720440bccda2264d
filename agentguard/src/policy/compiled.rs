//! A compiled policy: the kernel's tables in memory, and the same evaluator over
//! them.

use std::collections::BTreeMap;

use agentguard_common::egress::{self, Block, BlockKey, Entry, Key, PolicyEntry, Table};
use agentguard_common::name;
use agentguard_common::net::{Address, Destination, Protocols};
use agentguard_common::unix;
use agentguard_common::verdict::Ruling;

use super::builtin::builtin_sockets;

/// A policy as the kernel takes it. All keys are those of slot 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The policy itself.
    pub entry: PolicyEntry,
    /// The networks and the markers of the search.
    pub egress: BTreeMap<Key, Entry>,
    /// The port rules that did not fit there.
    pub blocks: BTreeMap<BlockKey, Block>,
    /// The names of hosts.
    pub names: BTreeMap<name::Key, name::Named>,
    /// The servers of names that the policy lists.
    pub resolvers: Vec<Address>,
    /// The names of unix sockets.
    pub sockets: BTreeMap<unix::Key, unix::Rule>,
}

impl Compiled {
    /// What the policy says to a destination, by the evaluator that the kernel
    /// runs.
    #[must_use]
    pub fn decide(&self, to: Destination, protocol: Protocols) -> Ruling {
        egress::decide(self, 0, &self.entry, to, protocol)
    }

    /// What the policy says to a unix socket of a name, by the evaluator that the
    /// kernel runs. `None` for what is no name.
    #[must_use]
    pub fn decide_socket(&self, name: &[u8]) -> Option<Ruling> {
        let mut key = unix::Key::new(0, name, true)?;
        let table = Sockets(&self.sockets, builtin_sockets());
        Some(unix::decide(&table, &self.entry, &mut key))
    }

    /// The names of unix sockets with the keys that they have in a slot of the kernel's
    /// table.
    pub fn sockets_at(&self, slot: u32) -> impl Iterator<Item = (unix::Key, &unix::Rule)> {
        self.sockets.iter().map(move |(key, rule)| (unix::Key { policy: slot, ..*key }, rule))
    }

    /// The names of hosts with the keys that they have in a slot of the kernel's table.
    pub fn names_at(&self, slot: u32) -> impl Iterator<Item = (name::Key, &name::Named)> {
        let policy = u16::try_from(slot).unwrap_or(u16::MAX);
        self.names.iter().map(move |(key, named)| (name::Key { policy, ..*key }, named))
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

/// The policy's names and those that are built in.
struct Sockets<'a>(&'a BTreeMap<unix::Key, unix::Rule>, BTreeMap<unix::Key, unix::Rule>);

impl unix::Table for Sockets<'_> {
    fn longest(&self, key: &unix::Key) -> Option<&unix::Rule> {
        let table = if key.policy == unix::BUILTIN { &self.1 } else { self.0 };
        let fits = |of: &unix::Key| {
            let bytes = of.bits as usize / 8 - size_of::<u32>();
            of.name.0.get(..bytes) == key.name.0.get(..bytes)
        };
        let fitting = table.iter().filter(|(of, _)| fits(of));
        fitting.max_by_key(|(of, _)| of.bits).map(|(_, rule)| rule)
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
