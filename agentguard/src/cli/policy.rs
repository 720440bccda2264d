//! `policy`: checking, explaining and trying policy files, without kernel or daemon.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::run::variable;
use crate::error::Result;
use crate::policy::{self, Bindings, Policy, PolicySet};

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
    /// Print the JSON Schema of policy files
    Schema,
}

pub(super) fn policy(command: &PolicyCommand) -> Result<ExitCode> {
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
        let compiled = policy.compile()?;
        let paths = policy.check_paths()?;
        let paths = paths.map(|paths| {
            let (rules, edges, rows) = (policy.path_rules(), paths.edges(), paths.rows());
            format!(", {rules} rules on paths, {edges} edges, {rows} rows")
        });
        println!(
            "{}: agent {}, {} egress rules, {} kernel entries{}",
            policy.path.display(),
            policy.agent,
            policy.egress.rules.len(),
            compiled.egress.len(),
            paths.unwrap_or_default(),
        );
    }
    Ok(ExitCode::SUCCESS)
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
