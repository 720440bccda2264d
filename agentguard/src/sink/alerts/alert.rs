//! What an alert is, and which events raise one or end some: [`signal`], one pure
//! function.

use serde::{Deserialize, Serialize};

use crate::event::{Class, Event, Outcome, Severity};

/// What tells one alert from another: the same rule in the same session, or on the
/// host where it is about no session, is the same alert.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Key {
    /// The host.
    pub(crate) host: String,
    /// The session, where it is about one.
    pub(crate) session: Option<String>,
    /// The rule: a finding's, or the action of a lifecycle event.
    pub(crate) rule: String,
}

impl Key {
    /// The key as one word, by which products tell alerts apart.
    pub(crate) fn word(&self) -> String {
        let session = self.session.as_deref().unwrap_or("host");
        format!("agentguard/{}/{session}/{}", self.host, self.rule)
    }
}

/// Something that somebody should know of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alert {
    pub(crate) key: Key,
    pub(crate) severity: Severity,
    /// One line for people.
    pub(crate) summary: String,
    /// The agent; "agentguard" where it is about the daemon itself.
    pub(crate) agent: String,
    /// What it was about: a place, a path, a command.
    pub(crate) resource: String,
    /// How sure it is, 0 to 1.
    pub(crate) confidence: f64,
    /// The id of the event that raised it.
    pub(crate) event: String,
    /// The session's trace id.
    pub(crate) correlation_id: Option<String>,
    /// When it happened, as the event has it.
    pub(crate) timestamp: String,
    /// Whether it tells of a state, which lasts until an event says that it is over.
    pub(crate) lasting: bool,
}

/// What an event means for alerts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Signal {
    /// It raises one, or raises it again.
    Raise(Box<Alert>),
    /// Whatever was raised about this session is over.
    SessionOver(String),
    /// These alerts are over.
    Over(Vec<Key>),
}

/// Lifecycle events that are alerts when they succeed, and how bad they are.
const NOTABLE: &[(&str, Severity)] = &[
    ("session.kill", Severity::High),
    ("session.pause", Severity::Medium),
    ("session.ask", Severity::Medium),
    ("session.taint", Severity::Medium),
    ("session.throttle", Severity::Low),
    ("daemon.stop", Severity::Low),
];
/// Policies that are not in order are so until they are mended.
const REJECTED: &str = "policy.reject";
/// Lifecycle events that end the alerts of others. Those last until then, however long
/// that is.
const ENDS: &[(&str, &[&str])] = &[
    ("session.resume", &["session.pause", "session.ask"]),
    ("session.clear", &["session.taint"]),
    ("session.unthrottle", &["session.throttle"]),
    ("policy.apply", &[REJECTED]),
    ("daemon.start", &["daemon.stop"]),
];

/// What the rules of alerts that ask somebody begin with, before the question.
const ASKED: &str = "ask:";

/// What an event means for alerts; `None` for almost all of them.
pub(crate) fn signal(event: &Event) -> Option<Signal> {
    match event.kind {
        Class::Lifecycle => lifecycle(event),
        Class::Finding => {
            let finding = event.finding.as_ref()?;
            Some(raise(event, &finding.rule, finding.severity))
        }
        Class::Decision if event.outcome == Outcome::Held => {
            let question = event.question.as_ref()?;
            Some(raise(event, &asked(question), Severity::Medium))
        }
        Class::Decision | Class::Activity => None,
    }
}

/// The rule of the alert that somebody is asked something.
fn asked(question: &str) -> String {
    format!("{ASKED}{question}")
}

fn lifecycle(event: &Event) -> Option<Signal> {
    if let (true, Some(question)) = (event.action.starts_with("ask."), &event.question) {
        return Some(Signal::Over(vec![key(event, &asked(question))]));
    }
    if event.outcome == Outcome::Failure {
        return Some(raise(event, event.action, failed(event.action)));
    }
    if event.action == "session.end" {
        return event.session.clone().map(Signal::SessionOver);
    }
    if let Some((_, rules)) = ENDS.iter().find(|(action, _)| *action == event.action) {
        return Some(Signal::Over(rules.iter().map(|rule| key(event, rule)).collect()));
    }
    let (rule, severity) = NOTABLE.iter().find(|(action, _)| *action == event.action)?;
    Some(raise(event, rule, *severity))
}

/// How bad it is when something of agentguard's own did not work. What records or
/// stops agents is worst.
fn failed(action: &str) -> Severity {
    match action {
        "session.kill" | "session.pause" => Severity::Critical,
        _ if action.starts_with("log.") || action.starts_with("audit.") => Severity::High,
        _ if action.starts_with("policy.") || action.starts_with("daemon.") => Severity::High,
        _ => Severity::Medium,
    }
}

fn key(event: &Event, rule: &str) -> Key {
    Key { host: event.host.to_string(), session: event.session.clone(), rule: rule.to_owned() }
}

fn raise(event: &Event, rule: &str, severity: Severity) -> Signal {
    Signal::Raise(Box::new(Alert {
        key: key(event, rule),
        severity,
        summary: summary(event, rule),
        agent: event.agent_role.clone(),
        resource: event.resource.clone(),
        confidence: event.confidence,
        event: event.id.clone(),
        correlation_id: event.correlation_id.clone(),
        timestamp: event.timestamp.clone(),
        lasting: event.outcome == Outcome::Held
            || (event.outcome == Outcome::Success || rule == REJECTED)
                && ENDS.iter().any(|(_, rules)| rules.contains(&rule)),
    }))
}

/// One line: what, by whom, why. Control characters, which a name can hold, are
/// taken out, so that it stays one line wherever it is shown.
fn summary(event: &Event, rule: &str) -> String {
    let mut text = format!("{rule}: ");
    if event.outcome == Outcome::Failure {
        text.push_str("failed: ");
    }
    if event.outcome == Outcome::Held {
        text.push_str(&format!("{} ", event.action));
    }
    text.push_str(event.message.as_deref().unwrap_or(&event.resource));
    text.push_str(&format!(" (agent {}", event.agent_role));
    if let Some(session) = &event.session {
        text.push_str(&format!(", session {session}"));
    }
    text.push_str(&format!(", host {})", event.host));
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::sample;

    fn raised(event: &Event) -> Alert {
        match signal(event) {
            Some(Signal::Raise(alert)) => *alert,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_kill_is_an_alert_of_its_session() {
        let mut event = sample::lifecycle("session.kill");
        event.message = Some("killed by\nuser 0".to_owned());
        let alert = raised(&event);
        assert_eq!(alert.severity, Severity::High);
        assert_eq!(alert.key.session, event.session);
        assert_eq!(alert.key.word(), "agentguard/host-1/hoerqjw6wv/session.kill");
        assert_eq!(
            alert.summary,
            "session.kill: killed by user 0 (agent coder, session hoerqjw6wv, host host-1)"
        );
    }

    #[test]
    fn a_question_is_an_alert_until_it_is_answered() {
        let held =
            Event { question: Some("q1".into()), outcome: Outcome::Held, ..sample::denied() };
        let alert = raised(&held);
        assert_eq!((alert.key.rule.as_str(), alert.lasting), ("ask:q1", true));
        assert!(alert.summary.starts_with("ask:q1: connect "), "{}", alert.summary);
        let answer = |action, question: &str| Event {
            action,
            kind: Class::Lifecycle,
            outcome: Outcome::Success,
            question: Some(question.into()),
            ..sample::denied()
        };
        for action in ["ask.approve", "ask.deny", "ask.expire"] {
            assert_eq!(signal(&answer(action, "q1")), Some(Signal::Over(vec![alert.key.clone()])));
        }
        assert_ne!(signal(&answer("ask.deny", "q2")), Some(Signal::Over(vec![alert.key])));
    }

    #[test]
    fn a_finding_is_an_alert_as_bad_as_it_says() {
        let alert = raised(&sample::finding());
        assert_eq!((alert.severity, alert.key.rule.as_str()), (Severity::High, "probing"));
        assert_eq!(alert.confidence, 0.8);
        assert!(alert.summary.starts_with("probing: 41 ports of 3 hosts"), "{}", alert.summary);
        assert_eq!(alert.event, sample::finding().id);
    }

    #[test]
    fn what_failed_is_an_alert_and_worst_where_an_agent_was_to_be_stopped() {
        for (action, severity) in [
            ("session.kill", Severity::Critical),
            ("log.lost", Severity::High),
            ("audit.lost", Severity::High),
            ("session.start", Severity::Medium),
        ] {
            let mut event = sample::lifecycle(action);
            event.outcome = Outcome::Failure;
            let alert = raised(&event);
            assert_eq!((alert.severity, alert.key.rule.as_str()), (severity, action));
            assert!(alert.summary.contains("failed"));
        }
    }

    #[test]
    fn what_ends_ends_what_it_belongs_to() {
        let event = sample::lifecycle("session.end");
        assert_eq!(signal(&event), Some(Signal::SessionOver("hoerqjw6wv".to_owned())));
        let key = |rule| raised(&sample::lifecycle(rule)).key;
        let resumed = signal(&sample::lifecycle("session.resume"));
        let both = vec![key("session.pause"), key("session.ask")];
        assert_eq!(resumed, Some(Signal::Over(both)));
        assert!(raised(&sample::lifecycle("session.pause")).lasting);
        assert!(!raised(&sample::lifecycle("session.kill")).lasting);
    }

    #[test]
    fn every_rule_of_ours_has_its_page_of_what_to_do() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/response.md");
        let text = std::fs::read_to_string(page).unwrap();
        for (rule, _) in NOTABLE {
            let headed = |line: &str| {
                line.strip_prefix("### ").is_some_and(|it| it.split(", ").any(|it| it == *rule))
            };
            assert!(text.lines().any(headed), "{rule}");
        }
    }

    #[test]
    fn ordinary_events_raise_nothing() {
        assert_eq!(signal(&sample::denied()), None);
        assert_eq!(signal(&sample::exec()), None);
        assert_eq!(signal(&sample::lifecycle("session.start")), None);
        let mut exit = sample::exec();
        exit.outcome = Outcome::Failure;
        assert_eq!(signal(&exit), None, "a program that failed is no failure of ours");
    }
}
