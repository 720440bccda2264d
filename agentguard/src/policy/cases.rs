//! `agentguard policy test`: cases in, verdicts out, no kernel.
//!
//! A file of cases is a list of maps: `connect` says where to, or `ask` which name is
//! looked up, or `read`, `write` or `exec` what is done with which path; `expect` which
//! verdict is expected, and `rule`, if given, by which rule. Or it is a map with that list
//! under `cases`, and what the policy's variables stand for beside it.

use std::path::{Path, PathBuf};

use agentguard_common::verdict::{RULE_NONE, Reason, Ruling, Verdict};

use super::error::{PolicyErrors, Problem};
use super::fields::{Fields, text};
use super::model::Policy;
use super::paths::{Access, BindError, Bindings, NoLinks, PathTable, is_variable, names_of};
use super::place::{Place, Sited};
use super::read::{decode, read_file};
use super::report::{Report, quoted};
use super::target::Target;
use super::yaml::{self, Node, Value};

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseOutcome {
    /// Where the case stands in its file.
    pub place: Place,
    /// The destination, as the case has it; `dns:` and the name where that is looked up; what
    /// is done and the path.
    pub connect: String,
    /// The verdict that the case expects.
    pub expect: Verdict,
    /// The rule that the case expects to decide, if it says.
    pub expect_rule: Option<String>,
    /// What the policy says.
    pub ruling: Ruling,
    /// The id of the rule that decided; `None` where the default did.
    pub rule: Option<String>,
}

impl CaseOutcome {
    /// Whether the policy says what the case expects.
    #[must_use]
    pub fn passed(&self) -> bool {
        let rule = self.expect_rule.is_none() || self.expect_rule == self.rule;
        self.ruling.verdict == self.expect && rule
    }
}

/// Tries the cases of a file on a policy.
///
/// # Errors
///
/// Where the file cannot be read, everything that is wrong with it, and what keeps
/// the policy from being compiled. A case that fails is no error: see
/// [`CaseOutcome::passed`].
///
/// `given` is what the variables stand for; it goes before what the file of cases says.
pub fn run_cases(
    policy: &Policy,
    path: &Path,
    given: &Bindings,
) -> Result<Vec<CaseOutcome>, PolicyErrors> {
    let compiled = policy.compile()?;
    let looks_up = policy.egress.lookups().is_some();
    let (cases, bindings) = parse(path, &read_file(path)?, looks_up)?;
    let of_paths = |case: &Case| matches!(case.to, Deed::Path(..));
    let table = match cases.iter().any(of_paths) {
        true => table(policy, &joined(given, bindings))?,
        false => None,
    };
    let outcomes = cases.into_iter().map(|case| {
        let ruling = match &case.to {
            Deed::Net(target) => target.decide(&compiled),
            // A policy that says nothing of paths leaves them alone.
            Deed::Path(access, path) => table.as_ref().map_or(FREE, |of| of.decide(path, *access)),
        };
        let rule = policy.rule_id(ruling.rule).filter(|_| ruling.rule != RULE_NONE);
        CaseOutcome {
            place: case.place,
            connect: case.connect,
            expect: case.expect,
            expect_rule: case.rule,
            ruling,
            rule: rule.map(str::to_owned),
        }
    });
    Ok(outcomes.collect())
}

/// What is said where nothing looks.
const FREE: Ruling = Ruling { verdict: Verdict::Allow, reason: Reason::Default, rule: RULE_NONE };

/// What is given first, then what the file says.
fn joined(given: &Bindings, of_file: Bindings) -> Bindings {
    let mut all = of_file;
    if !given.homes.is_empty() {
        all.homes.clone_from(&given.homes);
    }
    all.workspace = given.workspace.clone().or(all.workspace);
    all.variables.extend(given.variables.clone());
    all
}

/// What is wrong with what a policy's variables stand for, as an error about its file.
pub(crate) fn path_errors(policy: &Policy, error: &BindError) -> PolicyErrors {
    PolicyErrors::whole(&policy.path, Problem::Binding(error.to_string()), None)
}

/// The rules on paths, in memory. Links of this host are not followed.
fn table(policy: &Policy, bindings: &Bindings) -> Result<Option<PathTable>, PolicyErrors> {
    let mut bindings = bindings.clone();
    bindings.workspace = bindings.workspace.or_else(|| policy.workspace.clone());
    let bound = policy.bind(&bindings, &NoLinks).map_err(|error| path_errors(policy, &error))?;
    let automaton = bound.map(|bound| bound.compile(policy)).transpose()?;
    Ok(automaton.map(|automaton| PathTable::new(&automaton)))
}

/// What a case tries.
pub(super) enum Deed {
    Net(Target),
    Path(Access, Vec<u8>),
}

pub(super) struct Case {
    place: Place,
    connect: String,
    to: Deed,
    expect: Verdict,
    rule: Option<String>,
}

/// Reads a file of cases, and what variables stand for in it. `looks_up` says whether the
/// policy decides on questions.
pub(super) fn parse(
    path: &Path,
    bytes: &[u8],
    looks_up: bool,
) -> Result<(Vec<Case>, Bindings), PolicyErrors> {
    let source = decode(path, bytes)?;
    let mut report = Report::new(path, source);
    let found = yaml::parse(source, &mut report).map(|root| match &root.value {
        Value::Map(_) => with_bindings(&root, looks_up, &mut report),
        _ => (cases(&root, looks_up, &mut report), Bindings::default()),
    });
    report.or(found)
}

fn cases(node: &Node<'_>, looks_up: bool, report: &mut Report<'_>) -> Vec<Case> {
    if let Value::List(items) = &node.value {
        return items.iter().filter_map(|item| case(item, looks_up, report)).collect();
    }
    let (expected, found) = ("a list of cases", node.described());
    let problem = Problem::WrongType { key: "a file of cases", expected, found };
    report.at(node.place, problem, "write each case after a dash");
    Vec::new()
}

fn with_bindings(
    root: &Node<'_>,
    looks_up: bool,
    report: &mut Report<'_>,
) -> (Vec<Case>, Bindings) {
    let nothing = || (Vec::new(), Bindings::default());
    let Some(mut fields) = Fields::open(root, "a file of cases", "a file of cases", report) else {
        return nothing();
    };
    let workspace = fields.take("workspace", report);
    let home = fields.take("home", report);
    let set = fields.take("set", report);
    let listed = fields.require("cases", "write the cases in a list under cases", report);
    fields.close(report);
    let mut place = |key, node: Option<&Node<'_>>| text(node?, key, "an absolute path", report);
    let mut bindings = Bindings {
        workspace: place("workspace", workspace).map(|text| PathBuf::from(text.value)),
        homes: place("home", home).map(|text| PathBuf::from(text.value)).into_iter().collect(),
        ..Bindings::default()
    };
    if let Some(Value::Map(entries)) = set.map(|node| &node.value) {
        for (name, value) in entries {
            let name = text(name, "set", "names of variables", report);
            let value = text(value, "set", "an absolute path", report);
            let (Some(name), Some(value)) = (name, value) else { continue };
            if !is_variable(&name.value) {
                let problem = Problem::BadValue { key: "set", value: quoted(&name.value) };
                report.at(name.place, problem, "write letters, digits and _, no digit first");
            }
            bindings.variables.insert(name.value, value.value);
        }
    } else if let Some(node) = set {
        let (expected, found) = ("a map of names and paths", node.described());
        let problem = Problem::WrongType { key: "set", expected, found };
        report.at(node.place, problem, "write NAME: /path");
    }
    (listed.map(|node| cases(node, looks_up, report)).unwrap_or_default(), bindings)
}

/// The keys that say what a case tries.
const DEEDS: [&str; 5] = ["connect", "ask", "read", "write", "exec"];

fn case(node: &Node<'_>, looks_up: bool, report: &mut Report<'_>) -> Option<Case> {
    let mut fields = Fields::open(node, "a file of cases", "a case", report)?;
    let place = fields.place();
    let deeds = DEEDS.map(|key| Some((key, fields.take(key, report)?)));
    let expect = fields.require("expect", "write expect: allow, or expect: deny", report);
    let rule = fields.take("rule", report);
    fields.close(report);
    let mut deeds = deeds.into_iter().flatten();
    let (key, deed) = match (deeds.next(), deeds.next()) {
        (Some(one), None) => one,
        (Some(_), Some(_)) => {
            report.at(place, Problem::TwoPlaces, "write two cases, one for each");
            return None;
        }
        (None, _) => {
            let problem = Problem::Missing { key: "connect", section: "a case" };
            report.at(place, problem, "write connect: 10.0.0.1:443/tcp, or read: /path");
            return None;
        }
    };
    if key == "ask" && !looks_up {
        let mend = "write connect and the resolver, or give the policy egress.dns";
        report.at(deed.place, Problem::NoLookups, mend);
        return None;
    }
    let expected = match key {
        "connect" => "an address or name, a port and a protocol",
        "ask" => "a name",
        _ => "a path",
    };
    let written = text(deed, key, expected, report);
    let expect = expect.and_then(|node| text(node, "expect", "allow or deny", report));
    let rule = rule.and_then(|node| text(node, "rule", "the id of a rule", report));
    let read = written.and_then(|written| deed_of(key, written, report));
    let expect = expect.and_then(|expect| verdict(&expect, report));
    let ((shown, to), expect) = (read?, expect?);
    Some(Case { place, connect: shown, to, expect, rule: rule.map(|rule| rule.value) })
}

/// What is tried, and how it is shown.
fn deed_of(key: &str, text: Sited<String>, report: &mut Report<'_>) -> Option<(String, Deed)> {
    let access = match key {
        "ask" => {
            let name = Sited::new(format!("dns:{}", text.value), text.place);
            return target(&name, report).map(|target| (name.value, Deed::Net(target)));
        }
        "read" => Access::Read,
        "write" => Access::Write,
        "exec" => Access::Exec,
        _ => return target(&text, report).map(|target| (text.value, Deed::Net(target))),
    };
    if names_of(text.value.as_bytes()).is_none() {
        let why = "is no absolute path without ., .. and empty parts";
        let problem = Problem::BadPath { text: quoted(&text.value), why };
        report.at(text.place, problem, "write the path as the host has it");
        return None;
    }
    Some((format!("{key} {}", text.value), Deed::Path(access, text.value.into_bytes())))
}

fn target(connect: &Sited<String>, report: &mut Report<'_>) -> Option<Target> {
    match Target::parse(&connect.value) {
        Ok(target) => Some(target),
        Err((problem, mend)) => {
            report.at(connect.place, problem, mend);
            None
        }
    }
}

fn verdict(word: &Sited<String>, report: &mut Report<'_>) -> Option<Verdict> {
    match word.value.as_str() {
        "allow" => Some(Verdict::Allow),
        "ask" => Some(Verdict::Ask),
        "deny" => Some(Verdict::Deny),
        other => {
            let problem = Problem::BadValue { key: "expect", value: quoted(other) };
            report.at(word.place, problem, "write allow, ask or deny");
            None
        }
    }
}
