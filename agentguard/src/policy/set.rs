//! The policies of a directory, by agent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::{PolicyErrors, Problem};
use super::model::Policy;

/// Policies by the name of the agent they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySet {
    policies: BTreeMap<String, Policy>,
}

impl PolicySet {
    /// Reads every `*.yaml` and `*.yml` in a directory, apart from hidden files,
    /// in the order of their names. A directory without any gives an empty set.
    ///
    /// # Errors
    ///
    /// Where the directory or a file cannot be read, everything that is wrong with
    /// any of the files, and two files for one agent.
    pub fn load_dir(directory: &Path) -> Result<Self, PolicyErrors> {
        let files = files(directory).map_err(|error| {
            PolicyErrors::whole(directory, Problem::Unreadable(error.to_string()), None)
        })?;
        let mut set = Self::default();
        let mut errors: Option<PolicyErrors> = None;
        for file in files {
            if let Err(found) = Policy::load(&file).and_then(|policy| set.add(policy)) {
                match &mut errors {
                    Some(errors) => errors.extend(found),
                    None => errors = Some(found),
                }
            }
        }
        errors.map_or(Ok(set), Err)
    }

    /// Adds a policy.
    ///
    /// # Errors
    ///
    /// Where there is one for its agent already.
    pub fn add(&mut self, policy: Policy) -> Result<(), PolicyErrors> {
        if let Some(other) = self.policies.get(&policy.agent) {
            let (agent, other) = (policy.agent.clone(), other.path.display().to_string());
            let problem = Problem::DuplicateAgent { agent, other };
            let mend = "join the two files, or give one of them another agent";
            return Err(PolicyErrors::whole(&policy.path, problem, Some(mend)));
        }
        self.policies.insert(policy.agent.clone(), policy);
        Ok(())
    }

    /// The policy of an agent.
    #[must_use]
    pub fn get(&self, agent: &str) -> Option<&Policy> {
        self.policies.get(agent)
    }

    /// The policies in the order of their agents' names.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.policies.values()
    }

    /// How many policies there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }
}

fn files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        // Editors keep hidden files beside those that they have open.
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let yaml = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
        if yaml && !hidden {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}
