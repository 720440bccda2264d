//! The limits, from both sides.

use std::fmt::Write;
use std::net::Ipv4Addr;

use agentguard_common::egress::{BLOCK_RULES, INLINE_RULES};
use agentguard_common::net::{Address, Destination, Protocols};
use agentguard_common::verdict::Verdict;

use super::super::{MAX_ERRORS, MAX_PORT_RULES, MAX_RULES, MAX_TERMS};
use super::{compiled, messages, parse, valid, with_egress};

fn hosts(count: usize) -> String {
    let mut text = with_egress("  rules:\n");
    for host in (0x0a00_0000u32..).take(count) {
        writeln!(text, "    - allow: {}", Ipv4Addr::from_bits(host)).unwrap();
    }
    text
}

#[test]
fn as_many_rules_as_there_may_be() {
    let compiled = compiled(&hosts(MAX_RULES));
    assert_eq!(compiled.egress.len(), MAX_RULES);
    assert_eq!((compiled.entry.v4_count, compiled.entry.v6_count), (1, 0));
    assert_eq!(compiled.entry.lengths[0], 128);
    assert!(compiled.blocks.is_empty());
    for (at, verdict) in [(0, Verdict::Allow), (99_999, Verdict::Allow), (100_000, Verdict::Deny)] {
        let to = Destination { address: Address::v4(0x0a00_0000 + at), port: 443 };
        assert_eq!(compiled.decide(to, Protocols::TCP).verdict, verdict);
    }
}

#[test]
fn one_rule_more() {
    let said = messages(&hosts(MAX_RULES + 1));
    let expected = "p.yaml:100005:7: too many rules: 100001, of at most 100000\n";
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn many_pairs_in_few_rules() {
    let ports: Vec<String> = (1..=u16::MAX).map(|port| port.to_string()).collect();
    let text = format!(
        "  rules:\n    - deny: [{}]\n      ports: [{}]\n",
        "::1, 10.0.0.1, 10.0.0.2, \
        10.0.0.3, 10.0.0.4",
        ports.join(", ")
    );
    let said = messages(&with_egress(&text));
    assert!(said.contains(&format!("more than {MAX_TERMS} pairs")), "{said}");
}

/// A policy in which `own` port rules of a host come on top of `above` of the
/// network that covers it.
fn crowded(own: u16, above: u16) -> String {
    let list = |ports: std::ops::Range<u16>| {
        ports.map(|port| (port * 2 + 1).to_string()).collect::<Vec<_>>().join(", ")
    };
    with_egress(&format!(
        "  rules:
    - allow: 10.0.0.0/8
      ports: [{}]
      id: wide
    - deny: 10.0.0.1
      ports: [{}]
      id: narrow
",
        list(0..above),
        list(1000..1000 + own)
    ))
}

#[test]
fn as_many_port_rules_as_fit() {
    assert_eq!(MAX_PORT_RULES, 68);
    let compiled = compiled(&crowded(34, 34));
    let (_, block) = compiled.blocks.first_key_value().unwrap();
    assert_eq!(usize::try_from(block.count).unwrap() + INLINE_RULES, 34);
    let full = compiled.blocks.values().filter(|block| block.count as usize == BLOCK_RULES).count();
    assert_eq!((full, compiled.blocks.len()), (1, 2));
    let verdict = |port| {
        let to = Destination { address: Address::v4(0x0a00_0001), port };
        compiled.decide(to, Protocols::UDP).verdict
    };
    for port in 0..34 {
        assert_eq!(verdict(port * 2 + 1), Verdict::Allow, "{port}");
        assert_eq!(verdict((port + 1000) * 2 + 1), Verdict::Deny, "{port}");
    }
}

#[test]
fn one_port_rule_more() {
    let said = messages(&crowded(35, 34));
    let expected =
        "p.yaml:9:219: too many port rules: more than 68 apply to 10.0.0.1 (rule narrow)";
    assert_eq!(said.lines().next().unwrap(), expected);
    // What can never decide does not count.
    let mut text = crowded(34, 34);
    text.push_str("    - deny: 10.0.0.2\n");
    text.push_str("    - allow: 10.0.0.3\n      ports: any\n");
    valid(&text).compile().unwrap();
}

#[test]
fn an_overfull_network_is_named_once() {
    let mut text = crowded(1, 69);
    for host in 2..50 {
        writeln!(text, "    - allow: 10.0.0.{host}\n      ports: 9999").unwrap();
    }
    let errors = valid(&text).compile().unwrap_err();
    assert_eq!(errors.errors.len(), 1, "{errors}");
    assert!(errors.to_string().contains("10.0.0.0/8 (rule wide)"), "{errors}");
}

#[test]
fn networks_below_one_list_share_its_block() {
    let mut text = crowded(1, 60);
    for host in 2..200 {
        writeln!(text, "    - deny: 10.0.0.{host}\n      ports: 9999").unwrap();
    }
    assert_eq!(compiled(&text).blocks.len(), 2);
}

#[test]
fn errors_beyond_the_first_hundred_are_counted() {
    let mut text = with_egress("  rules:\n");
    for _ in 0..1000 {
        text.push_str("    - allow: x/y\n");
    }
    let errors = parse(&text).unwrap_err();
    assert_eq!((errors.errors.len(), errors.left_out), (MAX_ERRORS, 900));
    assert!(errors.to_string().ends_with("\nand 900 more errors"));
}

#[test]
fn keys_in_a_slot() {
    let compiled = compiled(&crowded(34, 34));
    assert!(compiled.entries_at(7).all(|(key, _)| key.policy == 7));
    assert!(compiled.blocks_at(7).all(|(key, _)| key.policy == 7));
    assert_eq!(compiled.entries_at(7).count(), compiled.egress.len());
}
