//! Why something was refused, in words: by which rule, where that stands, and what would
//! let it through. For people, for programs, and for the agent itself.

use agentguard_common::host::{POWERS, Power};
use agentguard_common::verdict::{RULE_NONE, Reason};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::event::TAINTED;
use crate::policy::{Policy, RULE_LOOKUP_ID, RULE_MANAGERS_ID, RULE_METADATA_ID, Target};

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
    why.complete(policy, text("message").as_deref() == Some(TAINTED));
    Some(why)
}

/// Explains what a policy would say to `tcp://10.0.0.1:443`, `github.com:443`,
/// `unix:/run/db.sock`, or to looking up a name, `dns:github.com`.
///
/// # Errors
///
/// [`Error::Usage`] where that is no place, and what keeps the policy from being compiled.
pub fn of_policy(policy: &Policy, resource: &str) -> Result<Explanation> {
    let target = Target::parse(resource).map_err(|(problem, mend)| {
        Error::Usage(format!("{resource:?} is no place: {problem}: {mend}"))
    })?;
    let ruling = target.decide(&policy.compile()?);
    // Without rules by name, a question is a connection to a resolver like any other.
    let asking = matches!(target, Target::Ask(_));
    if asking && policy.egress.lookups().is_none() {
        return Err(Error::Usage(
            "the policy has no rules by name, so questions are not looked at: write the resolver, such as udp://10.0.0.53:53".into(),
        ));
    }
    let outcome = if ruling.verdict.passes() { "allowed" } else { "denied" };
    let rule = (ruling.rule != RULE_NONE).then(|| policy.rule_id(ruling.rule)).flatten();
    let mut why = Explanation {
        id: None,
        agent_role: policy.agent.clone(),
        action: if asking { "resolve" } else { "connect" }.into(),
        resource: resource.into(),
        outcome: outcome.into(),
        verdict: ruling.verdict.as_str().into(),
        reason: ruling.reason.as_str().into(),
        rule: rule.map(str::to_owned),
        place: None,
        would_allow: None,
        text: String::new(),
    };
    why.complete(Some(policy), false);
    Ok(why)
}

impl Explanation {
    /// Fills in what follows from the rest; `tainted` where it was decided by what holds for
    /// a session that has read a secret.
    fn complete(&mut self, policy: Option<&Policy>, tainted: bool) {
        let rule = self.rule.as_deref();
        self.place = policy.and_then(|policy| {
            Some(format!("{}:{}", policy.path.display(), policy.line_of(rule?)?))
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
            text.push_str(match self.power() {
                Some(_) => "\nThis in the policy would allow it, and all of the kind:\n",
                None if tainted => "\nThis rule under tainted: egress: rules: would allow it:\n",
                None => "\nThis rule under egress: rules: would allow it:\n",
            });
            text.push_str(mend);
        } else if refused {
            text.push_str(match self.reason.as_str() {
                "resolver" => "\nIts address under egress: dns: resolvers: would let it be asked.",
                "rebinding" => "\nThe network under egress: dns: inside: would allow it.",
                _ => "\nNo rule can allow it.",
            });
        }
        if tainted {
            text.push_str(
                "\nThis holds because the session has read a secret; `agentguard clear` ends that.",
            );
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
                "ask" => format!("rule {rule}{at} says to ask a person"),
                verdict => format!("rule {rule}{at} says {verdict}"),
            },
            ("default", _) => {
                format!("no rule speaks of it, and the default is {}", self.verdict)
            }
            ("resolver", _) if self.outcome == "allowed" => {
                "it is a resolver that the policy lets the session ask".into()
            }
            (reason, _) => reason_in_words(reason).into(),
        }
    }

    /// What a policy would have to open, where the decision was about the host.
    fn power(&self) -> Option<Power> {
        let of_host = matches!(self.reason.as_str(), "outside" | "other-session" | "host");
        POWERS.into_iter().find(|power| of_host && power.as_str() == self.action)
    }

    /// The rule that would allow it.
    fn mend(&self) -> Option<String> {
        if let Some(power) = self.power() {
            return Some(format!("host:\n  allow: {}", power.as_str()));
        }
        let target = Target::parse(&self.resource).ok()?;
        match self.reason.as_str() {
            "rule" | "default" => Some(target.rule()),
            // A resolver is better listed as one: a rule for its address lets anything be
            // asked. What answers on other ports (mDNS, LLMNR) cannot be listed.
            "resolver" if !target.is_resolver() => Some(target.rule()),
            _ => None,
        }
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
        Some(Reason::OtherSession) => "the socket or process belongs to another session",
        Some(Reason::Typing) => {
            "it would type into a terminal, for a shell outside of the session to obey"
        }
        Some(Reason::Name) => "a name that is allowed was answered with that address",
        Some(Reason::Resolver) => {
            "the policy has rules by name, so only its resolvers may be asked for names, on port 53"
        }
        Some(Reason::Rebinding) => {
            "a name outside was answered with an address inside, which egress.dns.inside can allow"
        }
        Some(Reason::Unasked) => "it answers no question that the session asked",
        Some(Reason::NoPlace) => {
            "the file has no place in the tree of the host's first process, whose paths the rules speak of"
        }
        Some(Reason::Limit) => {
            "its path is too deep, stands in too many places, or did not stay the same"
        }
        Some(Reason::Memory) => {
            "it is in memory, deleted, or on a file system of the session's own, and exec.memory is not allow"
        }
        Some(Reason::Writable) => "the session may write it, and exec.from_writable says deny",
        Some(Reason::Mount) => "it would give files other paths than the rules speak of",
        Some(Reason::Moved) => {
            "what is below would have other rules there; a copy is decided file by file"
        }
        Some(Reason::Sni) => {
            "the TLS handshake names a server that no rule allows on that port; many share an address"
        }
        Some(Reason::NoSni) => "the TLS handshake names no server, and egress.tls is strict",
        Some(Reason::Hidden) => {
            "the TLS handshake may hide the name that counts, and egress.tls is strict"
        }
        Some(Reason::NotTls) => "it is no TLS handshake, and egress.tls is strict",
        Some(Reason::Budget) => {
            "the session has used up what limits: lets through in that time; it comes in again"
        }
        Some(Reason::Outside) => "the process is not of the session",
        Some(Reason::Host) => "it is the host's own: its kernel, its settings or its devices",
        Some(Reason::Protected) => "it is agentguard's own",
        Some(Reason::Tainted) => {
            "what the session sent there when it had read a secret did not go out, and neither does what comes behind it: another connection may"
        }
        Some(Reason::Approved) => "somebody was asked, and let it through",
        Some(Reason::Refused) => "somebody was asked, and refused it",
        Some(Reason::Unanswered) => "somebody was asked, and did not answer in time",
        Some(Reason::Unattended) => {
            "a rule says to ask a person, and no daemon runs by which one could be asked"
        }
        Some(Reason::Unheld) => {
            "a rule says to ask a person, and it cannot wait for an answer: it is no system call by itself, or has begun"
        }
        Some(Reason::Crowded) => {
            "a rule says to ask a person, and too many calls of the session wait for answers"
        }
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
        for wrong in [
            "10.0.0.9",
            "tcp://10.0.0.9",
            "unix:",
            "ftp://10.0.0.9:21",
            "github.com",
            "*.github.com:443",
            "https://github.com/",
            "localhost:80",
            "dns:github.com",
        ] {
            assert!(matches!(of_policy(&policy(), wrong), Err(Error::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn what_a_policy_would_say_to_names() {
        let text = "version: 1\nagent: coder\negress:\n  rules:\n    - allow: '*.github.com'\n    - { deny: gist.github.com, id: no-gists }\n";
        let policy = Policy::parse(std::path::Path::new("p.yaml"), text.as_bytes()).unwrap();
        for (resource, outcome, rule) in [
            ("api.github.com:443", "allowed", Some("egress.1")),
            ("tcp://API.github.com.:443", "allowed", Some("egress.1")),
            ("udp://api.github.com:80", "denied", None),
            ("gist.github.com:443/tcp", "denied", Some("no-gists")),
            ("github.com:443", "denied", None),
            ("dns:api.github.com", "allowed", Some("egress.1")),
            ("dns:gist.github.com", "denied", Some("no-gists")),
            ("dns:github.com", "denied", None),
        ] {
            let why = of_policy(&policy, resource).unwrap();
            let said = (why.outcome.as_str(), why.rule.as_deref());
            assert_eq!(said, (outcome, rule), "{resource}");
            assert_eq!(
                why.action,
                if resource.starts_with("dns:") { "resolve" } else { "connect" }
            );
        }
        let mend = |resource| of_policy(&policy, resource).unwrap().would_allow.unwrap();
        assert_eq!(mend("github.com:443"), "    - allow: github.com");
        assert_eq!(mend("dns:github.com"), "    - allow: github.com");
        assert_eq!(mend("github.com:22"), "    - allow: github.com\n      ports: 22");
    }

    #[test]
    fn what_was_logged_of_names() {
        let of = |resource: &str, outcome: &str, reason: &str| {
            let line = format!(
                r#"{{"agent_role":"coder","action":"send","resource":"{resource}","outcome":"{outcome}","id":"1-0","verdict":"deny","reason":"{reason}"}}"#
            );
            of_event(&line, None).unwrap()
        };
        let why = of("dns:evil.test", "denied", "default");
        assert_eq!(why.would_allow.as_deref(), Some("    - allow: evil.test"));
        let why = of("udp://9.9.9.9:53", "denied", "resolver");
        assert!(why.would_allow.is_none() && why.text.contains("dns: resolvers:"), "{}", why.text);
        let why = of("udp://224.0.0.251:5353", "denied", "resolver");
        assert!(why.would_allow.is_some(), "{}", why.text);
        let why = of("udp://10.0.0.53:53", "allowed", "resolver");
        assert!(why.text.ends_with("lets the session ask."), "{}", why.text);
        let why = of("dns:evil.test", "denied", "rebinding");
        assert!(why.text.contains("dns: inside:"), "{}", why.text);
        let why = of("udp://10.0.0.53:53", "denied", "unasked");
        assert!(why.text.ends_with("No rule can allow it."), "{}", why.text);
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
            "github.com:443",
            "github.com:22/tcp",
            "udp://true:53",
            "1.e5:443",
            "icmp://github.com",
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
    fn what_would_be_done_to_the_host_has_a_mend_that_is_a_policy() {
        let of = |action: &str, reason: &str| {
            let line = format!(
                r#"{{"agent_role":"coder","action":"{action}","resource":"process:1/init","outcome":"denied","id":"1-0","verdict":"deny","reason":"{reason}"}}"#
            );
            of_event(&line, None).unwrap()
        };
        let mend = of("signal", "outside").would_allow.unwrap();
        let text = format!("version: 1\nagent: coder\n{mend}\n");
        let policy = Policy::parse(std::path::Path::new("p.yaml"), text.as_bytes()).unwrap();
        assert_eq!(policy.host, [Power::Signal]);
        let why = of("signal", "other-session");
        assert!(why.text.contains("This in the policy would allow it"), "{}", why.text);
        for (action, reason) in [("connect", "other-session"), ("file.write", "protected")] {
            let why = of(action, reason);
            assert_eq!(why.would_allow, None);
            assert!(why.text.ends_with("No rule can allow it."), "{}", why.text);
        }
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
