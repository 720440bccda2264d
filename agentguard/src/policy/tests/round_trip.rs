//! A policy that is written out and read again is the same policy.

use std::fmt::Write;

use agentguard_common::net::Address;
use agentguard_common::verdict::Verdict;
use proptest::prelude::*;

use super::super::{Dns, EgressRule, Match, Network, Policy, User};
use super::random::{network_text, ports_text, rules, written};
use super::{cases, parse, valid};

/// The policy as YAML.
fn rendered(policy: &Policy) -> String {
    let mut text = format!("version: 1\nagent: {}\nmode: {}\n", policy.agent, policy.mode.as_str());
    if let Some(description) = &policy.description {
        writeln!(text, "description: {}", serde_json::to_string(description).unwrap()).unwrap();
    }
    if !policy.matches.is_empty() {
        text.push_str("match:\n");
    }
    for found in &policy.matches {
        let (key, value) = match found {
            Match::Exe(path) => ("exe", path.display().to_string()),
            Match::Cgroup(path) => ("cgroup", path.display().to_string()),
            Match::Unit(unit) => ("unit", unit.clone()),
            Match::User(User::Name(name)) => ("user", name.clone()),
            Match::User(User::Id(id)) => ("user", id.to_string()),
        };
        writeln!(text, "  - {key}: {}", serde_json::to_string(&value).unwrap()).unwrap();
    }
    writeln!(text, "egress:\n  default: {}\n  rules:", policy.egress.default.as_str()).unwrap();
    if policy.egress.rules.is_empty() {
        text.push_str("    []\n");
    }
    for rule in &policy.egress.rules {
        render_rule(&mut text, rule);
    }
    if let Some(dns) = &policy.egress.dns {
        render_dns(&mut text, dns);
    }
    text
}

fn render_dns(text: &mut String, dns: &Dns) {
    let address = |address: &Address| network_text(&Network::new(*address, 128));
    let listed = dns.resolvers.iter().map(|resolver| address(resolver).replace("/128", ""));
    let system = dns.system.then(|| "system".to_owned());
    let resolvers: Vec<String> =
        listed.map(|listed| listed.replace("/32", "")).chain(system).collect();
    writeln!(text, "  dns:\n    resolvers: [{}]", resolvers.join(", ")).unwrap();
    if !dns.inside.is_empty() {
        let inside: Vec<String> = dns.inside.iter().map(network_text).collect();
        writeln!(text, "    inside: [{}]", inside.join(", ")).unwrap();
    }
    writeln!(text, "    floor: {}s\n    cap: {}s", dns.floor, dns.cap).unwrap();
}

fn render_rule(text: &mut String, rule: &EgressRule) {
    let networks = rule.networks.iter().map(|at| network_text(&at.value));
    let names = rule.names.iter().map(|at| format!("\"{}\"", at.value));
    let places: Vec<String> = networks.chain(names).collect();
    writeln!(text, "    - {}: [{}]", rule.verdict.as_str(), places.join(", ")).unwrap();
    if !rule.implied_ports {
        let ports: Vec<String> = rule.ports.iter().map(|at| ports_text(at.value)).collect();
        writeln!(text, "      ports: [{}]", ports.join(", ")).unwrap();
    }
    let protocols = ["[]", "[tcp]", "[udp]", "[tcp, udp]"][usize::from(rule.protocols.0)];
    writeln!(text, "      protocol: {protocols}\n      id: {:?}", rule.id).unwrap();
}

/// Everything about a policy but where it stands.
fn said(policy: &Policy) -> impl PartialEq + std::fmt::Debug + use<> {
    let rules: Vec<_> = policy
        .egress
        .rules
        .iter()
        .map(|rule| {
            let networks: Vec<_> = rule.networks.iter().map(|network| network.value).collect();
            let ports: Vec<_> = rule.ports.iter().map(|ports| ports.value).collect();
            let names: Vec<_> = rule.names.iter().map(|name| name.value.clone()).collect();
            let (number, id, verdict) = (rule.number, rule.id.clone(), rule.verdict);
            (number, id, verdict, networks, names, ports, rule.implied_ports, rule.protocols)
        })
        .collect();
    let (default, dns): (Verdict, _) = (policy.egress.default, policy.egress.dns.clone());
    let matches = policy.matches.clone();
    (policy.agent.clone(), policy.description.clone(), policy.mode, matches, default, rules, dns)
}

#[test]
fn all_keys() {
    let policy = valid(
        "version: 1
agent: coder
description: \"a: b # c\\n\\t'\\\"\"
mode: observe
match:
  - exe: /usr/bin/a b
  - user: alice
  - user: 5
  - cgroup: /x.slice/y
  - unit: z.scope
egress:
  default: allow
  rules:
    - allow: 10.0.0.1
    - deny: [10.0.0.1, ::1]
      id: x
    - deny: 10.0.0.2
      ports: any
      protocol: udp
    - ask: ['*.Example.com', bücher.example, 10.0.0.3]
  dns:
    resolvers: [10.0.0.53, 'fd00::53', system]
    inside: [10.0.0.0/8, 169.254.169.254]
    floor: 90s
    cap: 2d
",
    );
    let again = valid(&rendered(&policy));
    assert_eq!(said(&policy), said(&again));
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn random_rules(
        rules in rules(),
        allow in any::<bool>(),
        description in proptest::option::of("[ -~é\n]{0,40}"),
    ) {
        let Ok(mut policy) = parse(&written(&rules, allow)) else {
            return Ok(());
        };
        policy.description = description;
        prop_assert_eq!(said(&policy), said(&valid(&rendered(&policy))));
    }
}
