//! An existing policy that is learned on from: what it says stays, and what it says already is
//! not said again.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use agentguard_common::verdict::{RULE_NONE, Ruling};

use super::Given;
use super::draft::{Draft, Item, Lookups, Rule, Section, scalar};
use super::proof::Decider;
use super::seen::{Act, Seen};
use crate::policy::{
    Difference, EgressRule, Match, Network, PathPattern, PathRule, Policy, PolicyErrors, Ports,
    Sited, Tls, User, is_by_meaning,
};

/// What an existing policy says, to be asked.
pub(super) struct Known<'p> {
    policy: &'p Policy,
    decider: Decider<'p>,
}

impl<'p> Known<'p> {
    pub(super) fn new(policy: &'p Policy, given: &Given) -> Result<Self, PolicyErrors> {
        Ok(Self { policy, decider: Decider::new(policy, given)? })
    }

    /// What was seen and the policy does not allow yet. What a rule of it refuses stays
    /// refused: whoever wrote that meant it.
    pub(super) fn unsaid(&self, seen: &Seen) -> Seen {
        let mut new = seen.clone();
        new.acts.clear();
        for (act, used) in &seen.acts {
            let ruling = self.decider.decide(act);
            if ruling.verdict.passes() {
                continue;
            }
            match self.rule(&ruling) {
                Some(rule) => {
                    let what = (act_in_words(act), format!("refused by rule {rule}"));
                    new.refused.insert(what, used.clone());
                }
                None => drop(new.acts.insert(act.clone(), used.clone())),
            }
        }
        new
    }

    fn rule(&self, ruling: &Ruling) -> Option<&str> {
        (ruling.rule != RULE_NONE).then(|| self.policy.rule_id(ruling.rule)).flatten()
    }
}

/// What was done, for people.
pub(super) fn act_in_words(act: &Act) -> String {
    match act {
        Act::Ask(name) => format!("resolve dns:{name}"),
        Act::Connect { name, address, port, .. } => match name {
            Some(name) => format!("connect {name}:{port} ({address})"),
            None => format!("connect {address} port {port}"),
        },
        Act::Unix(name) => format!("connect unix:{name}"),
        Act::Resolver(address) => format!("ask the resolver {address}"),
        Act::Read(path) => format!("file.read {path}"),
        Act::Write { path, .. } => format!("file.write {path}"),
        Act::Exec(path) => format!("exec {path}"),
        Act::Map(path) => format!("file.map {path}"),
        Act::Memory => "exec of a program without a path".into(),
    }
}

/// The patterns of the rules on files, as they are written.
pub(super) fn file_patterns(base: Option<&Policy>) -> BTreeSet<String> {
    let files = base.iter().filter_map(|base| base.files.as_ref()).flat_map(|files| &files.rules);
    files.flat_map(|rule| &rule.paths).map(|path| path.value.to_string()).collect()
}

/// The patterns of the rules on programs.
pub(super) fn exec_patterns(base: Option<&Policy>) -> BTreeSet<String> {
    let exec = base.iter().filter_map(|base| base.exec.as_ref()).flat_map(|exec| &exec.rules);
    exec.flat_map(|rule| &rule.paths).map(|path| path.value.to_string()).collect()
}

/// Puts all of a policy into a draft.
pub(super) fn fill(draft: &mut Draft, base: &Policy) {
    draft.egress.keys = vec![("default", base.egress.default.as_str().into())];
    if base.egress.tls != Tls::default() {
        draft.egress.keys.push(("tls", base.egress.tls.as_str().into()));
    }
    draft.others = others(&base.source);
    for rule in &base.egress.rules {
        let rule = egress(rule, draft);
        draft.egress.rules.push(rule);
    }
    draft.lookups = base.egress.dns.as_ref().map(|dns| {
        let address = |of| Network::new(of, 128).to_string();
        let listed = dns.resolvers.iter().map(|resolver| address(*resolver));
        let inside = dns.inside.iter().map(|network| Item::new(network.to_string(), ""));
        Lookups {
            resolvers: dns.system.then(|| "system".into()).into_iter().chain(listed).collect(),
            inside: inside.collect(),
            times: vec![("floor", format!("{}s", dns.floor)), ("cap", format!("{}s", dns.cap))],
        }
    });
    draft.files = base.files.as_ref().map(|files| Section {
        keys: vec![("default", files.default.as_str().into())],
        rules: paths(&files.rules, |verdict| verdict.as_str(), draft),
    });
    draft.exec = base.exec.as_ref().map(|exec| Section {
        keys: vec![
            ("default", exec.default.as_str().into()),
            ("from_writable", exec.from_writable.as_str().into()),
            ("memory", exec.memory.as_str().into()),
        ],
        rules: paths(&exec.rules, |verdict| verdict.as_str(), draft),
    });
    draft.secrets = base.secrets.iter().map(|path| path.value.to_string()).collect();
    draft.workspace = base.workspace.as_ref().map(|path| path.display().to_string());
}

/// What a policy says and what was learned from it does not, or otherwise; but for programs
/// without a path, which may be learned.
///
/// # Errors
///
/// Where one of them does not compile.
pub(super) fn lost(base: &Policy, text: &str) -> Result<Vec<String>, PolicyErrors> {
    let learned = Policy::parse(&base.path, text.as_bytes())?;
    let changes = Difference::of(base, &learned)?.changes;
    let gone = changes.iter().filter(|change| change.old.is_some() && change.subject != "memory");
    Ok(gone.map(ToString::to_string).collect())
}

/// The sections that say nothing of what is learned, as they are written.
///
/// They begin with a key at the beginning of a line. In a file that is written otherwise they
/// are not found, which [`super::Learned::lost`] tells.
fn others(source: &str) -> String {
    let (mut text, mut within) = (String::new(), false);
    for line in source.lines() {
        let starts = !line.starts_with([' ', '\t', '#', '-', '{']) && !line.trim().is_empty();
        if starts {
            let key = line.split(':').next().unwrap_or_default().trim().trim_matches(['"', '\'']);
            within = !is_by_meaning(key) && line.contains(':');
        }
        if within {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

fn egress(rule: &EgressRule, draft: &mut Draft) -> Rule {
    let networks = rule.networks.iter().map(|network| network.value.to_string());
    let names = rule.names.iter().map(|name| name.value.to_string());
    let sockets = rule.sockets.iter().map(|socket| socket.value.to_string());
    let ports = rule.ports.iter().map(|ports| match ports.value {
        Ports::ANY => "any".to_owned(),
        Ports { first, last } if first == last => first.to_string(),
        Ports { first, last } => format!("{first}-{last}"),
    });
    let words = [("tcp", 1), ("udp", 2), ("icmp", 4)];
    let protocols = words.into_iter().filter(|(_, bit)| rule.protocols.0 & bit != 0);
    let only_sockets = rule.networks.is_empty() && rule.names.is_empty();
    let is_ping = rule.protocols == agentguard_common::net::Protocols::ICMP;
    Rule {
        verdict: rule.verdict.as_str(),
        items: networks.chain(names).chain(sockets).map(|text| Item::new(text, "")).collect(),
        ports: if rule.implied_ports || only_sockets || is_ping {
            Vec::new()
        } else {
            ports.collect()
        },
        protocols: if only_sockets {
            Vec::new()
        } else {
            protocols.map(|(word, _)| word).collect()
        },
        id: draft.id(&rule.id),
        ..Rule::default()
    }
}

fn paths<V: Copy>(
    rules: &[PathRule<V>],
    word: impl Fn(V) -> &'static str,
    draft: &mut Draft,
) -> Vec<Rule> {
    let item = |path: &Sited<PathPattern>| Item::new(path.value.to_string(), "");
    let rule = |rule: &PathRule<V>| Rule {
        verdict: word(rule.verdict),
        items: rule.paths.iter().map(item).collect(),
        id: draft.id(&rule.id),
        ..Rule::default()
    };
    rules.iter().map(rule).collect()
}

/// Which processes the policy takes in.
pub(super) fn matches(text: &mut String, base: &Policy) {
    if base.matches.is_empty() {
        return;
    }
    text.push_str("match:\n");
    for found in &base.matches {
        let (key, value) = match found {
            Match::Exe(path) => ("exe", path.display().to_string()),
            Match::Cgroup(path) => ("cgroup", path.display().to_string()),
            Match::Unit(unit) => ("unit", unit.clone()),
            Match::User(User::Name(name)) => ("user", name.clone()),
            Match::User(User::Id(id)) => ("user", id.to_string()),
        };
        let _ = writeln!(text, "  - {key}: {}", scalar(&value));
    }
}
