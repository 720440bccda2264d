//! Rules taken apart into terms, and the order in which terms decide.
//!
//! A term is one network and one port range of one rule. Specificity is a matter
//! of terms and not of rules: a rule for port 22 and ports 8000-9000 is two terms,
//! of which the first is the more specific.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agentguard_common::egress::PortRule;
use agentguard_common::net::{Address, Protocols};
use agentguard_common::verdict::Verdict;

use super::model::{EgressRule, EgressSection, RULE_METADATA};
use super::network::Network;
use super::place::Place;
use super::ports::Ports;

/// Where clouds answer questions about the machine, credentials among them: AWS,
/// Azure, Google Cloud and others; AWS' container credentials; Alibaba Cloud;
/// AWS over IPv6; Azure's platform services.
pub(super) const METADATA: [Network; 5] = [
    Network::new(Address::v4(0xa9fe_a9fe), 128),
    Network::new(Address::v4(0xa9fe_aa02), 128),
    Network::new(Address::v4(0x6464_64c8), 128),
    Network::new(Address { high: 0xfd00_0ec2_0000_0000, low: 0x254 }, 128),
    Network::new(Address::v4(0xa83f_8110), 128),
];

/// One network and one port range of one rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term {
    pub(super) network: Network,
    pub(super) ports: Ports,
    pub(super) protocols: Protocols,
    pub(super) verdict: Verdict,
    pub(super) rule: u32,
    pub(super) place: Place,
}

impl Term {
    /// Terms of one network decide in the ascending order of this.
    fn rank(&self) -> impl Ord + use<> {
        let protocols = self.protocols.0.count_ones();
        (self.ports.count(), protocols, Reverse(self.verdict), self.rule, self.place)
    }

    /// Whether a port of a protocol is in both.
    pub(super) const fn meets(&self, other: &PortRule) -> bool {
        self.ports.first <= other.last
            && other.first <= self.ports.last
            && self.protocols.meets(Protocols(other.protocols))
    }

    /// The term as the evaluator has it.
    pub(super) const fn port_rule(&self) -> PortRule {
        PortRule {
            first: self.ports.first,
            last: self.ports.last,
            protocols: self.protocols.0,
            verdict: self.verdict as u8,
            reserved: 0,
            rule: self.rule,
        }
    }
}

/// The terms of some rules: IPv6 before IPv4, each network after those that cover
/// it, and the terms of one network in the order in which they decide.
pub(super) fn of_rules(rules: &[EgressRule]) -> Vec<Term> {
    let mut terms: Vec<Term> = rules.iter().flat_map(of_rule).collect();
    sort(&mut terms);
    terms
}

/// The terms of a section, with those that are built in.
pub(super) fn of_section(section: &EgressSection) -> Vec<Term> {
    let mut terms: Vec<Term> = section.rules.iter().flat_map(of_rule).collect();
    terms.extend(METADATA.into_iter().filter(|at| is_implied(section, at)).map(metadata));
    sort(&mut terms);
    terms
}

fn sort(terms: &mut [Term]) {
    terms.sort_unstable_by_key(|term| (term.network.is_v4(), term.network, term.rank()));
}

fn of_rule(rule: &EgressRule) -> impl Iterator<Item = Term> {
    rule.networks.iter().flat_map(move |network| {
        rule.ports.iter().map(move |ports| Term {
            network: network.value,
            ports: ports.value,
            protocols: rule.protocols,
            verdict: rule.verdict,
            rule: rule.number,
            // Whichever of the two tells the terms of the rule apart.
            place: match (rule.networks.len(), rule.ports.len()) {
                (1, 2..) => ports.place,
                _ => network.place,
            },
        })
    })
}

/// Whether a metadata address has to be denied by a term of its own: where
/// something allows it without naming it.
pub(super) fn is_implied(section: &EgressSection, address: &Network) -> bool {
    let mut covered = section.default == Verdict::Allow;
    for rule in section.rules.iter().filter(|rule| rule.verdict == Verdict::Allow) {
        for network in &rule.networks {
            if network.value == *address {
                return false;
            }
            covered |= network.value.covers(address);
        }
    }
    covered
}

fn metadata(network: Network) -> Term {
    Term {
        network,
        ports: Ports::ANY,
        protocols: Protocols::ALL,
        verdict: Verdict::Deny,
        rule: RULE_METADATA,
        place: Place { line: 1, column: 1 },
    }
}

/// The ports that terms have decided so far, by protocol.
#[derive(Default)]
pub(super) struct Decided {
    /// First port to last, neither overlapping nor touching.
    tcp: BTreeMap<u16, u16>,
    udp: BTreeMap<u16, u16>,
    icmp: bool,
}

impl Decided {
    /// Adds what a term covers; `false` where all of it had been decided.
    pub(super) fn add(&mut self, first: u16, last: u16, protocols: Protocols) -> bool {
        let tcp = protocols.meets(Protocols::TCP) && add(&mut self.tcp, first, last);
        let udp = protocols.meets(Protocols::UDP) && add(&mut self.udp, first, last);
        let icmp = protocols.meets(Protocols::ICMP) && !std::mem::replace(&mut self.icmp, true);
        tcp || udp || icmp
    }
}

fn add(ranges: &mut BTreeMap<u16, u16>, mut first: u16, mut last: u16) -> bool {
    let before = ranges.range(..=first).next_back().map(|(first, last)| (*first, *last));
    if before.is_some_and(|(_, end)| end >= last) {
        return false;
    }
    if let Some((start, end)) = before
        && end.saturating_add(1) >= first
    {
        first = start;
    }
    while let Some((start, end)) =
        ranges.range(first..=last.saturating_add(1)).next().map(|(first, last)| (*first, *last))
    {
        ranges.remove(&start);
        last = last.max(end);
    }
    ranges.insert(first, last);
    true
}
