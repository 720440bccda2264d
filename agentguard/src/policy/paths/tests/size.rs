//! How much there can be, and how long it takes.

use std::time::{Duration, Instant};

use super::super::super::Problem;
use super::super::automaton::MAX_PATH_EDGES;
use super::super::bind::NoLinks;
use super::super::table::{Access, PathTable};
use super::{bob, policy, table};

/// The time to compile a policy is bounded generously: this is an unoptimised build on a
/// machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn ten_thousand_rules() {
    let mut text =
        "files:\n  rules:\n    - deny: \"**/.env\"\n    - deny: \"**/*.key\"\n".to_owned();
    for number in 0..10_000 {
        let verdict = ["read", "write", "deny"][number % 3];
        let (top, middle) = (number / 100, number % 100);
        text.push_str(&format!("    - {verdict}: /srv/area-{top}/part-{middle}/leaf\n"));
    }
    let policy = policy(&text);
    let begun = Instant::now();
    let bound = policy.bind(&bob(), &NoLinks).unwrap().unwrap();
    let automaton = bound.compile(&policy).unwrap();
    let took = begun.elapsed();
    println!("{took:?} for {} edges, {} rows", automaton.edges(), automaton.rows());
    assert!(took < PATIENCE, "{took:?}");
    let table = PathTable::new(&automaton);
    let last = table.decide(b"/srv/area-99/part-99/leaf/x", Access::Write);
    assert_eq!(policy.rule_id(last.rule), Some("files.10002"));
    let key = table.decide(b"/srv/area-99/part-99/leaf/x.key", Access::Write);
    assert_eq!(policy.rule_id(key.rule), Some("files.2"));
}

#[test]
fn what_multiplies_is_named_and_does_not_hang() {
    let mut text = "files:\n  rules:\n".to_owned();
    for number in 0..24 {
        text.push_str(&format!("    - deny: \"**/a{number}/**/b{number}/**/c{number}\"\n"));
    }
    let policy = policy(&text);
    let begun = Instant::now();
    let errors = policy.check_paths().unwrap_err();
    assert!(begun.elapsed() < 6 * PATIENCE, "{:?}", begun.elapsed());
    let named = &errors.errors[0];
    assert!(
        matches!(&named.problem, Problem::PathsTooLarge { pattern, max, .. }
            if pattern.starts_with("**/a") && *max == MAX_PATH_EDGES),
        "{errors}"
    );
    assert!(named.place.is_some());
}

#[test]
fn what_is_beyond_the_limits_of_paths_is_denied() {
    let table = table(&policy("files:\n  default: write\n"));
    let deep = |count: usize| "/a".repeat(count);
    let long = |count: usize| format!("/{}", "a".repeat(count));
    for (path, allowed) in
        [(deep(128), true), (deep(129), false), (long(255), true), (long(256), false)]
    {
        assert_eq!(table.decide(path.as_bytes(), Access::Read).verdict.passes(), allowed);
    }
    for path in ["", "a", "/a/../b", "/a//b", "/."] {
        assert!(!table.decide(path.as_bytes(), Access::Read).verdict.passes(), "{path}");
    }
}
