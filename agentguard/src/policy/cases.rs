//! `agentguard policy test`: cases in, verdicts out, no kernel.
//!
//! A file of cases is a list of maps: `connect` says where to, `expect` which
//! verdict is expected, and `rule`, if given, by which rule.

use std::net::SocketAddr;
use std::path::Path;

use agentguard_common::net::{Destination, Protocols};
use agentguard_common::verdict::{RULE_NONE, Reason, Ruling, Verdict};

use super::error::{PolicyErrors, Problem};
use super::fields::{Fields, text};
use super::model::Policy;
use super::network::address_of;
use super::place::{Place, Sited};
use super::ports::parse_protocol;
use super::read::{decode, read_file};
use super::report::{Report, quoted};
use super::yaml::{self, Node, Value};

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseOutcome {
    /// Where the case stands in its file.
    pub place: Place,
    /// The destination, as the case has it.
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
    let cases = parse(path, &read_file(path)?)?;
    let outcomes = cases.into_iter().map(|case| {
        let ruling = match &case.to {
            Target::Inet(to, protocol) => compiled.decide(*to, *protocol),
            Target::Unix(name) => compiled.decide_socket(name).unwrap_or(NO_SOCKET),
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

pub(super) struct Case {
    place: Place,
    connect: String,
    to: Target,
    expect: Verdict,
    rule: Option<String>,
}

/// What a case asks for.
enum Target {
    Inet(Destination, Protocols),
    /// The name, as the kernel has it.
    Unix(Vec<u8>),
}

/// What is said of a name that no socket can have.
const NO_SOCKET: Ruling = Ruling::closed(Reason::Malformed);

pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Case>, PolicyErrors> {
    let source = decode(path, bytes)?;
    let mut report = Report::new(path, source);
    let cases = yaml::parse(source, &mut report).map(|root| match &root.value {
        Value::List(items) => items.iter().filter_map(|item| case(item, &mut report)).collect(),
        _ => {
            let (expected, found) = ("a list of cases", root.described());
            let problem = Problem::WrongType { key: "a file of cases", expected, found };
            report.at(root.place, problem, "write each case after a dash");
            Vec::new()
        }
    });
    report.or(cases)
}

fn case(node: &Node<'_>, report: &mut Report<'_>) -> Option<Case> {
    let mut fields = Fields::open(node, "a file of cases", "a case", report)?;
    let place = fields.place();
    let connect = fields.require("connect", "write connect: 10.0.0.1:443/tcp", report);
    let expect = fields.require("expect", "write expect: allow, or expect: deny", report);
    let rule = fields.take("rule", report);
    fields.close(report);
    let connect =
        connect.and_then(|node| text(node, "connect", "an address, a port and a protocol", report));
    let expect = expect.and_then(|node| text(node, "expect", "allow or deny", report));
    let rule = rule.and_then(|node| text(node, "rule", "the id of a rule", report));
    let target = connect.as_ref().and_then(|connect| target(connect, report));
    let expect = expect.and_then(|expect| verdict(&expect, report));
    let (connect, to, expect) = (connect?, target?, expect?);
    let rule = rule.map(|rule| rule.value);
    Some(Case { place, connect: connect.value, to, expect, rule })
}

/// Reads `10.0.0.1:443/tcp` or `[2001:db8::1]:53/udp`, TCP where no protocol is given;
/// or `unix:/run/db.sock`, or `unix:@name`.
fn target(connect: &Sited<String>, report: &mut Report<'_>) -> Option<Target> {
    if let Some(name) = connect.value.strip_prefix("unix:") {
        let name = name.strip_prefix('@').map_or(name.to_owned(), |name| format!("\0{name}"));
        return Some(Target::Unix(name.into_bytes()));
    }
    let (address, protocol) = connect.value.split_once('/').unwrap_or((&connect.value, "tcp"));
    let protocol = match parse_protocol(protocol) {
        Ok(protocol) => protocol,
        Err((problem, mend)) => {
            report.at(connect.place, problem, mend);
            return None;
        }
    };
    let Ok(to) = address.parse::<SocketAddr>() else {
        let problem = Problem::BadValue { key: "connect", value: quoted(&connect.value) };
        let mend = "write 10.0.0.1:443, or [2001:db8::1]:443, then /tcp, /udp or /icmp";
        report.at(connect.place, problem, mend);
        return None;
    };
    let to = Destination { address: address_of(to.ip()), port: to.port() };
    Some(Target::Inet(to, protocol))
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
