//! Random rules and random paths: the automaton, walked by the kernel's evaluator, says what
//! the rules say one by one.

use std::collections::BTreeSet;

use agentguard_common::verdict::Verdict;
use proptest::prelude::*;

use super::super::pattern::PathPattern;
use super::super::table::Access;
use super::oracle::{self, Files, Pattern, covers, decides};
use super::{policy, table};

/// Names that patterns can tell apart, a long one among them.
const NAMES: [&str; 8] =
    ["a", "b", "ab", "abc", ".env", "é", "x.key", "a-name-of-more-than-twenty-four-bytes.key"];
const PARTS: [&str; 12] =
    ["*", "?", "a*", "*b", "*.key", "[ab]", "[!a]", "[a-c]*", "**", "**", "??", "*-*"];

fn part() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => prop::sample::select(&NAMES[..]), 2 => prop::sample::select(&PARTS[..])]
}

fn pattern() -> impl Strategy<Value = String> {
    prop::collection::vec(part(), 1..5).prop_map(|parts| format!("/{}", parts.join("/")))
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&NAMES[..]), 0..6)
        .prop_map(|names| format!("/{}", names.join("/")))
}

fn files() -> impl Strategy<Value = (Files, String)> {
    let verdict = prop::sample::select(&[Files::Write, Files::Read, Files::Ask, Files::Deny][..]);
    (verdict, pattern())
}

fn exec() -> impl Strategy<Value = (Verdict, String)> {
    let verdict = prop::sample::select(&[Verdict::Allow, Verdict::Ask, Verdict::Deny][..]);
    (verdict, pattern())
}

/// Rules of which each pattern stands once, as the language demands.
fn once<V: Clone>(rules: &[(V, String)]) -> Vec<(V, String)> {
    let mut seen = BTreeSet::new();
    let new = |(_, text): &&(V, String)| seen.insert(PathPattern::parse(text).unwrap());
    rules.iter().filter(new).cloned().collect()
}

fn written(rules: impl Iterator<Item = (String, String)>) -> String {
    let rules: String =
        rules.map(|(verdict, text)| format!("    - {verdict}: \"{text}\"\n")).collect();
    if rules.is_empty() { "  rules: []\n".to_owned() } else { format!("  rules:\n{rules}") }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_automaton_says_what_the_rules_say(
        files in prop::collection::vec(files(), 0..8),
        exec in prop::collection::vec(exec(), 0..6),
        secrets in prop::collection::vec(pattern(), 1..4),
        paths in prop::collection::vec(path(), 1..24),
    ) {
        let (files, exec) = (once(&files), once(&exec));
        let secrets = once(&secrets.into_iter().map(|text| ((), text)).collect::<Vec<_>>());
        let word = |verdict: Files| format!("{verdict:?}").to_lowercase();
        let text = format!(
            "files:\n{}exec:\n{}secrets: [{}]\n",
            written(files.iter().map(|(verdict, text)| (word(*verdict), text.clone()))),
            written(exec.iter().map(|(verdict, text)| (verdict.as_str().into(), text.clone()))),
            secrets.iter().map(|(_, text)| format!("\"{text}\"")).collect::<Vec<_>>().join(", "),
        );
        let policy = policy(&text);
        let table = table(&policy);
        let files: Vec<(Files, Pattern)> =
            files.iter().map(|(verdict, text)| (*verdict, Pattern::new(text))).collect();
        let exec: Vec<(Verdict, Pattern)> =
            exec.iter().map(|(verdict, text)| (*verdict, Pattern::new(text))).collect();
        let secrets: Vec<Pattern> =
            secrets.iter().map(|(_, text)| Pattern::new(text)).collect();
        for path in &paths {
            let rule = |at: usize, section: &str| policy_rule(section, at);
            let (expected, by) = match decides(&files, path) {
                Some((at, verdict)) => (verdict.verdicts(), rule(at, "files")),
                None => ((Verdict::Allow, Verdict::Deny), "default".to_owned()),
            };
            let said = super::said(&policy, &table, path);
            prop_assert_eq!(&said[0], &(expected.0, by.clone()), "read {} of\n{}", path, text);
            prop_assert_eq!(&said[1], &(expected.1, by), "write {} of\n{}", path, text);
            let expected = match decides(&exec, path) {
                Some((at, verdict)) => (*verdict, rule(at, "exec")),
                None => (Verdict::Allow, "default".to_owned()),
            };
            prop_assert_eq!(&said[2], &expected, "exec {} of\n{}", path, text);
            let secret = secrets.iter().any(|pattern| covers(pattern, path));
            prop_assert_eq!(table.is_secret(path.as_bytes()), secret, "{} of\n{}", path, text);
        }
    }

    #[test]
    fn patterns_are_written_as_they_are_read(text in pattern()) {
        let read = PathPattern::parse(&text).unwrap();
        prop_assert_eq!(PathPattern::parse(&read.to_string()), Ok(read));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC*", path in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(read) = PathPattern::parse(&text) {
            prop_assert_eq!(PathPattern::parse(&read.to_string()), Ok(read));
        }
        let table = table(&policy("files: {}\n"));
        let _ = table.decide(&path, Access::Read);
    }
}

fn policy_rule(section: &str, at: usize) -> String {
    format!("{section}.{}", at + 1)
}

#[test]
fn the_oracle_reads_as_it_should() {
    let rules = [(Files::Deny, Pattern::new("/a/**")), (Files::Write, Pattern::new("/a/b"))];
    assert_eq!(oracle::decides(&rules, "/a"), None);
    assert_eq!(oracle::decides(&rules, "/a/c").map(|(at, _)| at), Some(0));
    assert_eq!(oracle::decides(&rules, "/a/b/c").map(|(at, _)| at), Some(1));
}
