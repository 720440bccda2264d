//! A compiled policy: the kernel's tables in memory, and the same evaluator over
//! them.

use std::collections::BTreeMap;

use agentguard_common::egress::{self, Block, BlockKey, Entry, Key, PolicyEntry, Table};
use agentguard_common::name::{self, NAME_BYTES, Named};
use agentguard_common::net::{Address, Destination, Protocols};
use agentguard_common::unix;
use agentguard_common::verdict::{Reason, Ruling};

use super::builtin::builtin_sockets;

/// A policy as the kernel takes it. All keys are those of slot 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The policy itself.
    pub entry: PolicyEntry,
    /// The networks, the markers of the search, and the lists of the names.
    pub egress: BTreeMap<Key, Entry>,
    /// The port rules that did not fit there.
    pub blocks: BTreeMap<BlockKey, Block>,
    /// The names of hosts.
    pub names: BTreeMap<name::Key, Named>,
    /// The resolvers that may be asked, those of the host apart.
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

    /// Whether the policy lets a name be asked for, by the evaluator that the kernel runs.
    /// A policy without rules by name does not look at questions.
    #[must_use]
    pub fn ask(&self, name: &str) -> Ruling {
        whole(name).map_or(NO_NAME, |key| name::ask(self, &self.entry, &key).0)
    }

    /// What the policy says to a port of a name that has been asked for, where no rule
    /// speaks of the address; by the evaluator that the kernel runs.
    #[must_use]
    pub fn decide_name(&self, name: &str, port: u16, protocol: Protocols) -> Ruling {
        let decide = |key| name::decide(self, &self.entry, &key, port, protocol);
        whole(name).map_or(NO_NAME, decide)
    }

    /// What the policy says to a unix socket of a name, by the evaluator that the
    /// kernel runs. `None` for what is no name.
    #[must_use]
    pub fn decide_socket(&self, name: &[u8]) -> Option<Ruling> {
        let mut key = unix::Key::new(0, name, true)?;
        let table = Sockets(&self.sockets, builtin_sockets());
        Some(unix::decide(&table, &self.entry, &mut key))
    }

    /// What stands at a name, or else at the nearest above it: the name itself is tried, and
    /// then each beginning of names that it is below.
    pub(super) fn nearest(&self, key: &name::Key) -> Option<&Named> {
        if let Some(found) = self.names.get(key) {
            return Some(found);
        }
        let mut name = key.name;
        let end = key.name.iter().rposition(|byte| *byte != 0)?;
        for dot in (0..end).rev().filter(|at| key.name.get(*at) == Some(&b'.')) {
            name.get_mut(dot + 1..)?.fill(0);
            if let Some(found) = self.names.get(&beginning(key.policy, name, dot)) {
                return Some(found);
            }
        }
        None
    }

    /// The names of unix sockets with the keys that they have in a slot of the kernel's
    /// table.
    pub fn sockets_at(&self, slot: u32) -> impl Iterator<Item = (unix::Key, &unix::Rule)> {
        self.sockets.iter().map(move |(key, rule)| (unix::Key { policy: slot, ..*key }, rule))
    }

    /// The names with the keys that they have in a slot of the kernel's table.
    pub fn names_at(&self, slot: u16) -> impl Iterator<Item = (name::Key, &Named)> {
        self.names.iter().map(move |(key, named)| (name::Key { policy: slot, ..*key }, named))
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

/// What is said to what can be no name.
const NO_NAME: Ruling = Ruling::closed(Reason::Malformed);

/// The key that a name is looked up by.
fn whole(name: &str) -> Option<name::Key> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let key = name::Key::exact(0, &name).filter(|_| !name.is_empty())?;
    Some(name::Key { bits: name::WHOLE, ..key })
}

impl name::Table for Compiled {
    fn longest(&self, key: &name::Key) -> Option<&Named> {
        let end = key.name.iter().position(|byte| *byte == 0)?;
        self.nearest(&beginning(key.policy, key.name, end))
    }
}

/// The key of the beginning of names that ends with the byte at a place.
fn beginning(policy: u16, name: [u8; NAME_BYTES], last: usize) -> name::Key {
    let bits = name::bits(last);
    name::Key { bits, policy, name }
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
