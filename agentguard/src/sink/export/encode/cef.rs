//! CEF (the Common Event Format, version 0) in a syslog message as RFC 5424 has it.
//!
//! Both formats are text with characters that mean something. An agent chooses names
//! and paths; so all of them are escaped, and control characters are taken out, lest
//! somebody writes lines of his own into the log store.

use std::fmt::Write as _;

use crate::event::{Event, Severity};

/// The longest value of one extension, in characters.
const LONGEST: usize = 1023;

/// What is the same for all of them.
pub(in crate::sink::export) struct Cef {
    /// 0 to 23.
    pub(in crate::sink::export) facility: u8,
    /// Our own process.
    pub(in crate::sink::export) pid: u32,
}

impl Cef {
    /// The message, without any framing.
    pub(in crate::sink::export) fn encode(&self, event: &Event) -> String {
        let severity = super::severity(event);
        let priority = u32::from(self.facility) * 8 + syslog(severity);
        let mut text = format!(
            "<{priority}>1 {} {} agentguard {} {} - ",
            time(event),
            word(&event.host, 255),
            self.pid,
            word(event.action, 32),
        );
        // RFC 5424 lets a mark (a BOM) say that what follows is UTF-8. It is left out:
        // what reads CEF expects its first word here.
        let _ = write!(
            text,
            "CEF:0|agentguard|agentguard|{}|{}|{}|{}|",
            env!("CARGO_PKG_VERSION"),
            header(event.finding.as_ref().map_or(event.action, |finding| &finding.rule)),
            header(&title(event)),
            level(severity),
        );
        let mut between = "";
        for (name, value) in extensions(event) {
            let _ = write!(text, "{between}{name}={}", extension(&value));
            between = " ";
        }
        text
    }
}

fn title(event: &Event) -> String {
    match &event.finding {
        Some(finding) => format!("finding {}", finding.rule),
        None => format!("{} {}", event.outcome.as_str(), event.action),
    }
}

/// RFC 5424 takes at most six digits of a second.
fn time(event: &Event) -> String {
    match event.timestamp.split_once('.') {
        Some((seconds, rest)) => {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).take(6).collect();
            format!("{seconds}.{digits}Z")
        }
        None => event.timestamp.clone(),
    }
}

/// A word of a syslog header: printable ASCII without blanks, and `-` for none.
fn word(text: &str, most: usize) -> String {
    let fit: String = text.chars().filter(char::is_ascii_graphic).take(most).collect();
    if fit.is_empty() { "-".to_owned() } else { fit }
}

/// A part of CEF's header.
fn header(text: &str) -> String {
    clean(text).replace('\\', "\\\\").replace('|', "\\|")
}

/// The value of an extension.
fn extension(text: &str) -> String {
    clean(text).replace('\\', "\\\\").replace('=', "\\=")
}

fn clean(text: &str) -> String {
    let shown =
        |c: char| if c.is_control() || c == '\u{2028}' || c == '\u{2029}' { ' ' } else { c };
    text.chars().take(LONGEST).map(shown).collect()
}

fn extensions(event: &Event) -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("rt", super::milliseconds(event).to_string()),
        ("externalId", event.id.clone()),
        ("dvchost", event.host.to_string()),
        ("act", event.outcome.as_str().to_owned()),
        ("outcome", event.outcome.as_str().to_owned()),
        ("cat", format!("{:?}", event.kind).to_lowercase()),
        ("msg", super::words(event)),
    ];
    let mut maybe = |name, value: Option<String>| all.extend(value.map(|value| (name, value)));
    maybe("reason", event.reason.map(str::to_owned));
    if let Some(process) = &event.process {
        maybe("spid", Some(process.pid.to_string()));
        maybe("suid", Some(process.uid.to_string()));
        maybe("sproc", process.exe.clone().or_else(|| Some(process.comm.clone())));
    }
    if let Some(to) = &event.destination {
        maybe("dhost", to.name.clone());
        match to.address.contains(':') {
            // CEF's own word is for IPv4 alone.
            true => {
                maybe("c6a3", Some(to.address.clone()));
                maybe("c6a3Label", Some("Destination IPv6 Address".to_owned()));
            }
            false => maybe("dst", Some(to.address.clone())),
        }
        maybe("dpt", Some(to.port.to_string()));
        maybe("proto", Some(to.transport.to_uppercase()));
    }
    maybe("dhost", event.dns.as_ref().map(|dns| dns.name.clone()));
    if event.action.starts_with("file.") {
        maybe("filePath", Some(event.resource.clone()));
        maybe("fname", Some(super::file_name(&event.resource).to_owned()));
    }
    let own = [
        ("cs1Label", "cs1", "agentRole", Some(event.agent_role.clone())),
        ("cs2Label", "cs2", "session", event.session.clone()),
        ("cs3Label", "cs3", "rule", event.rule.clone()),
        ("cs4Label", "cs4", "policyHash", event.policy_hash.clone()),
        ("cs5Label", "cs5", "correlationId", event.correlation_id.clone()),
        ("cs6Label", "cs6", "resource", Some(event.resource.clone())),
        ("cfp1Label", "cfp1", "confidence", Some(event.confidence.to_string())),
    ];
    for (label, name, called, value) in own {
        if let Some(value) = value {
            all.extend([(label, called.to_owned()), (name, value)]);
        }
    }
    all
}

/// CEF counts from 0 to 10.
const fn level(severity: Severity) -> u8 {
    match severity {
        Severity::Info => 1,
        Severity::Low => 3,
        Severity::Medium => 5,
        Severity::High => 8,
        Severity::Critical => 10,
    }
}

/// Syslog counts from 7 down to 0.
const fn syslog(severity: Severity) -> u32 {
    match severity {
        Severity::Info => 6,
        Severity::Low => 5,
        Severity::Medium => 4,
        Severity::High => 3,
        Severity::Critical => 2,
    }
}
