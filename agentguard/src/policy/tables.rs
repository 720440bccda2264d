//! The tables while they are filled: lists of port rules for networks and names.
//!
//! The terms come sorted so that each subject follows those that cover it. The tables are
//! filled in one walk with the chain of covering subjects at hand: a subject's list is its
//! own terms and then the finished list of the nearest subject above it, without what can
//! no longer decide.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use agentguard_common::egress::{BLOCK_RULES, Block, BlockKey, Entry, INLINE_RULES, Key, PortRule};
use agentguard_common::name::{self, Named};
use agentguard_common::net::Protocols;
use agentguard_common::verdict::Verdict;
use bytemuck::Zeroable;

use super::MAX_PORT_RULES;
use super::error::Problem;
use super::host::HostName;
use super::model::{Policy, RULE_METADATA};
use super::network::Network;
use super::report::Report;
use super::terms::{self, Decided, Subject, Term};

/// A network or name with its finished list of port rules.
struct Level<S> {
    subject: S,
    rules: Vec<PortRule>,
    /// Whether there are too many of them, which has been said.
    overfull: bool,
}

/// The tables as far as they have been filled.
#[derive(Default)]
pub(super) struct Tables {
    /// Networks, markers of the search, and the lists of names.
    pub(super) entries: BTreeMap<Key, Entry>,
    /// What did not fit there.
    pub(super) blocks: BTreeMap<BlockKey, Block>,
    /// The names.
    pub(super) names: BTreeMap<name::Key, Named>,
    /// The numbers of the blocks by what they hold: networks below one long list
    /// share its block.
    shared: HashMap<Vec<PortRule>, u32>,
}

impl Tables {
    /// Adds the networks of one address family and returns how many lengths of
    /// prefixes they have, which are put into `lengths` from `base`.
    pub(super) fn add_family(
        &mut self,
        policy: &Policy,
        terms: &[Term<Network>],
        lengths: &mut [u8; 256],
        base: u32,
        report: &mut Report<'_>,
    ) -> u8 {
        let steps: BTreeSet<u8> = terms.iter().map(|term| term.subject.bits()).collect();
        let steps: Vec<u8> = steps.into_iter().collect();
        let slots = lengths.iter_mut().skip(usize::try_from(base).unwrap_or(usize::MAX));
        slots.zip(&steps).for_each(|(slot, bits)| *slot = *bits);
        walk(policy, terms, report, |chain, level| {
            self.add_markers(chain, level.subject, &steps);
            let entry = self.entry(&level.rules);
            self.entries.insert(key(level.subject), entry);
        });
        // At most 129 lengths can differ.
        u8::try_from(steps.len()).unwrap_or(u8::MAX)
    }

    /// Adds the names of a policy. Those of which the same is said share one list, where
    /// `beside` says the same of them, too: the policy that holds before or after the session
    /// is tainted. Its lists have the same numbers, so that an address which was learned under
    /// the one is known under the other.
    pub(super) fn add_names(
        &mut self,
        policy: &Policy,
        beside: Option<&Policy>,
        report: &mut Report<'_>,
    ) {
        let own = levels(policy, report);
        // What is wrong there is said where its own tables are made.
        let mut unheard = Report::new(&policy.path, &policy.source);
        let other = beside.map(|beside| levels(beside, &mut unheard)).unwrap_or_default();
        let mut lists: HashMap<[Option<&[PortRule]>; 2], u32> = HashMap::new();
        for (number, (subject, own, other)) in (1u32..).zip(side_by_side(&own, &other)) {
            // The same pair for both of them.
            let pair = if policy.is_tainted { [other, own] } else { [own, other] };
            let next = u32::try_from(lists.len() + 1).unwrap_or(u32::MAX);
            let list = *lists.entry(pair).or_insert(next);
            if list == next {
                let entry = self.entry(own.unwrap_or_default());
                self.entries.insert(name::list_key(0, next), entry);
            }
            let Some(own) = own else { continue };
            let (verdict, rule) = asked(own, policy.egress.default);
            if let Some(key) = subject.key(0) {
                self.names.insert(key, Named { list, number, rule, verdict, reserved: [0; 3] });
            }
        }
    }

    /// Puts a marker wherever the search for `network` has to find something to go
    /// on. It holds what the longest network above it does.
    fn add_markers(&mut self, chain: &[Level<Network>], network: Network, steps: &[u8]) {
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
                let above = chain.iter().rev().find(|level| level.subject.bits() <= *bits);
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

/// The names of a policy with their finished lists, in order.
fn levels<'p>(policy: &'p Policy, report: &mut Report<'_>) -> Vec<Level<&'p HostName>> {
    let mut levels = Vec::new();
    walk(policy, &terms::of_names(&policy.egress.rules), report, |_, level| {
        let Level { subject, rules, overfull } = level;
        levels.push(Level { subject: *subject, rules: rules.clone(), overfull: *overfull });
    });
    levels
}

/// A name, and the lists that two policies have for it.
type Beside<'l> = (&'l HostName, Option<&'l [PortRule]>, Option<&'l [PortRule]>);

/// The names of both, in order, and what each says of them: of a name that stands only in the
/// one, the other says what it says of the nearest above it.
fn side_by_side<'l>(
    own: &'l [Level<&'l HostName>],
    other: &'l [Level<&'l HostName>],
) -> Vec<Beside<'l>> {
    let mut subjects: Vec<&HostName> = own.iter().chain(other).map(|level| level.subject).collect();
    subjects.sort_unstable();
    subjects.dedup();
    let (mut own, mut other) = (Nearest::new(own), Nearest::new(other));
    let beside = |subject| (subject, own.of(subject), other.of(subject));
    subjects.into_iter().map(beside).collect()
}

/// Goes through sorted names beside others.
struct Nearest<'l> {
    rest: std::iter::Peekable<std::slice::Iter<'l, Level<&'l HostName>>>,
    chain: Vec<&'l Level<&'l HostName>>,
}

impl<'l> Nearest<'l> {
    fn new(levels: &'l [Level<&'l HostName>]) -> Self {
        Self { rest: levels.iter().peekable(), chain: Vec::new() }
    }

    /// The list of the nearest name that covers the next one.
    fn of(&mut self, subject: &HostName) -> Option<&'l [PortRule]> {
        let covers = |level: &Level<&HostName>| {
            level.subject == subject || Subject::covers(&level.subject, &subject)
        };
        while self.chain.pop_if(|above| !covers(above)).is_some() {}
        while let Some(level) = self.rest.next_if(|level| level.subject <= subject) {
            if covers(level) {
                self.chain.push(level);
            }
        }
        self.chain.last().map(|level| level.rules.as_slice())
    }
}

fn count(rules: &[PortRule]) -> u32 {
    u32::try_from(rules.len()).unwrap_or(u32::MAX)
}

fn key(network: Network) -> Key {
    Key { policy: 0, bits: u32::from(network.bits()), address: network.address() }
}

/// Goes through sorted terms subject by subject, with the finished levels that cover it
/// and its own.
fn walk<S: Subject>(
    policy: &Policy,
    terms: &[Term<S>],
    report: &mut Report<'_>,
    mut each: impl FnMut(&[Level<S>], &Level<S>),
) {
    let mut chain: Vec<Level<S>> = Vec::new();
    for own in terms.chunk_by(|one, other| one.subject == other.subject) {
        let Some(last) = own.last() else { continue };
        while chain.pop_if(|above| !above.subject.covers(&last.subject)).is_some() {}
        let level = level(own, last.subject.clone(), chain.last());
        if level.overfull && !chain.last().is_some_and(|above| above.overfull) {
            too_many(policy, last, report);
        }
        each(&chain, &level);
        chain.push(level);
    }
}

/// The list for a network or name: its own terms, then what holds above it, without what
/// can never decide.
fn level<S: Subject>(own: &[Term<S>], subject: S, above: Option<&Level<S>>) -> Level<S> {
    let inherited = above.map_or(&[][..], |level| &level.rules);
    // The list above holds nothing that cannot decide there. It needs looking at
    // again only where the subject's own terms take something from it.
    let touched = inherited.iter().any(|rule| own.iter().any(|term| term.meets(rule)));
    let mut decided = Decided::default();
    let mut rules = Vec::with_capacity((own.len() + inherited.len()).min(MAX_PORT_RULES));
    let own = own.iter().map(|term| (true, term.port_rule()));
    for (look, rule) in own.chain(inherited.iter().map(|rule| (touched, *rule))) {
        if look && !decided.add(rule.first, rule.last, Protocols(rule.protocols)) {
            continue;
        }
        if rules.len() == MAX_PORT_RULES {
            return Level { subject, rules, overfull: true };
        }
        rules.push(rule);
    }
    Level { subject, rules, overfull: above.is_some_and(|level| level.overfull) }
}

/// Whether a name with this list may be asked for, and the rule that says so: where some
/// port of it can be used, by a rule or because the list leaves it to a default that
/// allows. Else what the most specific rule says.
fn asked(rules: &[PortRule], default: Verdict) -> (u8, u32) {
    let allow = Verdict::Allow as u8;
    if let Some(rule) = rules.iter().find(|rule| rule.verdict == allow) {
        return (allow, rule.rule);
    }
    let mut decided = Decided::default();
    for rule in rules {
        decided.add(rule.first, rule.last, Protocols(rule.protocols));
    }
    let left = default == Verdict::Allow && !decided.is_complete();
    // A subject has a term, and its first one always decides something.
    let (verdict, number) = rules.first().map_or((allow, 0), |rule| (rule.verdict, rule.rule));
    (if left { allow } else { verdict }, number)
}

fn too_many<S: Subject>(policy: &Policy, term: &Term<S>, report: &mut Report<'_>) {
    let id = policy.rule_id(term.rule).unwrap_or_default().to_owned();
    let problem = Problem::TooManyPortRules { subject: term.subject.to_string(), id };
    let mend = S::TOO_MANY;
    match term.rule {
        RULE_METADATA => report.whole(problem, Some(mend)),
        _ => report.at(term.place, problem, mend),
    }
}
