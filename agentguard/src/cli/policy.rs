//! `policy`: checking, explaining and trying policy files, without kernel or daemon.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use crate::error::Result;
use crate::policy::{self, Policy, PolicySet};

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
        PolicyCommand::Test { policy, cases } => test(policy, cases),
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
        println!(
            "{}: agent {}, {} egress rules, {} kernel entries",
            policy.path.display(),
            policy.agent,
            policy.egress.rules.len(),
            compiled.egress.len(),
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn test(path: &Path, cases: &Path) -> Result<ExitCode> {
    let outcomes = policy::run_cases(&Policy::load(path)?, cases)?;
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
