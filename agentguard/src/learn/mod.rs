//! Learning: a policy from what a session did while nothing was refused to it.
//!
//! The way through: the daemon runs the session under a policy that lets everything through and
//! tells of everything (`watched`); `seen` collects what the events say; `network`, `files` and
//! `programs` make rules of it, by the rules of thumb in `docs/policy.md` under "Learning";
//! `base` puts in what an existing policy says already; `draft` writes the file; `proof` holds
//! the file against what was seen, by the evaluator that the kernel runs.

mod base;
mod draft;
mod files;
mod group;
mod network;
mod place;
mod programs;
mod proof;
mod secrets;
mod seen;
#[cfg(test)]
mod tests;
mod watched;

use std::path::PathBuf;

pub use proof::Proof;
pub use seen::Seen;
pub use watched::watched;

use crate::policy::{Policy, PolicyErrors};

/// What a policy is learned for.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The agent.
    pub agent: String,
    /// The directory that the agent worked in; `None` where it can be no workspace.
    pub workspace: Option<PathBuf>,
    /// The home of the session's user, where it has one.
    pub home: Option<PathBuf>,
    /// Whether names of one domain are put together under a star.
    pub group: bool,
    /// What the session ran, for people to read.
    pub command: String,
}

/// What was learned.
#[derive(Clone, Debug)]
pub struct Learned {
    /// The policy, as YAML.
    pub text: String,
    /// What it was held against.
    pub proof: Proof,
    /// What the policy that was gone on from says, and this one does not: nothing, unless that
    /// is written in an unusual way.
    pub lost: Vec<String>,
}

/// Makes a policy of what was seen. What `base` says stays as it is.
///
/// # Errors
///
/// Where `base` does not compile, or what was learned together with it is too large.
pub fn learn(seen: &Seen, given: &Given, base: Option<&Policy>) -> Result<Learned, PolicyErrors> {
    let known = base.map(|base| base::Known::new(base, given)).transpose()?;
    let new = known.as_ref().map_or_else(|| seen.clone(), |known| known.unsaid(seen));
    let mut draft = draft::Draft::new(given, &new, base);
    network::draft(&new, given, base, &mut draft);
    if base.is_none_or(|base| base.files.is_some()) {
        files::draft(&new, given, base, &mut draft);
    }
    if base.is_none_or(|base| base.exec.is_some()) {
        programs::draft(&new, given, base, &mut draft);
    }
    let text = draft.text();
    let proof = Proof::new(&text, seen, given)?;
    let lost = base.map(|base| base::lost(base, &text)).transpose()?.unwrap_or_default();
    Ok(Learned { text, proof, lost })
}
