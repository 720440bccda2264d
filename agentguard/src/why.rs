//! Why something was refused, in words: by which rule, where that stands, and what would
//! let it through. For people, for programs, and for the agent itself.

use std::net::SocketAddr;

use agentguard_common::net::{Destination, Protocols};
use agentguard_common::verdict::{RULE_NONE, Reason, Ruling};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::policy::{Policy, RULE_LOOKUP_ID, RULE_MANAGERS_ID, RULE_METADATA_ID, address_of};

/// An explanation of one decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The decision's id; none for what was not really asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The agent.
    pub agent_role: String,
    /// What was asked for.
    pub action: String,
    /// Of what.
    pub resource: String,
    /// What became of it.
    pub outcome: String,
    /// The verdict of the policy.
    pub verdict: String,
    /// Why that verdict.
    pub reason: String,
    /// The rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Where that rule stands: file and line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// A rule that would let it through, as it would stand in the policy; none where no
    /// rule can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_allow: Option<String>,
    /// All of it in words.
    pub text: String,
}

/// Explains a decision that was logged; `None` for an event that is none.
#[must_use]
pub fn of_event(line: &str, policy: Option<&Policy>) -> Option<Explanation> {
    let event: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| event.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut why = Explanation {
        id: text("id"),
        agent_role: text("agent_role")?,
        action: text("action")?,
        resource: text("resource")?,
        outcome: text("outcome")?,
        verdict: text("verdict")?,
        reason: text("reason")?,
        rule: text("rule"),
        place: None,
        would_allow: None,
        text: String::new(),
    };
    why.complete(policy);
    Some(why)
}

/// Explains what a policy would say to `tcp://10.0.0.1:443` or `unix:/run/db.sock`.
///
/// # Errors
///
/// [`Error::Usage`] where that is no place, and what keeps the policy from being compiled.
pub fn of_policy(policy: &Policy, resource: &str) -> Result<Explanation> {
    let ruling = rule(policy, resource)?;
    let outcome = if ruling.verdict.passes() { "allowed" } else { "denied" };
    let rule = (ruling.rule != RULE_NONE).then(|| policy.rule_id(ruling.rule)).flatten();
    let mut why = Explanation {
        id: None,
        agent_role: policy.agent.clone(),
        action: "connect".into(),
        resource: resource.into(),
        outcome: outcome.into(),
        verdict: ruling.verdict.as_str().into(),
        reason: ruling.reason.as_str().into(),
        rule: rule.map(str::to_owned),
        place: None,
        would_allow: None,
        text: String::new(),
    };
    why.complete(Some(policy));
    Ok(why)
}

fn rule(policy: &Policy, resource: &str) -> Result<Ruling> {
    let wrong = || {
        Error::Usage(format!(
            "{resource:?} is no place: write tcp://10.0.0.1:443, udp://[2001:db8::1]:53, icmp://10.0.0.1, unix:/run/db.sock or unix:@name"
        ))
    };
    let compiled = policy.compile()?;
    if let Some(name) = resource.strip_prefix("unix:") {
        let name = name.strip_prefix('@').map_or(name.to_owned(), |name| format!("\0{name}"));
        return compiled.decide_socket(name.as_bytes()).ok_or_else(wrong);
    }
    let (to, protocol) = inet(resource).ok_or_else(wrong)?;
    Ok(compiled.decide(to, protocol))
}

/// A place on the network.
fn inet(resource: &str) -> Option<(Destination, Protocols)> {
    let (transport, address) = resource.split_once("://")?;
    let (protocol, to) = match transport {
        "tcp" | "mptcp" => (Protocols::TCP, address.parse::<SocketAddr>().ok()?),
        "udp" => (Protocols::UDP, address.parse().ok()?),
        "icmp" => {
            let address = address.trim_start_matches('[').trim_end_matches(']');
            (Protocols::ICMP, SocketAddr::new(address.parse().ok()?, 0))
        }
        _ => return None,
    };
    Some((Destination { address: address_of(to.ip()), port: to.port() }, protocol))
}

impl Explanation {
    /// Fills in what follows from the rest.
    fn complete(&mut self, policy: Option<&Policy>) {
        let rule = self.rule.as_deref();
        self.place = policy.and_then(|policy| {
            let rule = policy.egress.rules.iter().find(|known| Some(known.id.as_str()) == rule)?;
            Some(format!("{}:{}", policy.path.display(), rule.place.line))
        });
        let refused = self.outcome != "allowed";
        self.would_allow = if refused { self.mend() } else { None };
        let mut text = format!(
            "{} {} by agent {} was {}: {}.",
            self.action,
            self.resource,
            self.agent_role,
            if self.outcome == "would-deny" {
                "let through, but would be denied"
            } else {
                &self.outcome
            },
            self.because()
        );
        if let Some(mend) = &self.would_allow {
            text.push_str("\nThis rule under egress: rules: would allow it:\n");
            text.push_str(mend);
        } else if refused {
            text.push_str("\nNo rule can allow it.");
        }
        self.text = text;
    }

    fn because(&self) -> String {
        let at = self.place.as_ref().map_or(String::new(), |place| format!(" ({place})"));
        match (self.reason.as_str(), self.rule.as_deref()) {
            ("rule", Some(RULE_METADATA_ID)) => {
                "it is where clouds hand out credentials, which is denied unless a rule names that one address".into()
            }
            ("rule", Some(RULE_MANAGERS_ID)) => {
                "whoever listens there acts for others outside of the session, which is denied unless a rule names that very socket".into()
            }
            ("rule", Some(RULE_LOOKUP_ID)) => "users are looked up there".into(),
            ("rule", Some(rule)) => match self.verdict.as_str() {
                "ask" => format!("rule {rule}{at} says to ask a person, which is not possible yet"),
                verdict => format!("rule {rule}{at} says {verdict}"),
            },
            ("default", _) => {
                format!("no rule speaks of it, and the default is {}", self.verdict)
            }
            (reason, _) => reason_in_words(reason).into(),
        }
    }

    /// The rule that would allow it.
    fn mend(&self) -> Option<String> {
        let by_rule = ["rule", "default"].contains(&self.reason.as_str());
        if !by_rule {
            return None;
        }
        if self.resource.starts_with("unix:") {
            return Some(format!("    - allow: \"{}\"", self.resource));
        }
        let (to, protocol) = inet(&self.resource)?;
        let address = crate::policy::Network::new(to.address, 128);
        Some(match protocol {
            Protocols::ICMP => format!("    - allow: \"{address}\"\n      protocol: icmp"),
            protocol => {
                let name = if protocol == Protocols::TCP { "tcp" } else { "udp" };
                let port = to.port;
                format!("    - allow: \"{address}\"\n      ports: {port}\n      protocol: {name}")
            }
        })
    }
}

fn reason_in_words(reason: &str) -> &'static str {
    let known = (0..=u8::MAX).map_while(Reason::from_u8).find(|known| known.as_str() == reason);
    match known {
        Some(Reason::Own) => "the session listens there itself",
        Some(Reason::Malformed) => "the address could not be read",
        Some(Reason::Protocol) => "it is neither TCP nor UDP nor ping nor a unix socket",
        Some(Reason::NoPolicy) => "the session's policy is not in the kernel's tables",
        Some(Reason::Ending) => "the session is being ended",
        Some(Reason::NoLabel) => "the process could not be tied to its session",
        Some(Reason::NoStandby) => "no session stood by for the program",
        Some(Reason::Steering) => {
            "it would lead packets past the rules, or change the host's network"
        }
        Some(Reason::OtherSession) => "the socket belongs to another session",
        Some(Reason::Typing) => {
            "it would type into a terminal, for a shell outside of the session to obey"
        }
        Some(Reason::Name) => "a name that is allowed was answered with that address",
        Some(Reason::Resolver) => {
            "the policy has rules by name, so only its resolvers may be asked for names"
        }
        Some(Reason::Rebinding) => {
            "a name outside was answered with an address inside, which egress.dns.inside can allow"
        }
        Some(Reason::Unasked) => "it answers no question that the session asked",
        Some(Reason::Rule | Reason::Default) | None => "of what this version does not know",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        let text = "version: 1\nagent: coder\negress:\n  rules:\n    - { allow: 10.0.0.0/24, ports: any, id: net }\n    - { deny: 10.0.0.9, id: not-this }\n";
        Policy::parse(std::path::Path::new("coder.yaml"), text.as_bytes()).unwrap()
    }

    #[test]
    fn what_a_policy_would_say() {
        let why = of_policy(&policy(), "tcp://10.0.0.9:22").unwrap();
        assert_eq!((why.outcome.as_str(), why.rule.as_deref()), ("denied", Some("not-this")));
        assert_eq!(why.place.as_deref(), Some("coder.yaml:6"));
        assert!(why.text.contains("rule not-this (coder.yaml:6) says deny"), "{}", why.text);
        let why = of_policy(&policy(), "udp://10.0.0.8:53").unwrap();
        assert_eq!((why.outcome.as_str(), why.would_allow), ("allowed", None));
        let why = of_policy(&policy(), "unix:/run/docker.sock").unwrap();
        assert_eq!(why.rule.as_deref(), Some(RULE_MANAGERS_ID));
        for wrong in ["10.0.0.9", "tcp://10.0.0.9", "unix:", "ftp://10.0.0.9:21"] {
            assert!(matches!(of_policy(&policy(), wrong), Err(Error::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn what_would_allow_it_does() {
        for resource in [
            "tcp://10.9.0.1:443",
            "udp://[fd00::1]:53",
            "icmp://10.0.0.1",
            "icmp://fd00::1",
            "unix:/run/docker.sock",
            "unix:@name",
            "tcp://169.254.169.254:80",
        ] {
            let rule = of_policy(&policy(), resource).unwrap().would_allow.unwrap();
            let text = format!("version: 1\nagent: coder\negress:\n  rules:\n{rule}\n");
            let mended = Policy::parse(std::path::Path::new("p.yaml"), text.as_bytes());
            let mended = mended.unwrap_or_else(|errors| panic!("{errors}"));
            assert_eq!(of_policy(&mended, resource).unwrap().outcome, "allowed", "{text}");
        }
    }

    #[test]
    fn what_was_logged() {
        let line = r#"{"agent_role":"coder","action":"socket","resource":"socket:packet/raw/0","outcome":"denied","id":"1-0","verdict":"deny","reason":"protocol"}"#;
        let why = of_event(line, None).unwrap();
        assert!(why.text.ends_with("No rule can allow it."), "{}", why.text);
        assert_eq!(why.would_allow, None);
        assert_eq!(of_event(r#"{"action":"session.start"}"#, None), None);
    }

    #[test]
    fn every_reason_has_words() {
        for reason in (0..=u8::MAX).map_while(Reason::from_u8) {
            let known = matches!(reason, Reason::Rule | Reason::Default);
            let words = reason_in_words(reason.as_str());
            assert_eq!(words.starts_with("of what"), known, "{reason:?}");
        }
    }
}
