//! What can be wrong with a policy, as types; [`super::report`] collects the
//! findings and puts them into words with the line and the mend.

use std::path::PathBuf;

use super::place::Place;

/// One thing that is wrong with a policy file (or a file of cases).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// The file.
    pub path: PathBuf,
    /// Where in the file; `None` where it is about the file as a whole.
    pub place: Option<Place>,
    /// The line in question.
    pub excerpt: Option<Excerpt>,
    /// What is wrong.
    pub problem: Problem,
    /// What to write instead.
    pub mend: Option<String>,
}

/// A line of a file, as far as it is worth showing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The text, control characters replaced, cut where it is very long.
    pub text: String,
    /// How many characters stand before the one in question.
    pub before: usize,
}

/// Everything found wrong, in the order of the files and their lines; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyErrors {
    /// The errors, at most [`super::MAX_ERRORS`] for one file.
    pub errors: Vec<PolicyError>,
    /// How many more there are.
    pub left_out: usize,
}

impl std::error::Error for PolicyError {}
impl std::error::Error for PolicyErrors {}

/// What is wrong. Texts from the file are kept as they are to be shown: without
/// control characters and not too long.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be opened or read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// The file is longer than [`super::MAX_BYTES`].
    #[error("too big: a policy has at most {} bytes", super::MAX_BYTES)]
    TooBig,
    /// The file is not UTF-8.
    #[error("not UTF-8 text")]
    NotUtf8,
    /// There is nothing in the file.
    #[error("lists nothing: the file is empty")]
    EmptyFile,
    /// The file is not YAML.
    #[error("not YAML: {0}")]
    Syntax(String),
    /// A second YAML document in one file.
    #[error("a second document: a file holds one policy")]
    SecondDocument,
    /// YAML's anchors, aliases and tags.
    #[error("{0} are not part of the policy language")]
    Indirection(&'static str),
    /// The YAML holds more values than any policy needs.
    #[error("more than {} values in one file", super::MAX_NODES)]
    TooManyValues,
    /// A key twice in one map.
    #[error("duplicate key: {key}, first on line {first}")]
    DuplicateKey {
        /// The key.
        key: String,
        /// The line of the first one.
        first: u32,
    },
    /// A key that the language does not have.
    #[error("unknown key: {key} in {section}")]
    UnknownKey {
        /// The key.
        key: String,
        /// What it stands in.
        section: &'static str,
    },
    /// A part of the language that this version cannot enforce.
    #[error("not supported yet: {0}")]
    NotSupported(String),
    /// A key that has to be there.
    #[error("missing: {key} in {section}")]
    Missing {
        /// The key, or the keys of which one has to be there.
        key: &'static str,
        /// What it has to stand in.
        section: &'static str,
    },
    /// Text for a list, a list for a number and the like.
    #[error("wrong type: {key} takes {expected}, not {found}")]
    WrongType {
        /// The key.
        key: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What was written.
        found: &'static str,
    },
    /// A key without a value, or a list without an item, where that means nothing.
    #[error("lists nothing: {0} is empty")]
    EmptyValue(&'static str),
    /// A word that is none of those the key takes.
    #[error("bad value: {key} is {value}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// What was written.
        value: String,
    },
    /// A version other than 1.
    #[error("bad version: {0}")]
    BadVersion(String),
    /// An agent's name that is not one.
    #[error("bad agent name: {0}")]
    BadAgent(String),
    /// A rule's id that is not one.
    #[error("bad id: {0}")]
    BadId(String),
    /// One id for two rules.
    #[error("duplicate id: {id} is the rule on line {first}")]
    DuplicateId {
        /// The id.
        id: String,
        /// The line of the rule that has it.
        first: u32,
    },
    /// An address or a network that is not one.
    #[error("bad CIDR: {text} {why}")]
    BadCidr {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A host's name that is not one.
    #[error("bad name: {text} {why}")]
    BadName {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An address of a resolver that is not one.
    #[error("bad resolver: {text} {why}")]
    BadResolver {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A length of time that is not one, or not one that the key takes.
    #[error("bad duration: {key} is {text}, which {why}")]
    BadDuration {
        /// The key.
        key: &'static str,
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An amount that is not one, or not one that the key takes.
    #[error("bad amount: {key} is {text}, which {why}")]
    BadAmount {
        /// The key.
        key: &'static str,
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A condition of a response that is not one.
    #[error("bad condition: {text} {why}")]
    BadCondition {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A condition of a response that can never hold.
    #[error("never holds: {what}")]
    NeverHolds {
        /// What was written.
        what: String,
    },
    /// A limit that this host cannot enforce.
    #[error("limits.{key} cannot be enforced on this host: {why}")]
    NotOnThisHost {
        /// The key below `limits`.
        key: &'static str,
        /// What is missing.
        why: String,
    },
    /// More items than a key takes.
    #[error("too many {key}: {count}, of at most {max}")]
    TooMany {
        /// The key.
        key: &'static str,
        /// How many were written.
        count: usize,
        /// How many there can be.
        max: usize,
    },
    /// A port or a range of ports that is not one.
    #[error("bad port: {text} {why}")]
    BadPort {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A unix socket's name that is none.
    #[error("bad unix socket: {text} {why}")]
    BadSocket {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A path that is none.
    #[error("bad path: {text} {why}")]
    BadPath {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A variable in the policy of processes that are taken in, for which nobody gives it.
    #[error("{variable} stands for nothing in sessions that `match` takes in")]
    UnboundVariable {
        /// The variable.
        variable: String,
    },
    /// A pattern with which the automaton of paths becomes too large.
    #[error("too large for the kernel's tables: with {pattern} there are more than {max} {what}")]
    PathsTooLarge {
        /// The pattern.
        pattern: String,
        /// What there are too many of.
        what: &'static str,
        /// How many there can be.
        max: usize,
    },
    /// A key where it says nothing, or too much.
    #[error("{key} in {what}")]
    Misplaced {
        /// The key, with its value where that matters.
        key: &'static str,
        /// Where it stands.
        what: &'static str,
    },
    /// Ports or a protocol in a rule that has no use for them.
    #[error("{key} in a rule for {what}")]
    OutOfPlace {
        /// The key.
        key: &'static str,
        /// What the rule is for.
        what: &'static str,
    },
    /// Something in `match` that cannot name a process.
    #[error("bad match: {text} {why}")]
    BadMatch {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// More than one of `allow`, `ask` and `deny` in one rule.
    #[error("two verdicts in one rule")]
    TwoVerdicts,
    /// What a session gives does not suit the policy.
    #[error("{0}")]
    Binding(String),
    /// More than one of `connect`, `ask`, `read`, `write` and `exec` in one case.
    #[error("two places in one case")]
    TwoPlaces,
    /// A case that asks for a name, of a policy that does not look at questions.
    #[error("the policy has no rules by name, so nothing decides which names may be asked for")]
    NoLookups,
    /// Two ways to recognise a process in one match.
    #[error("two keys in one match")]
    TwoMatches,
    /// The same thing said twice.
    #[error("repeated rule: {what} is already on line {first}")]
    Repeated {
        /// Verdict, network or name, port and protocol.
        what: String,
        /// The line that says it first.
        first: u32,
    },
    /// A thing said, and its opposite.
    #[error("contradiction: {what}, but line {first} says {other}")]
    Contradiction {
        /// Verdict, network or name, port and protocol.
        what: String,
        /// The line that says the opposite.
        first: u32,
        /// The verdict there.
        other: &'static str,
    },
    /// A rule that can never decide.
    #[error(
        "unreachable rule: {id} never decides, \
         more specific rules for the same networks and names cover all of it"
    )]
    Unreachable {
        /// The rule's id.
        id: String,
    },
    /// More than [`super::MAX_RULES`] rules.
    #[error("too many rules: {0}, of at most {max}", max = super::MAX_RULES)]
    TooManyRules(usize),
    /// More than [`super::MAX_TERMS`] pairs of a network or name and a port range.
    #[error(
        "too many rules: more than {} pairs of a network or name and a port range",
        super::MAX_TERMS
    )]
    TooManyTerms,
    /// More port rules for one network or name than the kernel can hold.
    #[error(
        "too many port rules: more than {max} apply to {subject} (rule {id})",
        max = super::MAX_PORT_RULES
    )]
    TooManyPortRules {
        /// The network or name.
        subject: String,
        /// The rule that speaks of it.
        id: String,
    },
    /// A policy for which the kernel's tables have no room.
    #[error("too large for the kernel's tables: {count} {what}, of at most {max}")]
    TooLarge {
        /// How many.
        count: usize,
        /// Of what.
        what: &'static str,
        /// How many there can be.
        max: u32,
    },
    /// Two files for one agent.
    #[error("two policies for agent {agent}: the other is {other}")]
    DuplicateAgent {
        /// The agent.
        agent: String,
        /// The other file.
        other: String,
    },
}
