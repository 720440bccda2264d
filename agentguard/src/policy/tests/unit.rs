//! Small parts by themselves.

use agentguard_common::net::Protocols;

use super::super::fields::nearest;
use super::super::terms::Decided;
use super::super::{Match, Mode, Network, RULE_METADATA, RULE_METADATA_ID, User};
use super::{parse, valid};

#[test]
fn the_nearest_word_is_the_one_that_was_meant() {
    let known = ["allow", "deny", "ports", "protocol", "id"];
    for (word, meant) in [
        ("alow", Some("allow")),
        ("Allow", Some("allow")),
        ("port", Some("ports")),
        ("protocols", Some("protocol")),
        ("dney", Some("deny")),
        ("zebra", None),
        ("", None),
        (&"x".repeat(1000), None),
    ] {
        assert_eq!(nearest(word, &known), meant, "{word}");
    }
}

#[test]
fn networks_are_written_as_they_are_read() {
    for text in ["10.0.0.0/8", "0.0.0.0/0", "10.0.0.1", "::/0", "::1", "2001:db8::/32", "::/96"] {
        assert_eq!(Network::parse(text).unwrap().to_string(), text);
    }
    for (text, normal) in [
        ("10.0.0.1/32", "10.0.0.1"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("2001:DB8:0::/32", "2001:db8::/32"),
    ] {
        assert_eq!(Network::parse(text).unwrap().to_string(), normal);
    }
}

#[test]
fn an_ipv6_network_covers_no_ipv4_address() {
    let parse = |text| Network::parse(text).unwrap();
    assert!(!parse("::/0").covers(&parse("10.0.0.1")));
    assert!(!parse("0.0.0.0/0").covers(&parse("2001:db8::1")));
    assert!(parse("::/0").covers(&parse("2001:db8::1")));
    assert!(parse("10.0.0.0/8").covers(&parse("::ffff:10.0.0.1")));
}

#[test]
fn ports_that_have_been_decided_add_up() {
    let mut decided = Decided::default();
    assert!(decided.add(10, 20, Protocols::TCP));
    assert!(!decided.add(12, 20, Protocols::TCP));
    assert!(decided.add(12, 20, Protocols::ANY), "UDP is open");
    assert!(decided.add(30, 40, Protocols::ANY));
    assert!(decided.add(21, 29, Protocols::TCP));
    assert!(!decided.add(10, 40, Protocols::TCP), "three ranges have become one");
    assert!(decided.add(10, 40, Protocols::UDP));
    assert!(decided.add(0, u16::MAX, Protocols::ANY));
    assert!(!decided.add(u16::MAX, u16::MAX, Protocols::ANY));
    assert!(!decided.add(0, 0, Protocols::ANY));
}

#[test]
fn all_that_a_policy_says_is_kept() {
    let text = "version: 1
agent: coder
description: |
  Two
  lines.
mode: observe
match:
  - exe: /usr/local/bin/claude
  - user: alice
  - user: 1000
  - cgroup: /system.slice/foo.service
  - unit: foo@1.service
egress:
  rules:
    - allow: 10.0.0.1
      id: db
    - deny: 10.0.0.1
";
    let policy = valid(text);
    assert_eq!(policy.agent, "coder");
    assert_eq!(policy.description.as_deref(), Some("Two\nlines.\n"));
    assert_eq!(policy.mode, Mode::Observe);
    assert_eq!(
        policy.matches,
        [
            Match::Exe("/usr/local/bin/claude".into()),
            Match::User(User::Name("alice".to_owned())),
            Match::User(User::Id(1000)),
            Match::Cgroup("/system.slice/foo.service".into()),
            Match::Unit("foo@1.service".to_owned()),
        ]
    );
    assert_eq!(policy.source, text);
    assert_eq!(policy.rule_id(0), None);
    assert_eq!(policy.rule_id(1), Some("db"));
    assert_eq!(policy.rule_id(2), Some("egress.2"));
    assert_eq!(policy.rule_id(3), None);
    assert_eq!(policy.rule_id(RULE_METADATA), Some(RULE_METADATA_ID));
}

#[test]
fn the_tag_is_the_start_of_the_hash_and_never_0() {
    let mut policy = valid("version: 1\nagent: a\n");
    let hash: String = policy.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(format!("{:016x}", policy.tag()), hash[..16]);
    policy.hash = [0; 32];
    assert_eq!(policy.tag(), 1);
    assert_eq!(policy.compile().unwrap().entry.tag, 1);
}

#[test]
fn a_byte_order_mark_and_a_document_mark_are_no_content() {
    assert_eq!(parse("\u{feff}---\nversion: 1\nagent: a\n...\n").unwrap().agent, "a");
}
