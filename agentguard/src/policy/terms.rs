//! Rules taken apart into terms, and the order in which terms decide.
//!
//! A term is one network, or one name, and one port range of one rule. Specificity is a matter
//! of terms and not of rules: a rule for port 22 and ports 8000-9000 is two terms,
//! of which the first is the more specific.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use agentguard_common::egress::PortRule;
use agentguard_common::net::{Address, Protocols};
use agentguard_common::verdict::Verdict;

use super::host::HostName;
use super::model::{EgressRule, EgressSection, RULE_METADATA};
use super::network::Network;
use super::place::Place;
use super::ports::Ports;

/// The networks of [`Address::METADATA`].
pub(super) const METADATA: [Network; 5] = {
    let mut networks = [Network::new(Address::ANY6, 128); 5];
    let mut at = 0;
    while at < networks.len() {
        networks[at] = Network::new(Address::METADATA[at], 128);
        at += 1;
    }
    networks
};

/// What terms can be about: networks and names.
pub(super) trait Subject: Clone + Eq + Ord + fmt::Display {
    /// What to do where too many port rules apply to one.
    const TOO_MANY: &'static str;

    /// Whether everything in `other` is in this.
    fn covers(&self, other: &Self) -> bool;
}

impl Subject for Network {
    const TOO_MANY: &'static str =
        "join ports into ranges: rules of the networks that cover it count too";

    fn covers(&self, other: &Self) -> bool {
        self.covers(other)
    }
}

impl Subject for &HostName {
    const TOO_MANY: &'static str =
        "join ports into ranges: rules of the wildcards that cover it count too";

    fn covers(&self, other: &Self) -> bool {
        HostName::covers(self, other)
    }
}

/// One subject and one port range of one rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term<S> {
    pub(super) subject: S,
    pub(super) ports: Ports,
    pub(super) protocols: Protocols,
    pub(super) verdict: Verdict,
    pub(super) rule: u32,
    pub(super) place: Place,
}

impl<S> Term<S> {
    /// Terms of one subject decide in the ascending order of this.
    fn rank(&self) -> impl Ord + use<S> {
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

/// The terms of some rules about networks: IPv6 before IPv4, each network after those
/// that cover it, and the terms of one network in the order in which they decide.
pub(super) fn of_rules(rules: &[EgressRule]) -> Vec<Term<Network>> {
    let mut terms = networks(rules);
    sort(&mut terms);
    terms
}

/// The terms of a section about networks, with those that are built in.
pub(super) fn of_section(section: &EgressSection) -> Vec<Term<Network>> {
    let mut terms = networks(&section.rules);
    terms.extend(METADATA.into_iter().filter(|at| is_implied(section, at)).map(metadata));
    sort(&mut terms);
    terms
}

/// The terms of some rules about names: each name after those that cover it, and the
/// terms of one name in the order in which they decide.
pub(super) fn of_names(rules: &[EgressRule]) -> Vec<Term<&HostName>> {
    let mut terms: Vec<Term<&HostName>> =
        rules.iter().flat_map(|rule| of_rule(rule, names_of(rule))).collect();
    terms.sort_unstable_by(|one, other| {
        one.subject.cmp(other.subject).then_with(|| one.rank().cmp(&other.rank()))
    });
    terms
}

fn names_of(rule: &EgressRule) -> impl ExactSizeIterator<Item = (&HostName, Place)> {
    rule.names.iter().map(|name| (&name.value, name.place))
}

fn networks(rules: &[EgressRule]) -> Vec<Term<Network>> {
    rules.iter().flat_map(|rule| of_rule(rule, networks_of(rule))).collect()
}

fn networks_of(rule: &EgressRule) -> impl ExactSizeIterator<Item = (Network, Place)> {
    rule.networks.iter().map(|network| (network.value, network.place))
}

fn sort(terms: &mut [Term<Network>]) {
    terms.sort_unstable_by_key(|term| (term.subject.is_v4(), term.subject, term.rank()));
}

fn of_rule<S: Copy>(
    rule: &EgressRule,
    subjects: impl ExactSizeIterator<Item = (S, Place)>,
) -> impl Iterator<Item = Term<S>> {
    // Whichever of the two tells the terms of the rule apart.
    let by_ports = subjects.len() == 1 && rule.ports.len() > 1;
    subjects.flat_map(move |(subject, place)| {
        rule.ports.iter().map(move |ports| Term {
            subject,
            ports: ports.value,
            protocols: rule.protocols,
            verdict: rule.verdict,
            rule: rule.number,
            place: if by_ports { ports.place } else { place },
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

fn metadata(network: Network) -> Term<Network> {
    Term {
        subject: network,
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

    /// Whether every port of TCP and UDP has been decided.
    pub(super) fn is_complete(&self) -> bool {
        let complete = |ranges: &BTreeMap<u16, u16>| {
            ranges.first_key_value().is_some_and(|(first, last)| *first <= 1 && *last == u16::MAX)
        };
        complete(&self.tcp) && complete(&self.udp)
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
