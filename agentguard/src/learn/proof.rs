//! Holds a policy against what was seen, by the evaluator that the kernel runs.

use std::path::Path;

use agentguard_common::net::{Destination, Protocols};
use agentguard_common::verdict::{RULE_NONE, Reason, Ruling, Verdict};

use super::Given;
use super::base::act_in_words;
use super::seen::{Act, Seen};
use crate::policy::{
    Bindings, Compiled, NoLinks, PathTable, Policy, PolicyErrors, address_of, path_errors,
};

/// What is said where nothing looks.
const FREE: Ruling = Ruling { verdict: Verdict::Allow, reason: Reason::Default, rule: RULE_NONE };
/// What is said to what no rule allows.
const CLOSED: Ruling = Ruling::closed(Reason::Default);

/// A policy that can be asked about what was seen.
pub(super) struct Decider<'p> {
    policy: &'p Policy,
    compiled: Compiled,
    paths: Option<PathTable>,
}

impl<'p> Decider<'p> {
    /// Compiles a policy for the session that was seen.
    ///
    /// # Errors
    ///
    /// Where it does not compile, or a variable in it is not known.
    pub(super) fn new(policy: &'p Policy, given: &Given) -> Result<Self, PolicyErrors> {
        let bindings = Bindings {
            homes: given.home.iter().cloned().collect(),
            workspace: given.workspace.clone().or_else(|| policy.workspace.clone()),
            ..Bindings::default()
        };
        // What was seen are real places already.
        let bound =
            policy.bind(&bindings, &NoLinks).map_err(|error| path_errors(policy, &error))?;
        let automaton = bound.map(|bound| bound.compile(policy)).transpose()?;
        Ok(Self {
            policy,
            compiled: policy.compile()?,
            paths: automaton.map(|automaton| PathTable::new(&automaton)),
        })
    }

    /// What it says to an act.
    pub(super) fn decide(&self, act: &Act) -> Ruling {
        let said = |yes| if yes { FREE } else { CLOSED };
        match act {
            Act::Ask(_) if self.policy.egress.lookups().is_none() => FREE,
            Act::Ask(name) => self.compiled.ask(name),
            Act::Connect { name, address, port, protocol } => {
                let to = Destination { address: address_of(*address), port: *port };
                let protocol = Protocols(*protocol);
                let of_address = self.compiled.decide(to, protocol);
                match name {
                    // A rule on the address goes first, and the name's before the default.
                    Some(name) if of_address.rule == RULE_NONE => {
                        self.compiled.decide_name(name, *port, protocol)
                    }
                    _ => of_address,
                }
            }
            Act::Unix(name) => {
                let name = name.strip_prefix('@').map_or(name.clone(), |name| format!("\0{name}"));
                self.compiled.decide_socket(name.as_bytes()).unwrap_or(CLOSED)
            }
            Act::Resolver(address) => {
                let dns = self.policy.egress.lookups();
                said(dns.is_none_or(|dns| dns.resolvers.contains(&address_of(*address))))
            }
            Act::Memory => {
                let exec = self.policy.exec.as_ref();
                said(exec.is_none_or(|exec| exec.memory == Verdict::Allow))
            }
            Act::Read(_) | Act::Write { .. } | Act::Exec(_) | Act::Map(_) => {
                let decide = |paths: &PathTable| {
                    let (path, access) = act.path()?;
                    Some(paths.decide(path.as_bytes(), access))
                };
                self.paths.as_ref().map_or(FREE, |paths| decide(paths).unwrap_or(CLOSED))
            }
        }
    }
}

/// What a policy says of what was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// How many different acts were held against it.
    pub checked: usize,
    /// Those that it refuses, in words.
    pub refused: Vec<String>,
}

impl Proof {
    /// Reads a policy's text and holds it against everything that was seen.
    ///
    /// # Errors
    ///
    /// Where the text is no policy.
    pub(super) fn new(text: &str, seen: &Seen, given: &Given) -> Result<Self, PolicyErrors> {
        let policy = Policy::parse(Path::new("(the learned policy)"), text.as_bytes())?;
        policy.check_paths()?;
        let decider = Decider::new(&policy, given)?;
        let refused = |act: &&Act| !decider.decide(act).verdict.passes() && !is_harmless(act);
        let refused = seen.acts.keys().filter(refused).map(act_in_words).collect();
        Ok(Self { checked: seen.acts.len(), refused })
    }
}

/// Devices that keep nothing are never refused by a default.
fn is_harmless(act: &Act) -> bool {
    let devices = ["null", "zero", "full", "random", "urandom", "tty", "ptmx"];
    act.path()
        .and_then(|(path, _)| path.strip_prefix("/dev/"))
        .is_some_and(|device| devices.contains(&device) || device.starts_with("pts/"))
}
