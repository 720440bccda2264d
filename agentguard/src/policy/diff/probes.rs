//! Questions that are put to two policies: of what the rules of either speak of, examples.

use std::collections::BTreeSet;

use agentguard_common::net::Address;
use agentguard_common::verdict::{RULE_NONE, Reason, Ruling, Verdict};

use super::super::compiled::Compiled;
use super::super::error::PolicyErrors;
use super::super::model::Policy;
use super::super::network::Network;
use super::super::paths::{Access, Bindings, NoLinks, PathTable};
use super::super::ports::Ports;
use super::super::target::Target;
use super::super::terms::{of_names, of_rules};
use super::{Answer, VerdictChange};

/// What is said where nothing looks.
const FREE: Ruling = Ruling { verdict: Verdict::Allow, reason: Reason::Default, rule: RULE_NONE };
/// Places that no policy speaks of: documentation's own (RFC 5737, RFC 6761).
const ANYWHERE: &[&str] = &[
    "tcp://198.51.100.7:443",
    "udp://198.51.100.7:443",
    "icmp://198.51.100.7",
    "unix:/any/socket",
];
/// A name and a path likewise.
const ANY_NAME: &str = "any-name.example";
const ANY_PATH: &str = "/any-directory/any-file";
/// A label, and a name of a file, that stand for all others.
const OTHER: &str = "any-other";

/// A policy that can be asked.
struct Side<'p> {
    policy: &'p Policy,
    compiled: Compiled,
    paths: Option<PathTable>,
}

impl<'p> Side<'p> {
    fn new(policy: &'p Policy, bindings: &Bindings) -> Result<Self, PolicyErrors> {
        let known = policy.variables();
        let mut bindings = bindings.clone();
        bindings.variables.retain(|name, _| known.contains(name.as_str()));
        let bound = policy.bind(&bindings, &NoLinks);
        let bound = bound.map_err(|error| super::super::path_errors(policy, &error))?;
        let automaton = bound.map(|bound| bound.compile(policy)).transpose()?;
        let paths = automaton.map(|automaton| PathTable::new(&automaton));
        Ok(Self { policy, compiled: policy.compile()?, paths })
    }

    fn answer(&self, question: &Question) -> Answer {
        let ruling = match question {
            Question::Place(Target::Ask(_)) if self.policy.egress.lookups().is_none() => FREE,
            Question::Place(target) => target.decide(&self.compiled),
            Question::Path(path, access) => {
                self.paths.as_ref().map_or(FREE, |paths| paths.decide(path, access.0))
            }
        };
        let rule = (ruling.rule != RULE_NONE).then(|| self.policy.rule_id(ruling.rule)).flatten();
        Answer { verdict: ruling.verdict.as_str(), rule: rule.map(str::to_owned) }
    }
}

/// A question.
enum Question {
    Place(Target),
    Path(Vec<u8>, Deed),
}

/// What is done with a path, and how that is called.
struct Deed(Access, &'static str);

/// What is asked of each path.
const DEEDS: [Deed; 3] =
    [Deed(Access::Read, "read"), Deed(Access::Write, "write"), Deed(Access::Exec, "exec")];

/// Questions that two policies answer with another verdict.
pub(super) fn compared(old: &Policy, new: &Policy) -> Result<Vec<VerdictChange>, PolicyErrors> {
    // The same places for both, or else all that begins with a variable would differ.
    let mut bindings = Bindings::stand_in(old);
    bindings.variables.extend(Bindings::stand_in(new).variables);
    let sides = [Side::new(old, &bindings)?, Side::new(new, &bindings)?];
    let mut changes = Vec::new();
    let mut ask = |what: String, question: &Question| {
        let [old, new] = sides.each_ref().map(|side| side.answer(question));
        if old.verdict != new.verdict {
            changes.push(VerdictChange { what, old, new });
        }
    };
    for place in places(&[old, new]) {
        let Ok(target) = Target::parse(&place) else { continue };
        let word = if matches!(target, Target::Ask(_)) { "resolve" } else { "connect" };
        ask(format!("{word} {place}"), &Question::Place(target));
    }
    for path in paths(&[old, new], &bindings) {
        let shown = String::from_utf8_lossy(&path).into_owned();
        for deed in DEEDS {
            ask(format!("{} {shown}", deed.1), &Question::Path(path.clone(), deed));
        }
    }
    Ok(changes)
}

/// Places in the network that the rules speak of, as events write them: the ends of networks
/// and of ranges of ports, and what lies beside these.
fn places(policies: &[&Policy]) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = ANYWHERE.iter().map(|place| (*place).to_owned()).collect();
    let mut names = BTreeSet::from([(ANY_NAME.to_owned(), 443u16)]);
    for policy in policies {
        for term in of_rules(&policy.egress.rules) {
            for address in [term.subject.address(), last(&term.subject)] {
                for port in ends(term.ports) {
                    all.extend(at_address(address, port));
                }
            }
        }
        for term in of_names(&policy.egress.rules) {
            let name = term.subject.name();
            let name = if term.subject.is_below() { format!("{OTHER}.{name}") } else { name };
            names.extend(ends(term.ports).into_iter().map(|port| (name.clone(), port)));
        }
        for rule in &policy.egress.rules {
            for socket in &rule.sockets {
                all.insert(socket.value.to_string().trim_end_matches('*').to_owned());
                all.insert(format!("{}{OTHER}", socket.value.to_string().trim_end_matches('*')));
            }
        }
    }
    for (name, port) in names {
        all.insert(format!("dns:{name}"));
        all.extend(["tcp", "udp"].map(|protocol| format!("{protocol}://{name}:{port}")));
    }
    all
}

/// The places of an address and a port.
fn at_address(address: Address, port: u16) -> [String; 3] {
    let host = Network::new(address, 128).to_string();
    let host = if address.is_v4() { host } else { format!("[{host}]") };
    [format!("tcp://{host}:{port}"), format!("udp://{host}:{port}"), format!("icmp://{host}")]
}

/// The last address of a network.
fn last(network: &Network) -> Address {
    let mask = u128::MAX.checked_shr(u32::from(network.bits())).unwrap_or(0);
    Address::from_octets((u128::from_be_bytes(network.address().octets()) | mask).to_be_bytes())
}

/// The first and the last port, and those beside them.
fn ends(ports: Ports) -> BTreeSet<u16> {
    let around =
        [ports.first.saturating_sub(1), ports.first, ports.last, ports.last.saturating_add(1)];
    around.into_iter().filter(|port| *port > 0).collect()
}

/// Paths that the rules speak of: each pattern's, and one below.
fn paths(policies: &[&Policy], bindings: &Bindings) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::from([b"/".to_vec(), ANY_PATH.as_bytes().to_vec()]);
    if policies.iter().all(|policy| !policy.has_paths()) {
        return BTreeSet::new();
    }
    for pattern in policies.iter().flat_map(|policy| policy.sited_paths()) {
        if let Some(path) = pattern.value.example(bindings, OTHER) {
            all.insert([path.as_slice(), b"/", OTHER.as_bytes()].concat());
            all.insert(path);
        }
    }
    all
}
