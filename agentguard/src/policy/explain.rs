//! Says in words what a policy means, for `agentguard policy explain`.

use std::fmt::Write;

use agentguard_common::net::Protocols;
use agentguard_common::verdict::Verdict;

use super::builtin::{RULE_LOOKUP_ID, RULE_MANAGERS_ID};
use super::dns::{Dns, in_words};
use super::model::{EgressRule, EgressSection, Match, Mode, Policy, RULE_METADATA_ID, Tls, User};
use super::network::Network;
use super::ports::Ports;
use super::report::visible;
use super::terms::{METADATA, is_implied};

/// What a policy means, in words, over several lines.
#[must_use]
pub fn explain(policy: &Policy) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_all(&mut text, policy);
    text
}

fn write_all(out: &mut String, policy: &Policy) -> std::fmt::Result {
    writeln!(out, "Agent {}", policy.agent)?;
    if let Some(description) = &policy.description {
        for line in description.trim_end().lines() {
            writeln!(out, "  {}", line.chars().map(visible).collect::<String>())?;
        }
    }
    match policy.mode {
        Mode::Enforce => writeln!(out, "  Enforced: what is denied is refused.")?,
        Mode::Observe => {
            writeln!(
                out,
                "  Observed: what would be denied is recorded as such and goes through."
            )?;
        }
    }
    writeln!(out, "\nSessions")?;
    writeln!(out, "  Whatever `agentguard run --agent {}` starts.", policy.agent)?;
    for found in &policy.matches {
        writeln!(out, "  {}", match_in_words(found))?;
    }
    writeln!(out, "\nNetwork")?;
    egress(out, &policy.egress)?;
    super::taint::in_words(out, policy)?;
    super::paths::explain(out, policy)?;
    if !policy.limits.limits.is_empty() {
        super::limits::explain(out, &policy.limits.limits)?;
    }
    super::asking::explain(out, policy.patience)?;
    if policy.detect != super::DetectSection::default() {
        super::detect::explain(out, &policy.detect)?;
    }
    if !policy.responses.is_empty() {
        super::respond::explain(out, &policy.responses)?;
    }
    super::powers::explain(out, &policy.host)
}

fn match_in_words(found: &Match) -> String {
    match found {
        Match::Exe(path) => format!("Processes that run {}.", path.display()),
        Match::User(User::Id(id)) => format!("Processes of the user with number {id}."),
        Match::User(User::Name(name)) => format!("Processes of the user {name}."),
        Match::Cgroup(path) => format!("Processes in the cgroup {}.", path.display()),
        Match::Unit(unit) => format!("Processes of the unit {unit}."),
    }
}

pub(super) fn egress(out: &mut String, section: &EgressSection) -> std::fmt::Result {
    if section.rules.is_empty() && section.default == Verdict::Deny {
        writeln!(out, "  No host may be reached.")?;
        lookups(out, section)?;
        return builtin(out);
    }
    for rule in &section.rules {
        if !rule.networks.is_empty() || !rule.names.is_empty() {
            writeln!(out, "  {}", rule_in_words(rule))?;
        }
        if !rule.sockets.is_empty() {
            writeln!(out, "  {}", sockets_in_words(rule))?;
        }
    }
    let implied: Vec<String> = METADATA
        .iter()
        .filter(|address| is_implied(section, address))
        .map(ToString::to_string)
        .collect();
    if !implied.is_empty() {
        let addresses = implied.join(", ");
        writeln!(out, "  {RULE_METADATA_ID}: deny {addresses} (cloud metadata) on every port.")?;
    }
    let default = section.default.as_str();
    writeln!(out, "  Where no rule matches: {default}.")?;
    if section.rules.len() > 1 {
        writeln!(
            out,
            "  Where several match: the longest prefix decides, then the fewest ports, then the \
             fewest protocols; then deny beats ask beats allow."
        )?;
    }
    lookups(out, section)?;
    builtin(out)
}

/// How names are looked up, where the policy speaks of them.
fn lookups(out: &mut String, section: &EgressSection) -> std::fmt::Result {
    let Some(dns) = section.lookups() else { return Ok(()) };
    if section.rules.iter().any(|rule| !rule.names.is_empty()) {
        writeln!(
            out,
            "  Names: an address that a name was answered with is decided by the name, where no \
             rule speaks\n    of the address. The name itself decides before *.example.com, and a \
             longer one before a shorter."
        )?;
    }
    let asked = match section.default {
        Verdict::Allow => "whatever no rule denies on every port",
        _ => "what a rule allows on some port",
    };
    writeln!(out, "  Names that may be looked up: {asked}; by asking {}.", resolvers(&dns))?;
    let inside: Vec<String> = dns.inside.iter().map(ToString::to_string).collect();
    let except = match inside.as_slice() {
        [] => String::new(),
        networks => format!(", except in {}", networks.join(", ")),
    };
    writeln!(
        out,
        "  Answers that count for no name: addresses of this host, its network and its \
         cloud{except}."
    )?;
    let (floor, cap) = (in_words(dns.floor), in_words(dns.cap));
    writeln!(out, "  An answer counts for as long as it says, at least {floor}, at most {cap}.")?;
    let hidden = match section.tls {
        Tls::Off => return writeln!(out, "  TLS handshakes are not looked at."),
        Tls::Report => "told of",
        Tls::Strict => "refused, and so is what is no TLS on port 443",
    };
    writeln!(
        out,
        "  TLS: where a name led to the address, the name in the handshake must be allowed on \
         that port;\n    a handshake that shows none is {hidden}."
    )
}

fn resolvers(dns: &Dns) -> String {
    let system = dns.system.then(|| "the host's resolvers (/etc/resolv.conf)".to_owned());
    let listed = dns.resolvers.iter().map(|address| Network::new(*address, 128).to_string());
    let all: Vec<String> = system.into_iter().chain(listed).collect();
    format!("{} and no others, on port 53", all.join(", "))
}

/// What holds without being said.
fn builtin(out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "  {RULE_MANAGERS_ID}: deny the unix sockets of container and service managers, of D-Bus \
         and of\n    login sessions, unless a rule names the very same socket."
    )?;
    writeln!(out, "  {RULE_LOOKUP_ID}: allow the unix sockets that look up users.")?;
    writeln!(
        out,
        "  What the session listens on itself: allow (unix sockets, and TCP on loopback)."
    )?;
    writeln!(out, "  Anything that is neither TCP, UDP, ping nor a unix socket: deny.")
}

fn sockets_in_words(rule: &EgressRule) -> String {
    let names: Vec<String> = rule.sockets.iter().map(|name| name.value.to_string()).collect();
    format!("{}: {} {}.", rule.id, rule.verdict.as_str(), names.join(", "))
}

fn rule_in_words(rule: &EgressRule) -> String {
    let networks = rule.networks.iter().map(|network| network.value.to_string());
    let names = rule.names.iter().map(|name| name.value.to_string());
    let places: Vec<String> = networks.chain(names).collect();
    let ports = match (rule.implied_ports, rule.verdict) {
        _ if rule.protocols == Protocols::ICMP => "no port in particular".to_owned(),
        (true, Verdict::Allow | Verdict::Ask) => "port 443 (no ports are given)".to_owned(),
        (true, _) => "every port (no ports are given)".to_owned(),
        (false, _) => rule
            .ports
            .iter()
            .map(|ports| ports_in_words(ports.value))
            .collect::<Vec<_>>()
            .join(", "),
    };
    let protocols = match rule.protocols {
        Protocols::TCP => "TCP",
        Protocols::UDP => "UDP",
        Protocols::ICMP => "ping",
        _ => "TCP and UDP",
    };
    let (id, verdict) = (&rule.id, rule.verdict.as_str());
    format!("{id}: {verdict} {} on {ports}, {protocols}.", places.join(", "))
}

fn ports_in_words(ports: Ports) -> String {
    if ports == Ports::ANY { "every port".to_owned() } else { ports.to_string() }
}
