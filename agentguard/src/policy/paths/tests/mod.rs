//! Tests of rules on paths.

mod bindings;
mod decisions;
mod messages;
mod oracle;
mod random;
mod size;

use std::path::{Path, PathBuf};

use agentguard_common::verdict::{Ruling, Verdict};

use super::super::Policy;
use super::bind::{Bindings, NoLinks};
use super::table::{Access, PathTable};

/// A policy of which the sections on paths are given.
pub(super) fn policy(sections: &str) -> Policy {
    let text = format!("version: 1\nagent: coder\n{sections}");
    Policy::parse(Path::new("p.yaml"), text.as_bytes())
        .unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

/// Bindings for bob, who works in `/home/bob/project`.
pub(super) fn bob() -> Bindings {
    Bindings {
        homes: vec![PathBuf::from("/home/bob")],
        workspace: Some(PathBuf::from("/home/bob/project")),
        ..Bindings::default()
    }
}

/// The tables of a policy for bob.
pub(super) fn table(policy: &Policy) -> PathTable {
    let bound = policy.bind(&bob(), &NoLinks).unwrap_or_else(|error| panic!("{error}"));
    let bound = bound.expect("the policy speaks of paths");
    let automaton = bound.compile(policy).unwrap_or_else(|errors| panic!("{errors}"));
    PathTable::new(&automaton)
}

/// What is said to a path, by which rule: `read`, `write` and `exec`.
pub(super) fn said(policy: &Policy, table: &PathTable, path: &str) -> [(Verdict, String); 3] {
    [Access::Read, Access::Write, Access::Exec].map(|access| {
        let Ruling { verdict, rule, .. } = table.decide(path.as_bytes(), access);
        (verdict, policy.rule_id(rule).unwrap_or("default").to_owned())
    })
}
