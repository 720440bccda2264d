//! Policies that differ, and those that only look so.

use proptest::prelude::*;

use super::super::tests::random::{name, probe, rules, written};
use super::super::tests::{cases, parse, valid};
use super::Difference;

fn difference(old: &str, new: &str) -> Difference {
    let text = |rest: &str| format!("version: 1\nagent: a\n{rest}");
    Difference::of(&valid(&text(old)), &valid(&text(new)))
        .unwrap_or_else(|errors| panic!("{errors}"))
}

fn changes(old: &str, new: &str) -> Vec<String> {
    difference(old, new).changes.iter().map(ToString::to_string).collect()
}

#[test]
fn order_ids_and_grouping_make_no_difference() {
    let old = "egress:\n  rules:\n    - { allow: [a.test, 10.0.0.1], ports: [443, 80], id: x }\n    - deny: 10.0.0.2\nfiles:\n  rules:\n    - write: [/a, /b]\n";
    let new = "egress:\n  rules:\n    - deny: 10.0.0.2\n    - { allow: 10.0.0.1, ports: 80, protocol: tcp }\n    - { allow: 10.0.0.1, ports: 80, protocol: udp }\n    - allow: 10.0.0.1\n    - { allow: a.test, ports: [80, 443] }\n  default: deny\nfiles:\n  default: read\n  rules:\n    - write: /b\n    - write: /a\n";
    assert_eq!(difference(old, new), Difference::default());
}

#[test]
fn what_was_added_removed_and_changed_is_told_apart() {
    let old = "egress:\n  rules:\n    - { allow: a.test, protocol: tcp }\n    - { deny: 10.0.0.0/8, ports: 22, protocol: tcp }\n";
    let new = "mode: observe\negress:\n  rules:\n    - { allow: b.test, protocol: tcp }\n    - { allow: 10.0.0.0/8, ports: 22, protocol: tcp }\nexec:\n  rules:\n    - deny: /bin/x\n";
    assert_eq!(
        changes(old, new),
        [
            "~ mode: enforce → observe",
            "~ 10.0.0.0/8, port 22, tcp: deny → allow",
            "- allow a.test, port 443, tcp",
            "+ allow b.test, port 443, tcp",
            "+ deny /bin/x",
            "+ allow default",
            "+ allow from_writable",
            "+ deny memory",
        ]
    );
    let verdicts: Vec<String> = difference(old, new)
        .verdicts
        .iter()
        .map(|found| format!("{} {} {}", found.what, found.old.verdict, found.new))
        .collect();
    for line in [
        "connect tcp://10.0.0.0:22 deny allow (egress.2)",
        "connect tcp://10.255.255.255:22 deny allow (egress.2)",
        "connect tcp://a.test:443 allow deny (default)",
        "resolve dns:b.test deny allow (egress.1)",
        "exec /bin/x/any-other allow deny (exec.1)",
    ] {
        assert!(verdicts.contains(&line.to_owned()), "{line}: {verdicts:#?}");
    }
    assert!(!verdicts.iter().any(|line| line.contains(":23") || line.contains("write /bin/x")));
}

#[test]
fn sections_that_decide_nothing_are_told_apart_too() {
    let old = "limits: { memory: 1GiB, pids: 100 }\nhost: { allow: [signal, trace] }\n";
    let new = "host:\n  allow: [trace]\nlimits:\n  memory: 2GiB\n";
    assert_eq!(
        changes(old, new),
        ["- set host.allow: signal", "~ limits.memory: 1GiB → 2GiB", "- 100 limits.pids"]
    );
    assert_eq!(changes(old, old), Vec::<String>::new());
    let named = "egress: { rules: [{ allow: a.test }] }\n";
    let strict = "egress: { rules: [{ allow: a.test }], tls: strict }\n";
    assert_eq!(changes(named, strict), ["~ tls: report → strict"]);
}

#[test]
fn a_rule_that_changes_no_verdict_is_a_change_all_the_same() {
    let base = "egress:\n  rules:\n    - { allow: 10.0.0.0/8, ports: any }\n";
    let more = format!("{base}    - {{ allow: 10.1.0.0/16, ports: any, protocol: tcp }}\n");
    let found = difference(base, &more);
    assert_eq!((found.changes.len(), found.verdicts.len()), (1, 0));
    assert!(found.to_string().contains("the same for everything"), "{found}");
}

#[test]
fn paths_are_asked_for_where_their_rules_match() {
    let found = difference(
        "files: { default: deny, rules: [{ read: '${workspace}/*.[ch]' }, { deny: '**/.env' }] }\n",
        "files: { default: deny, rules: [{ write: '${workspace}/*.[ch]' }] }\nsecrets: ~/.ssh\n",
    );
    let what: Vec<&str> = found.verdicts.iter().map(|found| found.what.as_str()).collect();
    let path = "write /home/user/workspace/any-other.c";
    assert_eq!(what, [path, &format!("{path}/any-other")], "{found}");
    assert!(found.to_string().contains("secrets\n  + secret ~/.ssh"), "{found}");
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn a_policy_does_not_differ_from_itself(rules in rules(), allow in any::<bool>()) {
        if let Ok(policy) = parse(&written(&rules, allow)) {
            prop_assert_eq!(Difference::of(&policy, &policy).unwrap(), Difference::default());
        }
    }

    #[test]
    fn the_way_back_is_the_way_there_turned_round(one in rules(), other in rules()) {
        let both = (parse(&written(&one, false)), parse(&written(&other, true)));
        if let (Ok(one), Ok(other)) = both {
            let there = Difference::of(&one, &other).unwrap();
            let back = Difference::of(&other, &one).unwrap();
            prop_assert_eq!(there.changes.len(), back.changes.len());
            for (there, back) in there.verdicts.iter().zip(&back.verdicts) {
                prop_assert_eq!((&there.old, &there.new), (&back.new, &back.old));
            }
        }
    }

    #[test]
    fn where_no_statement_differs_no_verdict_does(
        mut rules in rules(),
        probes in prop::collection::vec(probe(), 1..20),
        names in prop::collection::vec(name(), 1..8),
    ) {
        let Ok(one) = parse(&written(&rules, false)) else { return Ok(()) };
        rules.reverse();
        let Ok(other) = parse(&written(&rules, false)) else { return Ok(()) };
        let found = Difference::of(&one, &other).unwrap();
        prop_assert_eq!(&found.changes, &Vec::new());
        let (one, other) = (one.compile().unwrap(), other.compile().unwrap());
        for probe in probes {
            let (to, protocol) = probe.aimed(&rules);
            let of = |policy: &super::super::Compiled| policy.decide(to, protocol).verdict;
            prop_assert_eq!(of(&one), of(&other));
        }
        for name in names {
            prop_assert_eq!(one.ask(&name).verdict, other.ask(&name).verdict);
        }
    }
}
