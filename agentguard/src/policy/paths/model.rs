//! What a policy says of files and programs, once it has been read and checked.

use agentguard_common::path::Right;
use agentguard_common::verdict::Verdict;

use super::super::place::{Place, Sited};
use super::pattern::PathPattern;

/// What may be done with a file. The greater one wins where nothing else tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grant {
    /// Reading and writing.
    Write,
    /// Reading, and no writing.
    #[default]
    Read,
    /// Nothing until a person has said so.
    Ask,
    /// Nothing.
    Deny,
}

impl Grant {
    /// The word used in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }

    /// What it says to reading and to writing, by a rule.
    #[must_use]
    pub const fn rights(self, rule: u32) -> (Right, Right) {
        let (read, write) = match self {
            Self::Write => (Verdict::Allow, Verdict::Allow),
            Self::Read => (Verdict::Allow, Verdict::Deny),
            Self::Ask => (Verdict::Ask, Verdict::Ask),
            Self::Deny => (Verdict::Deny, Verdict::Deny),
        };
        (Right::new(read, rule), Right::new(write, rule))
    }
}

/// One rule on paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRule<V> {
    /// Its number among all rules of the policy, from 1; what the kernel's rulings carry.
    pub number: u32,
    /// Its id.
    pub id: String,
    /// What it says.
    pub verdict: V,
    /// Of which paths.
    pub paths: Vec<Sited<PathPattern>>,
    /// Where it stands in the file.
    pub place: Place,
}

/// The rules on files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesSection {
    /// What holds where no rule matches: read, write or deny.
    pub default: Grant,
    /// The rules, in the order of the file.
    pub rules: Vec<PathRule<Grant>>,
}

/// The rules on programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecSection {
    /// What holds where no rule matches: allow or deny.
    pub default: Verdict,
    /// The rules, in the order of the file.
    pub rules: Vec<PathRule<Verdict>>,
    /// Whether what the session may write may be executed: allow or deny.
    pub from_writable: Verdict,
    /// Whether programs without a path may be executed: allow or deny.
    pub memory: Verdict,
}
