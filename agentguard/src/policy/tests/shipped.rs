//! The presets that ship and the examples in the documentation are policies.

use std::fs;
use std::path::Path;

use super::super::{Bindings, Policy, PolicySet, run_cases};
use super::valid;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[test]
fn presets_load_and_compile() {
    let set = PolicySet::load_dir(&Path::new(ROOT).join("policies"))
        .unwrap_or_else(|errors| panic!("{errors}"));
    assert!(set.len() >= 3);
    for policy in set.iter() {
        policy.compile().unwrap_or_else(|errors| panic!("{errors}"));
        policy.check_paths().unwrap_or_else(|errors| panic!("{errors}"));
        assert!(policy.description.is_some(), "{} says what it is for", policy.agent);
        assert!(policy.source.starts_with("# "), "{} begins with a comment", policy.agent);
        let name = policy.path.file_stem().and_then(|name| name.to_str());
        assert_eq!(name, Some(policy.agent.as_str()), "a preset is named after its agent");
    }
}

#[test]
fn presets_say_what_their_cases_expect() {
    let policies = Path::new(ROOT).join("policies");
    let files: Vec<_> = fs::read_dir(policies.join("cases")).unwrap().collect();
    assert!(files.len() >= 8, "{}", files.len());
    for file in files {
        let file = file.unwrap().path();
        let policy = Policy::load(&policies.join(file.file_name().unwrap()));
        let policy = policy.unwrap_or_else(|errors| panic!("{errors}"));
        let outcomes = run_cases(&policy, &file, &Bindings::default());
        let outcomes = outcomes.unwrap_or_else(|errors| panic!("{errors}"));
        let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.passed()).collect();
        assert!(failed.is_empty(), "{}: {failed:#?}", file.display());
    }
}

/// The blocks of a Markdown text that are marked as being in `language`.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let open = format!("```{language}\n");
    text.split(&open).skip(1).filter_map(|rest| rest.split("\n```").next()).collect()
}

fn documentation() -> String {
    fs::read_to_string(Path::new(ROOT).join("docs/policy.md")).unwrap()
}

#[test]
fn examples_in_the_documentation_are_policies() {
    let text = documentation();
    let whole: Vec<&str> =
        blocks(&text, "yaml").into_iter().filter(|block| block.contains("version: 1")).collect();
    assert!(whole.len() >= 3, "{}", whole.len());
    for block in whole {
        valid(block).compile().unwrap_or_else(|errors| panic!("{errors}\n{block}"));
    }
}

#[test]
fn messages_in_the_documentation_are_those_that_are_given() {
    let text = documentation();
    let bad = blocks(&text, "yaml (with an error)");
    let said = blocks(&text, "text");
    assert!(!bad.is_empty());
    for (block, said) in bad.iter().zip(said) {
        let errors = Policy::parse(Path::new("policies/coder.yaml"), block.as_bytes()).unwrap_err();
        assert_eq!(errors.to_string(), said);
    }
}
