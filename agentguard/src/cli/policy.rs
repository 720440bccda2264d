//! `policy`: checking, explaining and trying policy files, without kernel or daemon; and
//! putting them into force.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::run::variable;
use super::sessions::unexpected;
use crate::api::{Client, Request, Response};
use crate::daemon::{Applied, Kept, PolicyChange, PolicyStep};
use crate::error::{Error, Result};
use crate::policy::{self, Bindings, Difference, EgressRule, Policy, PolicySet};

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Say what is wrong with policy files, or that nothing is
    Check {
        /// Files, or directories of *.yaml files
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Say in words what a policy means
    Explain {
        /// The file
        path: PathBuf,
    },
    /// Try cases on a policy, without a kernel
    Test {
        /// The policy
        policy: PathBuf,
        /// The cases
        cases: PathBuf,
        /// What ${workspace} stands for
        #[arg(long, value_name = "DIR")]
        workspace: Option<PathBuf>,
        /// What ~ stands for
        #[arg(long, value_name = "DIR")]
        home: Option<PathBuf>,
        /// What ${NAME} stands for
        #[arg(long, value_name = "NAME=PATH", value_parser = variable)]
        set: Vec<(String, String)>,
    },
    /// Say how two policies differ, and where that makes another verdict. Exits with 1 where
    /// they do
    Diff {
        /// The old one
        old: PathBuf,
        /// The new one
        new: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Put what the daemon's policy files say into force, for running sessions too (needs
    /// root and the daemon). Exits with 1 where a session goes on under the policy of before
    Apply {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of policy files
    Schema,
}

pub(super) fn policy(command: &PolicyCommand, socket: &Path) -> Result<ExitCode> {
    match command {
        PolicyCommand::Check { paths } => check(paths),
        PolicyCommand::Explain { path } => {
            print!("{}", policy::explain(&Policy::load(path)?));
            Ok(ExitCode::SUCCESS)
        }
        PolicyCommand::Test { policy, cases, workspace, home, set } => {
            let given = Bindings {
                homes: home.iter().cloned().collect(),
                workspace: workspace.clone(),
                variables: set.iter().cloned().collect(),
            };
            test(policy, cases, &given)
        }
        PolicyCommand::Diff { old, new, json } => diff(old, new, *json),
        PolicyCommand::Apply { json } => apply(*json, socket),
        PolicyCommand::Schema => {
            println!("{:#}", policy::schema());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(paths: &[PathBuf]) -> Result<ExitCode> {
    let mut set = PolicySet::default();
    for path in paths {
        if path.is_dir() {
            for policy in PolicySet::load_dir(path)?.iter() {
                set.add(policy.clone())?;
            }
        } else {
            set.add(Policy::load(path)?)?;
        }
    }
    for policy in set.iter() {
        println!("{}", checked(policy)?);
    }
    let policies = set.len();
    println!("{policies} {} in order", if policies == 1 { "policy is" } else { "policies are" });
    Ok(ExitCode::SUCCESS)
}

/// What was checked of a policy, in numbers.
fn checked(policy: &Policy) -> Result<String> {
    let compiled = policy.compile()?;
    let rules = &policy.egress.rules;
    let count = |of: fn(&EgressRule) -> usize| rules.iter().map(of).sum::<usize>();
    let (networks, names) = (count(|rule| rule.networks.len()), count(|rule| rule.names.len()));
    let sockets = count(|rule| rule.sockets.len());
    let mut text = format!(
        "{}: agent {}, {} egress rules ({networks} networks, {names} names, {sockets} unix sockets), \
         {} kernel entries",
        policy.path.display(),
        policy.agent,
        rules.len(),
        compiled.egress.len() + compiled.names.len() + compiled.sockets.len(),
    );
    if let Some(paths) = policy.check_paths()? {
        let (rules, edges, rows) = (policy.path_rules(), paths.edges(), paths.rows());
        let secrets = policy.secrets.len();
        text += &format!(", {rules} rules on paths, {secrets} secrets, {edges} edges, {rows} rows");
    }
    Ok(text)
}

fn diff(old: &Path, new: &Path, json: bool) -> Result<ExitCode> {
    let found = Difference::of(&Policy::load(old)?, &Policy::load(new)?)?;
    if json {
        let text = serde_json::to_string(&found);
        println!("{}", text.map_err(|error| Error::Protocol(error.to_string()))?);
    } else if found.is_empty() {
        println!("the two say the same");
    } else {
        print!("{found}");
    }
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn apply(json: bool, socket: &Path) -> Result<ExitCode> {
    let applied = match Client::connect(socket)?.ask(&Request::Apply, None)?.0 {
        Response::Applied { applied } => applied,
        other => return Err(unexpected(&other)),
    };
    if json {
        let text = serde_json::to_string(&applied);
        println!("{}", text.map_err(|error| Error::Protocol(error.to_string()))?);
    } else {
        print!("{}", in_words(&applied));
    }
    Ok(if applied.kept.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn in_words(applied: &Applied) -> String {
    let mut text = String::new();
    for PolicyChange { agent, change, sessions, .. } in &applied.changes {
        text += &match change {
            PolicyStep::Added => format!("{agent}: declared\n"),
            PolicyStep::Removed => {
                format!("{agent}: not declared any more; its sessions keep their policy\n")
            }
            PolicyStep::Changed => format!("{agent}: changed for {sessions} sessions\n"),
        };
    }
    if applied.changes.is_empty() {
        text += "nothing has changed\n";
    }
    for Kept { session, why } in &applied.kept {
        text += &format!("session {session} keeps its policy: {why}\n");
    }
    text
}

fn test(path: &Path, cases: &Path, given: &Bindings) -> Result<ExitCode> {
    let outcomes = policy::run_cases(&Policy::load(path)?, cases, given)?;
    for outcome in &outcomes {
        let mark = if outcome.passed() { "ok" } else { "FAILED" };
        println!(
            "{mark:<6} {:<40} {} by {}, expected {}",
            outcome.connect,
            outcome.ruling.verdict.as_str(),
            outcome.rule.as_deref().unwrap_or("the default"),
            outcome.expect.as_str(),
        );
    }
    Ok(if outcomes.iter().all(policy::CaseOutcome::passed) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_checked_is_counted() {
        let text = "version: 1\nagent: a\negress:\n  rules:\n    - allow: [a.test, '*.b.test', 10.0.0.1, 'unix:/x']\nfiles:\n  rules:\n    - deny: [/x, /y]\nsecrets: [/z]\n";
        let policy = Policy::parse(Path::new("p.yaml"), text.as_bytes()).unwrap();
        let said = checked(&policy).unwrap();
        let start = "p.yaml: agent a, 1 egress rules (1 networks, 2 names, 1 unix sockets), ";
        assert!(said.starts_with(start), "{said}");
        assert!(said.contains(", 1 rules on paths, 1 secrets, "), "{said}");
    }
}
