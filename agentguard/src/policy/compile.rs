//! From a policy to the tables that the evaluator reads; see
//! [`agentguard_common::egress`] for what they are and why.
//!
//! The terms come sorted so that each network follows those that cover it. The
//! compiler walks them with the chain of covering networks at hand: a network's
//! entry is its own terms and then the finished list of the nearest network above
//! it, without what can no longer decide.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use agentguard_common::egress::{
    BLOCK_RULES, Block, BlockKey, Entry, INLINE_RULES, Key, MAX_BLOCKS, MAX_ENTRIES, PolicyEntry,
    PortRule, V6_LENGTHS,
};
use agentguard_common::net::Protocols;
use agentguard_common::unix;
use bytemuck::Zeroable;

use super::MAX_PORT_RULES;
use super::builtin::socket_rule;
use super::compiled::Compiled;
use super::error::{PolicyErrors, Problem};
use super::model::{Policy, RULE_METADATA};
use super::network::Network;
use super::report::Report;
use super::terms::{self, Decided, Term};

impl Policy {
    /// Compiles the policy into the tables that kernel and daemon decide by.
    ///
    /// # Errors
    ///
    /// Where the tables have no room for it.
    pub fn compile(&self) -> Result<Compiled, PolicyErrors> {
        let mut report = Report::new(&self.path, &self.source);
        let terms = terms::of_section(&self.egress);
        let mut entry = PolicyEntry::zeroed();
        entry.tag = self.tag();
        entry.hash = self.hash;
        entry.egress_default = self.egress.default as u8;
        let (v6, v4) = terms.split_at(terms.partition_point(|term| !term.network.is_v4()));
        let mut tables = Tables::default();
        entry.v6_count = tables.add_family(self, v6, &mut entry.lengths, V6_LENGTHS, &mut report);
        entry.v4_count = tables.add_family(self, v4, &mut entry.lengths, 0, &mut report);
        let Tables { entries, blocks, .. } = tables;
        for (count, what, max) in [
            (entries.len(), "networks, search markers included", MAX_ENTRIES),
            (blocks.len(), "different long lists of port rules", MAX_BLOCKS),
        ] {
            if u32::try_from(count).is_ok_and(|count| count <= max) {
                continue;
            }
            let mend = "join neighbouring networks, or use fewer different prefix lengths";
            report.whole(Problem::TooLarge { count, what, max }, Some(mend));
        }
        let sockets = self.sockets();
        report.or(Some(Compiled {
            entry,
            egress: entries,
            blocks,
            sockets,
            names: BTreeMap::new(),
            resolvers: Vec::new(),
        }))
    }

    fn sockets(&self) -> BTreeMap<unix::Key, unix::Rule> {
        let mut sockets = BTreeMap::new();
        for rule in &self.egress.rules {
            for key in rule.sockets.iter().flat_map(|name| name.value.keys(0)) {
                sockets.insert(key, socket_rule(rule.verdict, rule.number, &key));
            }
        }
        sockets
    }
}

/// A network with its finished list of port rules.
struct Level {
    network: Network,
    rules: Vec<PortRule>,
    /// Whether there are too many of them, which has been said.
    overfull: bool,
}

/// The tables as far as they have been filled.
#[derive(Default)]
struct Tables {
    entries: BTreeMap<Key, Entry>,
    blocks: BTreeMap<BlockKey, Block>,
    /// The numbers of the blocks by what they hold: networks below one long list
    /// share its block.
    shared: HashMap<Vec<PortRule>, u32>,
}

impl Tables {
    /// Adds the networks of one address family and returns how many lengths of
    /// prefixes they have, which are put into `lengths` from `base`.
    fn add_family(
        &mut self,
        policy: &Policy,
        terms: &[Term],
        lengths: &mut [u8; 256],
        base: u32,
        report: &mut Report<'_>,
    ) -> u8 {
        let steps: BTreeSet<u8> = terms.iter().map(|term| term.network.bits()).collect();
        let steps: Vec<u8> = steps.into_iter().collect();
        let slots = lengths.iter_mut().skip(usize::try_from(base).unwrap_or(usize::MAX));
        slots.zip(&steps).for_each(|(slot, bits)| *slot = *bits);
        let mut chain: Vec<Level> = Vec::new();
        for own in terms.chunk_by(|one, other| one.network == other.network) {
            let Some(last) = own.last() else { continue };
            while chain.pop_if(|above| !above.network.covers(&last.network)).is_some() {}
            self.add_markers(&chain, last.network, &steps);
            let level = level(own, last.network, chain.last());
            if level.overfull && !chain.last().is_some_and(|above| above.overfull) {
                too_many(policy, last, report);
            }
            let entry = self.entry(&level.rules);
            self.entries.insert(key(last.network), entry);
            chain.push(level);
        }
        // At most 129 lengths can differ.
        u8::try_from(steps.len()).unwrap_or(u8::MAX)
    }

    /// Puts a marker wherever the search for `network` has to find something to go
    /// on. It holds what the longest network above it does.
    fn add_markers(&mut self, chain: &[Level], network: Network, steps: &[u8]) {
        let Ok(target) = steps.binary_search(&network.bits()) else { return };
        let (mut low, mut high) = (0, steps.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if middle == target {
                return;
            }
            if middle > target {
                high = middle;
                continue;
            }
            low = middle + 1;
            let Some(bits) = steps.get(middle) else { return };
            let marker = Network::new(network.address(), *bits);
            if !self.entries.contains_key(&key(marker)) {
                let above = chain.iter().rev().find(|level| level.network.bits() <= *bits);
                let entry = match above {
                    Some(level) => self.entry(&level.rules),
                    None => Entry::zeroed(),
                };
                self.entries.insert(key(marker), entry);
            }
        }
    }

    /// The entry for a list of port rules, with the block for those that do not
    /// fit into it.
    fn entry(&mut self, rules: &[PortRule]) -> Entry {
        let (inline, spill) = rules.split_at(rules.len().min(INLINE_RULES));
        let mut entry = Entry::zeroed();
        entry.count = count(inline);
        entry.rules.iter_mut().zip(inline).for_each(|(slot, rule)| *slot = *rule);
        if spill.is_empty() {
            return entry;
        }
        if let Some(number) = self.shared.get(spill) {
            entry.block = *number;
            return entry;
        }
        let spill = spill.get(..BLOCK_RULES).unwrap_or(spill);
        let mut block = Block::zeroed();
        block.count = count(spill);
        block.rules.iter_mut().zip(spill).for_each(|(slot, rule)| *slot = *rule);
        entry.block = u32::try_from(self.blocks.len() + 1).unwrap_or(u32::MAX);
        self.shared.insert(spill.to_vec(), entry.block);
        self.blocks.insert(BlockKey { policy: 0, block: entry.block }, block);
        entry
    }
}

fn count(rules: &[PortRule]) -> u32 {
    u32::try_from(rules.len()).unwrap_or(u32::MAX)
}

fn key(network: Network) -> Key {
    Key { policy: 0, bits: u32::from(network.bits()), address: network.address() }
}

/// The list for a network: its own terms, then what holds above it, without what
/// can never decide.
fn level(own: &[Term], network: Network, above: Option<&Level>) -> Level {
    let inherited = above.map_or(&[][..], |level| &level.rules);
    // The list above holds nothing that cannot decide there. It needs looking at
    // again only where the network's own terms take something from it.
    let touched = inherited.iter().any(|rule| own.iter().any(|term| term.meets(rule)));
    let mut decided = Decided::default();
    let mut rules = Vec::with_capacity((own.len() + inherited.len()).min(MAX_PORT_RULES));
    let own = own.iter().map(|term| (true, term.port_rule()));
    for (look, rule) in own.chain(inherited.iter().map(|rule| (touched, *rule))) {
        if look && !decided.add(rule.first, rule.last, Protocols(rule.protocols)) {
            continue;
        }
        if rules.len() == MAX_PORT_RULES {
            return Level { network, rules, overfull: true };
        }
        rules.push(rule);
    }
    Level { network, rules, overfull: above.is_some_and(|level| level.overfull) }
}

fn too_many(policy: &Policy, term: &Term, report: &mut Report<'_>) {
    let id = policy.rule_id(term.rule).unwrap_or_default().to_owned();
    let problem = Problem::TooManyPortRules { network: term.network.to_string(), id };
    let mend = "join ports into ranges: rules of the networks that cover it count too";
    match term.rule {
        RULE_METADATA => report.whole(problem, Some(mend)),
        _ => report.at(term.place, problem, mend),
    }
}
