//! `agentguard policy test`: cases in, verdicts out, no kernel.
//!
//! A file of cases is a list of maps: `connect` says where to, or `ask` which name is
//! looked up; `expect` which verdict is expected, and `rule`, if given, by which rule.

use std::path::Path;

use agentguard_common::verdict::{RULE_NONE, Ruling, Verdict};

use super::error::{PolicyErrors, Problem};
use super::fields::{Fields, text};
use super::model::Policy;
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
    /// The destination, as the case has it; `dns:` and the name where that is looked up.
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
pub fn run_cases(policy: &Policy, path: &Path) -> Result<Vec<CaseOutcome>, PolicyErrors> {
    let compiled = policy.compile()?;
    let looks_up = policy.egress.lookups().is_some();
    let cases = parse(path, &read_file(path)?, looks_up)?;
    let outcomes = cases.into_iter().map(|case| {
        let ruling = case.to.decide(&compiled);
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

pub(super) struct Case {
    place: Place,
    connect: String,
    to: Target,
    expect: Verdict,
    rule: Option<String>,
}

/// Reads a file of cases. `looks_up` says whether the policy decides on questions.
pub(super) fn parse(path: &Path, bytes: &[u8], looks_up: bool) -> Result<Vec<Case>, PolicyErrors> {
    let source = decode(path, bytes)?;
    let mut report = Report::new(path, source);
    let cases = yaml::parse(source, &mut report).map(|root| match &root.value {
        Value::List(items) => {
            items.iter().filter_map(|item| case(item, looks_up, &mut report)).collect()
        }
        _ => {
            let (expected, found) = ("a list of cases", root.described());
            let problem = Problem::WrongType { key: "a file of cases", expected, found };
            report.at(root.place, problem, "write each case after a dash");
            Vec::new()
        }
    });
    report.or(cases)
}

fn case(node: &Node<'_>, looks_up: bool, report: &mut Report<'_>) -> Option<Case> {
    let mut fields = Fields::open(node, "a file of cases", "a case", report)?;
    let place = fields.place();
    let ask = fields.take("ask", report);
    let connect = match ask {
        Some(_) => fields.take("connect", report),
        None => fields.require("connect", "write connect: 10.0.0.1:443/tcp", report),
    };
    let expect = fields.require("expect", "write expect: allow, or expect: deny", report);
    let rule = fields.take("rule", report);
    fields.close(report);
    if ask.is_some() && connect.is_some() {
        report.at(place, Problem::TwoPlaces, "write two cases, one for each");
        return None;
    }
    if let Some(ask) = ask.filter(|_| !looks_up) {
        let mend = "write connect and the resolver, or give the policy egress.dns";
        report.at(ask.place, Problem::NoLookups, mend);
        return None;
    }
    let connect = connect.and_then(|node| {
        text(node, "connect", "an address or name, a port and a protocol", report)
    });
    let ask = ask.and_then(|node| text(node, "ask", "a name", report));
    let expect = expect.and_then(|node| text(node, "expect", "allow or deny", report));
    let rule = rule.and_then(|node| text(node, "rule", "the id of a rule", report));
    let connect =
        connect.or_else(|| ask.map(|name| Sited::new(format!("dns:{}", name.value), name.place)));
    let target = connect.as_ref().and_then(|connect| target(connect, report));
    let expect = expect.and_then(|expect| verdict(&expect, report));
    let (connect, to, expect) = (connect?, target?, expect?);
    let rule = rule.map(|rule| rule.value);
    Some(Case { place, connect: connect.value, to, expect, rule })
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
