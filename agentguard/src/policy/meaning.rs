//! From what a file says to what it means: values are checked, what was left out
//! is filled in.

use std::collections::HashMap;
use std::path::Path;

use agentguard_common::hold::PATIENCE;
use agentguard_common::net::Protocols;
use agentguard_common::verdict::Verdict;

use super::dns::Dns;
use super::document::{EgressDocument, MatchDocument, PolicyDocument, RuleDocument};
use super::error::Problem;
use super::host::HostName;
use super::limits::LimitsSection;
use super::model::{EgressRule, EgressSection, Match, Mode, Policy, Tls};
use super::names::{is_agent, read_match, refuse_id};
use super::network::{Network, Refusal};
use super::paths::{self, Written};
use super::place::{Place, Sited};
use super::ports::{Ports, parse_protocol};
use super::report::{Report, quoted};
use super::respond::responses;
use super::shape::{NetworkText, Several};
use super::socket::SocketName;
use super::{MAX_RULES, MAX_TERMS, check, powers, taint};

/// The version of the language that is read here.
const VERSION: &str = "1";

/// Finds the meaning of a document. What is wrong goes to the report; the policy
/// that comes back is of use only if that stays empty.
pub(super) fn policy(
    document: PolicyDocument,
    path: &Path,
    hash: [u8; 32],
    source: &str,
    report: &mut Report<'_>,
) -> Policy {
    if let Some(version) = document.version
        && version.value.0 != VERSION
    {
        let mend = "write version: 1, the only one there is so far";
        report.at(version.place, Problem::BadVersion(quoted(&version.value.0)), mend);
    }
    let agent = agent(document.agent, report);
    let mode = mode(document.mode.as_ref(), report);
    let matches = matches(document.matches.unwrap_or_default(), report);
    let egress = document.egress.unwrap_or_default();
    // Rules that are not in order count too: numbers say where in the file a rule stands.
    let before = egress.rules.as_ref().map_or(0, Vec::len);
    let egress = self::egress(egress, report);
    let limits = document.limits.as_ref();
    let limits = limits.map(|limits| LimitsSection::of(limits, report)).unwrap_or_default();
    let detect = document.detect.as_ref();
    let detect = detect.map(|detect| detect.meaning(report)).unwrap_or_default();
    let responses = responses(&document.respond.unwrap_or_default(), (&limits, &detect), report);
    let written = Written {
        files: document.files,
        exec: document.exec,
        secrets: document.secrets,
        workspace: document.workspace,
    };
    let paths = paths::sections(&written, before, !matches.is_empty(), report);
    let with_paths = paths.files.is_some() || paths.exec.is_some() || !paths.secrets.is_empty();
    let host = powers::powers(document.host.as_ref(), with_paths, report);
    let ask = document.ask.as_ref();
    let patience = ask.map_or(PATIENCE, |ask| ask.patience(report));
    let policy = Policy {
        agent,
        description: document.description.map(|text| text.value),
        mode,
        matches,
        egress,
        files: paths.files,
        exec: paths.exec,
        host,
        secrets: paths.secrets,
        limits,
        patience,
        detect,
        responses,
        workspace: paths.workspace,
        hash,
        source: source.to_owned(),
        path: path.to_owned(),
        tainted: None,
        is_tainted: false,
    };
    let tainted = document.tainted.and_then(|tainted| taint::meaning(tainted, &policy, report));
    let mut ids: Vec<(&str, Place)> = policy.ids().collect();
    ids.extend(tainted.iter().flat_map(|tainted| tainted.egress.ids()));
    check::ids(ids, report);
    Policy { tainted, ..policy }
}

fn agent(name: Option<Sited<String>>, report: &mut Report<'_>) -> String {
    let Some(name) = name else {
        return String::new();
    };
    if !is_agent(&name.value) {
        let mend = "write 1 to 63 of a-z, 0-9, _ and -, a letter or digit first";
        report.at(name.place, Problem::BadAgent(quoted(&name.value)), mend);
    }
    name.value
}

fn mode(word: Option<&Sited<String>>, report: &mut Report<'_>) -> Mode {
    match word.map(|word| word.value.as_str()) {
        None | Some("enforce") => Mode::Enforce,
        Some("observe") => Mode::Observe,
        Some(_) => {
            bad_word(word, "mode", "write enforce or observe", report);
            Mode::Enforce
        }
    }
}

pub(super) fn bad_word(
    word: Option<&Sited<String>>,
    key: &'static str,
    mend: &str,
    report: &mut Report<'_>,
) {
    if let Some(word) = word {
        report.at(word.place, Problem::BadValue { key, value: quoted(&word.value) }, mend);
    }
}

fn matches(documents: Vec<MatchDocument>, report: &mut Report<'_>) -> Vec<Match> {
    let mut found: Vec<(Match, Place)> = Vec::new();
    let mut lines: HashMap<Match, u32> = HashMap::new();
    for document in documents {
        let (Some(read), Some(place)) = (read_match(&document, report), document.place) else {
            continue;
        };
        let first = *lines.entry(read.clone()).or_insert(place.line);
        if found.len() < lines.len() {
            found.push((read, place));
        } else {
            let problem = Problem::Repeated { what: "this match".to_owned(), first };
            report.at(place, problem, "remove one of the two");
        }
    }
    found.into_iter().map(|(read, _)| read).collect()
}

fn egress(document: EgressDocument, report: &mut Report<'_>) -> EgressSection {
    let default = match document.default.as_ref().map(|word| word.value.as_str()) {
        None | Some("deny") => Verdict::Deny,
        Some("allow") => Verdict::Allow,
        Some("ask" | "audit" | "kill") => {
            if let Some(word) = &document.default {
                let problem = Problem::NotSupported(format!("default: {}", word.value));
                report.at(word.place, problem, "write deny or allow");
            }
            Verdict::Deny
        }
        Some(_) => {
            bad_word(document.default.as_ref(), "default", "write deny or allow", report);
            Verdict::Deny
        }
    };
    let dns = document.dns.as_ref().map(|dns| Dns::of(dns, report));
    let tls = match document.tls.as_ref().map(|word| word.value.as_str()) {
        None | Some("report") => Tls::Report,
        Some("strict") => Tls::Strict,
        Some("off") => Tls::Off,
        Some(_) => {
            bad_word(document.tls.as_ref(), "tls", "write off, report or strict", report);
            Tls::Strict
        }
    };
    let rules = rules("egress", &document.rules.unwrap_or_default(), report);
    check::rules(&rules, report);
    EgressSection { default, rules, dns, tls }
}

/// The rules that are in order by themselves.
pub(super) fn rules(
    section: &str,
    documents: &[RuleDocument],
    report: &mut Report<'_>,
) -> Vec<EgressRule> {
    if let Some(place) = documents.get(MAX_RULES).and_then(|extra| extra.place) {
        let problem = Problem::TooManyRules(documents.len());
        report.at(place, problem, "join neighbouring networks, or split the agent's work");
        return Vec::new();
    }
    let mut terms = 0usize;
    let mut rules = Vec::with_capacity(documents.len());
    for (number, document) in (1u32..).zip(documents) {
        let Some(rule) = rule(section, number, document, report) else {
            continue;
        };
        terms = terms
            .saturating_add(rule.networks.len().saturating_mul(rule.ports.len()))
            .saturating_add(rule.names.len().saturating_mul(rule.ports.len()))
            .saturating_add(rule.sockets.len());
        if terms > MAX_TERMS {
            let mend = "join neighbouring networks, or write port ranges";
            report.at(rule.place, Problem::TooManyTerms, mend);
            return Vec::new();
        }
        rules.push(rule);
    }
    rules
}

fn rule(
    section: &str,
    number: u32,
    document: &RuleDocument,
    report: &mut Report<'_>,
) -> Option<EgressRule> {
    let place = document.place?;
    let errors = report.count();
    let (verdict, texts) = what(document, place, report)?;
    let (sockets, hosts): (Vec<_>, Vec<_>) =
        texts.texts.iter().partition(|text| SocketName::is_one(&text.value));
    let (names, networks): (Vec<_>, Vec<_>) =
        hosts.into_iter().partition(|text| HostName::is_one(&text.value));
    let names = read_all(names, HostName::parse, report);
    let networks = read_all(networks, Network::parse, report);
    let sockets = read_all(sockets, SocketName::parse, report);
    let protocols = match &document.protocol {
        Some(names) => join(&read_all(&names.texts, parse_protocol, report)),
        None => Protocols::ANY,
    };
    let ports = match &document.ports {
        Some(ports) => read_all(&ports.texts, Ports::parse, report),
        None if verdict == Verdict::Deny || protocols == Protocols::ICMP => {
            vec![Sited::new(Ports::ANY, place)]
        }
        None => vec![Sited::new(Ports::HTTPS, place)],
    };
    if report.count() == errors {
        let only_sockets = networks.is_empty() && names.is_empty();
        out_of_place(document, protocols, only_sockets, report);
    }
    let id = id(section, number, document.id.as_ref(), report);
    (report.count() == errors && !document.broken).then_some(EgressRule {
        number,
        id,
        verdict,
        networks,
        names,
        sockets,
        ports,
        implied_ports: document.ports.is_none(),
        protocols,
        place,
    })
}

/// The verdict of a rule, and on what.
fn what<'d>(
    document: &'d RuleDocument,
    place: Place,
    report: &mut Report<'_>,
) -> Option<(Verdict, &'d Several<NetworkText>)> {
    let all = [
        (Verdict::Allow, &document.allow),
        (Verdict::Ask, &document.ask),
        (Verdict::Deny, &document.deny),
    ];
    let mut given = all.into_iter().filter_map(|(verdict, texts)| Some((verdict, texts.as_ref()?)));
    match (given.next(), given.next()) {
        (Some(_), Some(_)) => {
            report.at(place, Problem::TwoVerdicts, "write two rules, one for each");
            None
        }
        (None, _) if !document.broken => {
            let problem = Problem::Missing { key: "allow, ask or deny", section: "the rule" };
            report.at(place, problem, "say which addresses it allows or denies");
            None
        }
        // Where there is none: perhaps what it says was no text; that has been said.
        (one, _) => one,
    }
}

/// Refuses ports and protocols where they say nothing.
fn out_of_place(
    document: &RuleDocument,
    protocols: Protocols,
    only_sockets: bool,
    report: &mut Report<'_>,
) {
    let ports = document.ports.as_ref().and_then(|ports| ports.texts.first());
    let protocol = document.protocol.as_ref().and_then(|names| names.texts.first());
    let mut refuse = |key, what, text: Option<&Sited<String>>, mend: &str| {
        if let Some(text) = text {
            report.at(text.place, Problem::OutOfPlace { key, what }, mend);
        }
    };
    if only_sockets {
        refuse("ports", "unix sockets", ports, "remove it");
        refuse("protocol", "unix sockets", protocol, "remove it");
    } else if protocols.meets(Protocols::ICMP) {
        refuse("ports", "icmp", ports, "remove it: a ping has no port");
        if protocols != Protocols::ICMP {
            let what = "icmp, which has no ports,";
            refuse("tcp or udp", what, protocol, "write two rules, one of them for icmp");
        }
    }
}

/// Reads each text with `read`; what it refuses goes to the report.
pub(super) fn read_all<'t, T>(
    texts: impl IntoIterator<Item = &'t Sited<String>>,
    read: impl Fn(&str) -> Result<T, Refusal>,
    report: &mut Report<'_>,
) -> Vec<Sited<T>> {
    let mut found = Vec::new();
    for text in texts {
        match read(&text.value) {
            Ok(value) => found.push(Sited::new(value, text.place)),
            Err((problem, mend)) => report.at(text.place, problem, mend),
        }
    }
    found
}

fn join(protocols: &[Sited<Protocols>]) -> Protocols {
    Protocols(protocols.iter().fold(0, |all, one| all | one.value.0))
}

/// The id of a rule: the one that was given, or the section and the place in its list.
pub(super) fn id(
    section: &str,
    number: impl std::fmt::Display,
    given: Option<&Sited<String>>,
    report: &mut Report<'_>,
) -> String {
    let Some(given) = given else {
        return format!("{section}.{number}");
    };
    if let Some(mend) = refuse_id(&given.value) {
        report.at(given.place, Problem::BadId(quoted(&given.value)), mend);
    }
    given.value.clone()
}
