//! Says in words what the sections on paths mean.

use std::fmt::Write;

use agentguard_common::verdict::Verdict;

use super::super::model::Policy;
use super::super::place::Sited;
use super::super::report::visible;
use super::model::{ExecSection, FilesSection, Grant};
use super::pattern::PathPattern;

/// The sections, in words, over several lines.
pub(in super::super) fn explain(out: &mut String, policy: &Policy) -> std::fmt::Result {
    writeln!(out, "\nFiles")?;
    match &policy.files {
        Some(section) => files(out, section)?,
        None => writeln!(out, "  Nothing is said of them: the host's own permissions hold.")?,
    }
    writeln!(out, "\nPrograms")?;
    match &policy.exec {
        Some(section) => exec(out, section)?,
        None => writeln!(out, "  Nothing is said of them: the host's own permissions hold.")?,
    }
    if !policy.secrets.is_empty() {
        writeln!(out, "\nSecrets")?;
        writeln!(out, "  Reading these taints the session: {}.", listed(&policy.secrets))?;
    }
    if policy.has_paths() {
        writeln!(
            out,
            "\n  A path stands for itself and all below. Where several rules match: the one that \
             matches\n    furthest down decides, then a name at the end before a pattern, then the \
             fewest\n    wildcards, then the most bytes given; then deny beats ask beats read beats \
             write."
        )?;
    }
    if let Some(workspace) = policy.workspace.as_ref().filter(|_| policy.uses_workspace()) {
        writeln!(out, "  ${{workspace}}, where nothing else is given: {}.", workspace.display())?;
    }
    Ok(())
}

fn files(out: &mut String, section: &FilesSection) -> std::fmt::Result {
    for rule in &section.rules {
        writeln!(out, "  {}: {} {}.", rule.id, words(rule.verdict), listed(&rule.paths))?;
    }
    writeln!(out, "  Where no rule matches: {}.", words(section.default))
}

const fn words(grant: Grant) -> &'static str {
    match grant {
        Grant::Write => "read and write",
        Grant::Read => "read only",
        Grant::Ask => "ask before reading or writing",
        Grant::Deny => "neither read nor write",
    }
}

fn exec(out: &mut String, section: &ExecSection) -> std::fmt::Result {
    for rule in &section.rules {
        writeln!(out, "  {}: {} {}.", rule.id, rule.verdict.as_str(), listed(&rule.paths))?;
    }
    writeln!(out, "  Where no rule matches: {}.", section.default.as_str())?;
    let memory = section.memory.as_str();
    writeln!(out, "  Programs in memory, and deleted ones: {memory}.")?;
    if section.from_writable == Verdict::Deny {
        writeln!(out, "  What the session may write: deny.")?;
    }
    Ok(())
}

fn listed(paths: &[Sited<PathPattern>]) -> String {
    let shown = paths.iter().map(|path| path.value.to_string());
    let all = shown.collect::<Vec<_>>().join(", ");
    all.chars().map(visible).collect()
}
