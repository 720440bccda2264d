//! Policies: what an agent may do, read from YAML, checked, and compiled into the
//! tables that the kernel decides by.
//!
//! The way through: `yaml` makes a tree that knows its places, `document` reads
//! the tree by the language's keys, `meaning` finds out what the values mean,
//! `check` holds the rules against one another, `compile` fills the tables.
//! Everything found wrong on the way is collected in a `report` and shown with
//! file, line, column and mend. The language is described for its users
//! in `docs/policy.md`.

mod amount;
mod asking;
mod builtin;
mod carry;
mod cases;
mod check;
mod compile;
mod compiled;
mod detect;
mod diff;
mod dns;
mod document;
mod error;
mod explain;
mod fields;
mod findings;
mod host;
mod limits;
mod meaning;
mod model;
mod names;
mod network;
mod paths;
mod place;
mod ports;
mod powers;
mod read;
mod report;
mod respond;
mod schema;
mod set;
mod shape;
mod socket;
mod tables;
mod taint;
mod target;
mod terms;
#[cfg(test)]
mod tests;
mod yaml;

use agentguard_common::egress::{BLOCK_RULES, INLINE_RULES};

pub use amount::size_text;
pub use builtin::{RULE_LOOKUP, RULE_LOOKUP_ID, RULE_MANAGERS, RULE_MANAGERS_ID, builtin_sockets};
pub use carry::Carried;
pub(crate) use cases::path_errors;
pub use cases::{CaseOutcome, run_cases};
pub use compiled::Compiled;
pub use detect::{DetectSection, Setting};
pub(crate) use diff::is_by_meaning;
pub use diff::{Answer, Change, Difference, VerdictChange};
pub use dns::Dns;
pub use error::{Excerpt, PolicyError, PolicyErrors, Problem};
pub use explain::explain;
pub use findings::{Confidence, Finding};
pub use host::HostName;
pub use limits::{Limits, LimitsSection, NotHere, Pace, Paces};
pub use model::{
    EgressRule, EgressSection, Match, Mode, Policy, RULE_METADATA, RULE_METADATA_ID, Tls, User,
};
pub use network::{Network, address_of};
pub(crate) use paths::is_variable;
pub use paths::{
    Access, Automaton, Base, BindError, Bindings, BoundPaths, ExecSection, FilesSection, Grant,
    HostLinks, Links, MAX_PATH_EDGES, MAX_PATH_ROWS, NoLinks, PATH_MAX, PathPattern, PathRule,
    PathTable, TooLarge, check_workspace, real_place, rows_at,
};
pub use place::{Place, Sited};
pub use ports::Ports;
pub use respond::{Counted, LimitName, MAX_RESPONSES, Response, Step, When};
pub use schema::schema;
pub use set::PolicySet;
pub use socket::SocketName;
pub(crate) use target::Target;

/// How long a policy file may be.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;
/// How many values and keys a policy file may hold.
pub const MAX_NODES: usize = 2_000_000;
/// How many rules a policy may have.
pub const MAX_RULES: usize = 100_000;
/// How many pairs of a network or name and a port range its rules may make up.
pub const MAX_TERMS: usize = 262_144;
/// How many port rules may apply to one network or name, those of what covers it
/// included and those that can never decide left out.
pub const MAX_PORT_RULES: usize = INLINE_RULES + BLOCK_RULES;
/// How many resolvers a policy may list by address.
pub const MAX_RESOLVERS: usize = 8;
/// How many networks of this host and its surroundings a policy may let names lead to.
pub const MAX_INSIDE: usize = agentguard_common::egress::MAX_INSIDE;
/// How many errors are kept for one file.
pub const MAX_ERRORS: usize = 100;
