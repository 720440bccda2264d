//! The compiled tables against a plain reading of the rules: scan all of them,
//! take the best.

use agentguard_common::net::{Destination, Protocols};
use agentguard_common::verdict::{RULE_NONE, Reason, Ruling, Verdict};
use proptest::prelude::*;

use super::super::{Policy, Ports, RULE_METADATA};
use super::random::{Rule, name, probe, rules, written};
use super::{cases, parse};

/// The longest prefix first, then the fewest ports, the fewest protocols, the
/// stronger verdict, the earlier rule: the smallest is the best.
type Rank = (i32, i32, i32, i32, i64);

/// What stands in the documentation, word by word.
fn plain(rules: &[Rule], allow: bool, to: Destination, protocol: Protocols) -> Ruling {
    let address = to.address.reached();
    let mut best: Option<(Rank, Ruling)> = None;
    let mut consider = |bits: u8, first: u16, last: u16, protocols: Protocols, ruling: Ruling| {
        let fits = first <= to.port && to.port <= last && protocols.meets(protocol);
        let size = i32::from(last) - i32::from(first);
        let both = i32::from(protocols == Protocols::ANY);
        let mild = -i32::from(ruling.verdict as u8);
        let rank = (-i32::from(bits), size, both, mild, i64::from(ruling.rule));
        if fits && best.as_ref().is_none_or(|(other, _)| rank < *other) {
            best = Some((rank, ruling));
        }
    };
    for (number, rule) in (1u32..).zip(rules) {
        let ruling = Ruling { verdict: rule.verdict, reason: Reason::Rule, rule: number };
        for network in &rule.networks {
            let family = network.is_v4() == address.is_v4();
            if family && address.prefix(network.bits()) == network.address() {
                for ports in &rule.ports {
                    consider(network.bits(), ports.first, ports.last, rule.protocols, ruling);
                }
            }
        }
    }
    let metadata = ["169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16"]
        .map(|text| super::address_of(text.parse().unwrap()))
        .into_iter()
        .chain([super::address_of("fd00:ec2::254".parse().unwrap())])
        .any(|metadata| metadata == address);
    let named = rules
        .iter()
        .filter(|rule| rule.verdict == Verdict::Allow)
        .any(|rule| rule.networks.iter().any(|at| at.bits() == 128 && at.address() == address));
    let allowed = allow
        || rules.iter().filter(|rule| rule.verdict == Verdict::Allow).any(|rule| {
            rule.networks.iter().any(|at| {
                at.is_v4() == address.is_v4() && address.prefix(at.bits()) == at.address()
            })
        });
    if metadata && !named && allowed {
        let ruling = Ruling { verdict: Verdict::Deny, reason: Reason::Rule, rule: RULE_METADATA };
        consider(128, 0, u16::MAX, Protocols::ANY, ruling);
    }
    let verdict = if allow { Verdict::Allow } else { Verdict::Deny };
    best.map_or(Ruling { verdict, reason: Reason::Default, rule: RULE_NONE }, |(_, ruling)| ruling)
}

/// A term of a rule, with what makes it decide before others.
type NameTerm = ((bool, i64, i32, i32, i32, i64), Ports, Protocols, Ruling);

/// The terms that speak of a name, the most specific first: by the text, without any
/// table.
fn terms_of(rules: &[Rule], name: &str) -> Vec<NameTerm> {
    let mut terms = Vec::new();
    for (number, rule) in (1u32..).zip(rules) {
        let ruling = Ruling { verdict: rule.verdict, reason: Reason::Rule, rule: number };
        for pattern in &rule.names {
            let star = pattern.starts_with('*');
            let fits = if star { name.ends_with(&pattern[1..]) } else { name == pattern };
            for ports in rule.ports.iter().filter(|_| fits) {
                let size = i32::from(ports.last) - i32::from(ports.first);
                let both = i32::from(rule.protocols == Protocols::ANY);
                let mild = -i32::from(rule.verdict as u8);
                let longer = -i64::try_from(pattern.len()).unwrap();
                let rank = (star, longer, size, both, mild, i64::from(number));
                terms.push((rank, *ports, rule.protocols, ruling));
            }
        }
    }
    terms.sort_by_key(|(rank, ..)| *rank);
    terms
}

fn default(allow: bool) -> Ruling {
    let verdict = if allow { Verdict::Allow } else { Verdict::Deny };
    Ruling { verdict, reason: Reason::Default, rule: RULE_NONE }
}

/// The first term that covers a port.
fn first(terms: &[NameTerm], port: u16, protocol: Protocols) -> Option<Ruling> {
    let mut terms = terms.iter();
    let covers = |(_, ports, protocols, _): &&NameTerm| {
        ports.first <= port && port <= ports.last && protocols.meets(protocol)
    };
    terms.find(covers).map(|(.., ruling)| *ruling)
}

/// Whether a name may be asked for: a name of which some port can be used.
fn plain_ask(rules: &[Rule], allow: bool, name: &str) -> Ruling {
    let terms = terms_of(rules, name);
    let Some((.., most_specific)) = terms.first() else { return default(allow) };
    // What holds changes only where a range begins or has ended.
    let mut edges = vec![0, 1];
    edges.extend(
        terms.iter().flat_map(|(_, ports, ..)| [ports.first, ports.last.saturating_add(1)]),
    );
    let mut left_open = false;
    let mut allowing: Option<(usize, Ruling)> = None;
    for port in edges {
        for protocol in [Protocols::TCP, Protocols::UDP] {
            let Some(ruling) = first(&terms, port, protocol) else {
                left_open |= port > 0;
                continue;
            };
            let of_one = |at: &usize| first(&terms[*at..=*at], port, protocol).is_some();
            let at = (0..terms.len()).find(of_one).unwrap();
            if ruling.verdict == Verdict::Allow && allowing.is_none_or(|(best, _)| at < best) {
                allowing = Some((at, ruling));
            }
        }
    }
    match allowing {
        Some((_, ruling)) => ruling,
        None if allow && left_open => Ruling { verdict: Verdict::Allow, ..*most_specific },
        None => *most_specific,
    }
}

/// Parses the rules, dropping those that the checks refuse.
fn accepted(mut rules: Vec<Rule>, allow: bool) -> (Vec<Rule>, Policy) {
    loop {
        match parse(&written(&rules, allow)) {
            Ok(policy) => return (rules, policy),
            Err(errors) => {
                // Each rule takes three lines, the first of them the sixth.
                let line = errors.errors[0].place.unwrap().line as usize;
                rules.remove((line - 6) / 3);
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn tables_decide_as_the_rules_read(
        rules in rules(),
        allow in any::<bool>(),
        probes in prop::collection::vec(probe(), 40),
    ) {
        let (rules, policy) = accepted(rules, allow);
        let compiled = policy.compile().unwrap();
        for probe in probes {
            let (to, protocol) = probe.aimed(&rules);
            let expected = plain(&rules, allow, to, protocol);
            prop_assert_eq!(
                compiled.decide(to, protocol), expected,
                "{:?} {:?}\n{}", to, protocol, written(&rules, allow)
            );
        }
    }
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn names_are_decided_as_the_rules_read(
        rules in rules(),
        allow in any::<bool>(),
        probes in prop::collection::vec((name(), 0..20u16, any::<bool>()), 40),
    ) {
        let (rules, policy) = accepted(rules, allow);
        let compiled = policy.compile().unwrap();
        for (name, port, tcp) in probes {
            let protocol = if tcp { Protocols::TCP } else { Protocols::UDP };
            let expected = first(&terms_of(&rules, &name), port, protocol);
            prop_assert_eq!(
                compiled.decide_name(&name, port, protocol),
                expected.unwrap_or(default(allow)),
                "{} {} {:?}\n{}", name, port, protocol, written(&rules, allow)
            );
            // People are asked about the connections, not about looking the name up.
            let mut may = plain_ask(&rules, allow, &name);
            if may.verdict == Verdict::Ask {
                may.verdict = Verdict::Allow;
            }
            prop_assert_eq!(
                compiled.ask(&name), may,
                "{}\n{}", name, written(&rules, allow)
            );
        }
    }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn no_entry_holds_a_rule_that_cannot_decide(rules in rules(), allow in any::<bool>()) {
        let (_, policy) = accepted(rules, allow);
        let compiled = policy.compile().unwrap();
        for entry in compiled.egress.values() {
            let mut rules = entry.rules[..entry.count as usize].to_vec();
            if entry.block != 0 {
                let key = agentguard_common::egress::BlockKey { policy: 0, block: entry.block };
                let block = &compiled.blocks[&key];
                rules.extend(&block.rules[..block.count as usize]);
            }
            let mut open = vec![3u8; 65536];
            for rule in rules {
                let ports = &mut open[usize::from(rule.first)..=usize::from(rule.last)];
                prop_assert!(ports.iter().any(|port| port & rule.protocols != 0), "{rule:?}");
                ports.iter_mut().for_each(|port| *port &= !rule.protocols);
            }
        }
    }
}
