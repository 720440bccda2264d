//! Holds rules against one another: what repeats, contradicts or never decides is
//! an error, because whoever wrote it meant something else.

use std::collections::{HashMap, HashSet};

use agentguard_common::verdict::Verdict;

use super::error::Problem;
use super::model::EgressRule;
use super::place::Place;
use super::ports::{Ports, protocol_name};
use super::report::Report;
use super::socket::SocketName;
use super::terms::{self, Decided, Subject, Term};

/// Refuses an id that two rules have.
pub(super) fn ids(ids: Vec<(&str, Place)>, report: &mut Report<'_>) {
    let mut seen: HashMap<&str, Place> = HashMap::new();
    for (id, place) in ids {
        let first = *seen.entry(id).or_insert(place);
        if first != place {
            let problem = Problem::DuplicateId { id: id.to_owned(), first: first.line };
            report.at(place, problem, "give one of the two another id");
        }
    }
}

/// Refuses rules that repeat or contradict others or can never decide.
pub(super) fn rules(rules: &[EgressRule], report: &mut Report<'_>) {
    let mut deciding: HashSet<u32> = HashSet::new();
    // Of two for one name, the second has its error.
    deciding.extend(rules.iter().filter(|rule| !rule.sockets.is_empty()).map(|rule| rule.number));
    sockets(rules, report);
    decisive(&terms::of_rules(rules), &mut deciding, report);
    decisive(&terms::of_names(rules), &mut deciding, report);
    for rule in rules.iter().filter(|rule| !deciding.contains(&rule.number)) {
        let mend = "remove it, or give it a network, a name or ports that the others leave open";
        report.at(rule.place, Problem::Unreachable { id: rule.id.clone() }, mend);
    }
}

/// Finds the rules that decide somewhere, and refuses terms of one subject that clash.
fn decisive<S: Subject>(terms: &[Term<S>], deciding: &mut HashSet<u32>, report: &mut Report<'_>) {
    for same in terms.chunk_by(|one, other| one.subject == other.subject) {
        // A rule that clashes with another has its error already.
        deciding.extend(clashes(same, report));
        let mut decided = Decided::default();
        for term in same {
            if decided.add(term.ports.first, term.ports.last, term.protocols) {
                deciding.insert(term.rule);
            }
        }
    }
}

/// Refuses names of unix sockets that stand in two rules, or twice in one.
fn sockets(rules: &[EgressRule], report: &mut Report<'_>) {
    let mut seen: HashMap<&SocketName, (Verdict, Place)> = HashMap::new();
    for rule in rules {
        for name in &rule.sockets {
            let (verdict, first) = *seen.entry(&name.value).or_insert((rule.verdict, name.place));
            if first == name.place {
                continue;
            }
            let what = format!("{} {}", rule.verdict.as_str(), name.value);
            if verdict == rule.verdict {
                let problem = Problem::Repeated { what, first: first.line };
                report.at(name.place, problem, "remove one of the two");
            } else {
                let (first, other) = (first.line, verdict.as_str());
                let problem = Problem::Contradiction { what, first, other };
                report.at(name.place, problem, "keep one of the two");
            }
        }
    }
}

/// Refuses terms of one subject that say the same or the opposite, and returns
/// the rules they are of.
fn clashes<S: Subject>(same: &[Term<S>], report: &mut Report<'_>) -> Vec<u32> {
    let mut clashing = Vec::new();
    if same.len() < 2 {
        return clashing;
    }
    let mut written: Vec<&Term<S>> = same.iter().collect();
    written.sort_unstable_by_key(|term| (term.rule, term.place));
    // For each port range one term of each kind, so that thousands of equal terms
    // are not held against one another.
    let mut kinds: HashMap<Ports, Vec<&Term<S>>> = HashMap::new();
    for term in written {
        let kinds = kinds.entry(term.ports).or_default();
        let equal =
            |first: &&&Term<S>| first.verdict == term.verdict && first.protocols == term.protocols;
        let opposite = |first: &&&Term<S>| {
            first.verdict != term.verdict && first.protocols.meets(term.protocols)
        };
        if let Some(first) = kinds.iter().find(equal) {
            let problem = Problem::Repeated { what: described(term), first: first.place.line };
            report.at(term.place, problem, "remove one of the two");
        } else if let Some(first) = kinds.iter().find(opposite) {
            let (first, other) = (first.place.line, first.verdict.as_str());
            let problem = Problem::Contradiction { what: described(term), first, other };
            report.at(
                term.place,
                problem,
                "keep one, or narrow one to fewer addresses, names or ports",
            );
            kinds.push(term);
        } else {
            kinds.push(term);
            continue;
        }
        clashing.push(term.rule);
    }
    clashing
}

fn described<S: Subject>(term: &Term<S>) -> String {
    let (verdict, protocols) = (term.verdict.as_str(), protocol_name(term.protocols));
    format!("{verdict} {}, {}, {protocols}", term.subject, term.ports)
}
