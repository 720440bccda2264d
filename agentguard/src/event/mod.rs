//! Events: what the kernel recorded and what the daemon did, tied to their
//! session and put into words. One event is one JSON line, the same for every
//! consumer.

mod dns;
mod enrich;
mod file;

pub use dns::DnsInfo;
pub use enrich::{Enricher, now_since_boot};
pub use file::Places;

use serde::Serialize;

/// One event. The order of the members is the order in the line.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// When, in RFC 3339 with nanoseconds, UTC.
    pub timestamp: String,
    /// The agent whose session it concerns; "agentguard" for the daemon itself.
    pub agent_role: String,
    /// What was asked for or happened: `connect`, `session.start`, …
    pub action: &'static str,
    /// On what: `tcp://10.0.0.1:443`, a path, a session.
    pub resource: String,
    /// What became of it.
    pub outcome: Outcome,
    /// How sure agentguard is, 0 to 1. What the kernel decided is certain.
    pub confidence: f64,
    /// Which sort of event this is.
    pub kind: Class,
    /// The event's name, unique on this host since it booted.
    pub id: String,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The session's trace id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The process that acted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessInfo>,
    /// Where a connection or message was to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<DestinationInfo>,
    /// The name that was asked for or answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsInfo>,
    /// The other path, of a renaming or a linking: the new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The verdict of the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<&'static str>,
    /// Why that verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The id of the rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The SHA-256 of the policy's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_hash: Option<String>,
    /// Anything else, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The host's name.
    pub host: std::sync::Arc<str>,
}

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It went on.
    Allowed,
    /// It was refused.
    Denied,
    /// It went on, but a policy in force would have refused it.
    WouldDeny,
    /// It was done (lifecycle).
    Success,
    /// It was tried and failed (lifecycle).
    Failure,
}

/// The sorts of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A policy decided something.
    Decision,
    /// A session, a policy or the daemon itself changed.
    Lifecycle,
    /// What a session did.
    Activity,
}

/// A process, as far as it is known.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessInfo {
    /// Its number (thread group).
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// Its parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ppid: Option<u32>,
    /// Its real user.
    pub uid: u32,
    /// Its real group.
    pub gid: u32,
    /// Its name.
    pub comm: String,
    /// Its program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// Its arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// True where the record did not have room for all arguments.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub args_cut: bool,
    /// Its working directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// How it ended: the code it exited with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u32>,
    /// How it ended: the signal that killed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<u32>,
}

/// Where a connection or message was to go.
#[derive(Clone, Debug, Serialize)]
pub struct DestinationInfo {
    /// The name that was answered with the address, where the session asked for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The address. An IPv4 address in IPv6 clothes is shown as IPv4.
    pub address: String,
    /// The port.
    pub port: u16,
    /// The transport: `tcp`, `udp`, or the protocol's number.
    pub transport: String,
    /// Whether an IPv6 socket was used for an IPv4 address (`::ffff:a.b.c.d`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mapped: bool,
}

impl Event {
    /// The event as a line of JSON, without the line's end.
    #[must_use]
    pub fn line(&self) -> String {
        // Strings and numbers always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}
