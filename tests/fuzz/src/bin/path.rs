//! A pattern of a path is read or refused, written as it was read, and compiled; what walks
//! the automaton that comes of it stays within the tables, whatever the path.
//!
//! The first line of the bytes is the pattern, the rest the path.

#![no_main]

use std::path::{Path, PathBuf};

use agentguard::policy::{Access, Bindings, NoLinks, PathPattern, PathTable, Policy};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (Some(pattern), path) = (parts.next(), parts.next().unwrap_or_default()) else { return };
    let Ok(pattern) = std::str::from_utf8(pattern) else { return };
    let Ok(read) = PathPattern::parse(pattern) else { return };
    let shown = read.to_string();
    assert_eq!(PathPattern::parse(&shown), Ok(read), "{shown}");
    let quoted = shown.replace('\'', "''");
    let text = format!("version: 1\nagent: a\nfiles:\n  rules:\n    - deny: '{quoted}'\n");
    // Some characters cannot stand in YAML as they are.
    let Ok(policy) = Policy::parse(Path::new("p.yaml"), text.as_bytes()) else { return };
    let home = PathBuf::from("/home/u");
    let variables = policy.variables().into_iter().map(|name| (name.to_owned(), "/v".to_owned()));
    let bindings = Bindings {
        homes: vec![home.clone()],
        workspace: Some(home),
        variables: variables.collect(),
    };
    let Ok(Some(bound)) = policy.bind(&bindings, &NoLinks) else { return };
    let Ok(automaton) = bound.compile(&policy) else { return };
    let table = PathTable::new(&automaton);
    let read = table.decide(path, Access::Read);
    let write = table.decide(path, Access::Write);
    // Everything that may not be read may not be written.
    assert!(read.verdict.passes() || !write.verdict.passes());
});
