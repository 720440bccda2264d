//! A policy taken apart into statements that do not depend on one another.

use std::collections::BTreeMap;

use agentguard_common::net::Protocols;

use super::super::dns::short;
use super::super::model::{Match, Policy, User};
use super::super::network::Network;
use super::super::ports::{Ports, protocol_name};
use super::super::terms::{Subject, Term, of_names, of_rules};

/// The parts of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Policy,
    Egress,
    Files,
    Exec,
    Secrets,
}

impl Part {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Egress => "egress",
            Self::Files => "files",
            Self::Exec => "exec",
            Self::Secrets => "secrets",
        }
    }
}

/// A part, and what is spoken of.
pub(super) type Statement = (Part, String);

/// What a policy says, of everything that it speaks of.
pub(super) fn of(policy: &Policy) -> BTreeMap<Statement, String> {
    let mut all = super::written::of(policy);
    whole(policy, &mut all);
    let mut say = |part, subject: String, said: &str| {
        all.insert((part, subject), said.to_owned());
    };
    say(Part::Egress, "default".into(), policy.egress.default.as_str());
    of_rules(&policy.egress.rules).iter().for_each(|term| of_term(term, &mut say));
    of_names(&policy.egress.rules).iter().for_each(|term| of_term(term, &mut say));
    for rule in &policy.egress.rules {
        for socket in &rule.sockets {
            say(Part::Egress, socket.value.to_string(), rule.verdict.as_str());
        }
    }
    if let Some(files) = &policy.files {
        say(Part::Files, "default".into(), files.default.as_str());
        for rule in &files.rules {
            let paths = rule.paths.iter();
            paths.for_each(|path| say(Part::Files, path.value.to_string(), rule.verdict.as_str()));
        }
    }
    if let Some(exec) = &policy.exec {
        say(Part::Exec, "default".into(), exec.default.as_str());
        say(Part::Exec, "from_writable".into(), exec.from_writable.as_str());
        say(Part::Exec, "memory".into(), exec.memory.as_str());
        for rule in &exec.rules {
            let paths = rule.paths.iter();
            paths.for_each(|path| say(Part::Exec, path.value.to_string(), rule.verdict.as_str()));
        }
    }
    for path in &policy.secrets {
        say(Part::Secrets, path.value.to_string(), "secret");
    }
    all
}

/// What is said of the policy as a whole, and of looking up names.
fn whole(policy: &Policy, all: &mut BTreeMap<Statement, String>) {
    let mut say = |part, subject: &str, said: String| {
        all.insert((part, subject.to_owned()), said);
    };
    say(Part::Policy, "agent", policy.agent.clone());
    say(Part::Policy, "mode", policy.mode.as_str().into());
    if let Some(workspace) = &policy.workspace {
        say(Part::Policy, "workspace", workspace.display().to_string());
    }
    for found in &policy.matches {
        let what = match found {
            Match::Exe(path) => format!("match exe {}", path.display()),
            Match::User(User::Id(id)) => format!("match user {id}"),
            Match::User(User::Name(name)) => format!("match user {name}"),
            Match::Cgroup(path) => format!("match cgroup {}", path.display()),
            Match::Unit(unit) => format!("match unit {unit}"),
        };
        say(Part::Policy, &what, "take in".into());
    }
    let Some(dns) = policy.egress.lookups() else { return };
    say(Part::Egress, "tls", policy.egress.tls.as_str().into());
    say(Part::Egress, "dns floor", short(dns.floor));
    say(Part::Egress, "dns cap", short(dns.cap));
    let host = |address| Network::new(address, 128).to_string();
    let listed = dns.resolvers.iter().map(|resolver| host(*resolver));
    for resolver in listed.chain(dns.system.then(|| "system".into())) {
        say(Part::Egress, &format!("dns resolver {resolver}"), "ask".into());
    }
    for network in &dns.inside {
        say(Part::Egress, &format!("dns inside {network}"), "take".into());
    }
}

/// One statement for each protocol, as a rule for TCP and UDP says what two rules say. Of
/// statements on the same, the first decides: so are the terms of one subject in order.
fn of_term<S: Subject>(term: &Term<S>, say: &mut impl FnMut(Part, String, &str)) {
    let ports = match term.ports {
        Ports::ANY => "every port".to_owned(),
        ports => ports.to_string(),
    };
    for protocol in [Protocols::TCP, Protocols::UDP, Protocols::ICMP] {
        if term.protocols.meets(protocol) {
            let subject = match protocol {
                Protocols::ICMP => format!("{}, ping", term.subject),
                protocol => format!("{}, {ports}, {}", term.subject, protocol_name(protocol)),
            };
            say(Part::Egress, subject, term.verdict.as_str());
        }
    }
}
