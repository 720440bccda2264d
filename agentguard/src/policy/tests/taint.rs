//! What holds once a session has read a secret.

use std::fmt::Write as _;

use agentguard_common::egress::answer_list;
use agentguard_common::name::{self, Table as _};
use agentguard_common::net::Protocols;
use agentguard_common::verdict::Verdict::{Allow, Deny};
use proptest::prelude::*;

use super::super::{Compiled, Policy, explain};
use super::{cases, decide, messages, says, valid};

const BEGIN: &str = "version: 1\nagent: a\nsecrets: [/srv/tokens]\n";

fn policy(rest: &str) -> Policy {
    valid(&format!("{BEGIN}{rest}"))
}

fn both(policy: &Policy) -> (Compiled, Compiled) {
    let tainted = policy.tainted.as_ref().unwrap();
    (policy.compile().unwrap(), tainted.compile_after(policy).unwrap())
}

#[test]
fn nothing_is_reached_any_more_or_what_other_rules_allow() {
    let rules = "egress: { default: allow }\ntainted: { egress: deny }\n";
    let (before, after) = both(&policy(rules));
    assert_eq!(decide(&before, "10.0.0.1", 443, Protocols::TCP).verdict, Allow);
    assert_eq!(decide(&after, "10.0.0.1", 443, Protocols::TCP).verdict, Deny);
    assert_ne!(before.entry.tag, after.entry.tag, "nothing that was remembered holds on");
    assert_eq!(before.entry.hash, after.entry.hash, "one file");

    let policy = policy(
        "egress:
  tls: strict
  dns: { resolvers: [10.0.0.53] }
  rules: [{ allow: [10.0.0.0/8, '*.test'] }]
tainted:
  egress:
    rules:
      - { allow: [10.0.0.1, api.test], id: narrow }
      - { deny: 10.0.0.9 }
",
    );
    let (_, after) = both(&policy);
    assert_eq!(decide(&after, "10.0.0.1", 443, Protocols::TCP).verdict, Allow);
    assert_eq!(decide(&after, "10.0.0.2", 443, Protocols::TCP).verdict, Deny);
    assert_eq!(after.ask("api.test").verdict, Allow);
    assert_eq!(after.ask("other.test").verdict, Deny);
    let tainted = policy.tainted.as_ref().unwrap();
    assert_eq!(after.resolvers.len(), 1, "names are looked up as before");
    assert_eq!(tainted.egress.tls, policy.egress.tls);
    assert_eq!(
        (tainted.rule_id(1), tainted.rule_id(2)),
        (Some("narrow"), Some("tainted.egress.2"))
    );
    assert_eq!(policy.line_of("tainted.egress.2"), Some(12));
    let said = explain(&policy);
    assert!(said.contains("Network, once the session has read a secret\n"), "{said}");
}

#[test]
fn what_is_wrong_with_it_is_said() {
    says(
        &format!("{BEGIN}tainted: {{ egress: ask }}\n"),
        "p.yaml:4:20: not supported yet: egress: ask
    4 | tainted: { egress: ask }
      |                    ^
      = write deny, or rules",
    );
    says(
        "version: 1\nagent: a\ntainted: { egress: deny }\n",
        "p.yaml:3:10: tainted in a policy without secrets
    3 | tainted: { egress: deny }
      |          ^
      = name the files under secrets: that taint a session",
    );
    for (rest, expected) in [
        ("tainted: {}\n", "write egress: deny, or egress: with the rules that hold from then on"),
        ("tainted: { egress: allow }\n", "write deny, or rules"),
        ("tainted: { egress: { default: allow } }\n", "a taint takes away and never gives"),
        ("tainted: { egress: { dns: {} } }\n", "unknown key: dns"),
        ("tainted: { egress: { rules: [{ allow: 10.0.0.1, ports: x }] } }\n", "bad port"),
        (
            "egress: { rules: [{ allow: 10.0.0.1, id: x }] }
tainted: { egress: { rules: [{ allow: 10.0.0.1, id: x }] } }\n",
            "give one of the two another id",
        ),
    ] {
        let said = messages(&format!("{BEGIN}{rest}"));
        assert!(said.contains(expected), "expected: {expected}\nsaid: {said}");
    }
}

const NAMES: [&str; 7] = ["a.test", "*.a.test", "b.a.test", "*.b.a.test", "*.test", "test", "c"];
const ASKED: [&str; 8] =
    ["a.test", "b.a.test", "c.b.a.test", "x.a.test", "x.test", "test", "c", "d"];

/// Rules that speak of those names: 0 is nothing, else allow or deny and a port.
fn rules(chosen: &[u8]) -> String {
    let mut text = String::from("rules: [");
    for (name, say) in NAMES.iter().zip(chosen).filter(|(_, say)| **say != 0) {
        let verdict = if say % 2 == 0 { "allow" } else { "deny" };
        let _ = write!(text, "{{ {verdict}: '{name}', ports: {} }}, ", 440 + u32::from(*say) / 2);
    }
    text + "]"
}

fn key(asked: &str) -> name::Key {
    let key = name::Key::exact(0, asked).unwrap();
    name::Key { bits: name::WHOLE, ..key }
}

proptest! {
    #![proptest_config(cases(400))]

    /// An address that was learned by the one policy means the same to the other.
    #[test]
    fn lists_have_the_same_numbers(
        before in prop::collection::vec(0u8..5, 7),
        after in prop::collection::vec(0u8..5, 7),
    ) {
        let (before, after) = (rules(&before), rules(&after));
        let text = format!("{BEGIN}egress: {{ {before} }}\ntainted: {{ egress: {{ {after} }} }}\n");
        let policy = super::parse(&text);
        // Some rules of these never decide anything.
        prop_assume!(policy.is_ok());
        let policy = policy.unwrap();
        let (before, after) = both(&policy);
        let alone = |policy: &Policy| {
            Policy { tainted: None, is_tainted: false, ..policy.clone() }.compile().unwrap()
        };
        let apart = [alone(&policy), alone(policy.tainted.as_ref().unwrap())];
        for asked in ASKED {
            for port in 440..444 {
                // Side by side, each says what it says alone.
                for (together, alone) in [&before, &after].into_iter().zip(&apart) {
                    prop_assert_eq!(
                        together.decide_name(asked, port, Protocols::TCP),
                        alone.decide_name(asked, port, Protocols::TCP)
                    );
                    prop_assert_eq!(together.ask(asked), alone.ask(asked));
                }
                // What the one has learned, the other takes for what it says itself.
                for (learns, decides) in [(&before, &after), (&after, &before)] {
                    let Some(named) = learns.longest(&key(asked)) else { continue };
                    let says = answer_list(decides, 0, named.list, port, Protocols::TCP);
                    let itself = decides.longest(&key(asked)).map_or(says.0, |named| {
                        answer_list(decides, 0, named.list, port, Protocols::TCP).0
                    });
                    prop_assert_eq!(says.0, itself, "{} {}", asked, port);
                }
            }
        }
    }
}
