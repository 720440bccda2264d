//! Events: what the kernel recorded and what the daemon did, tied to their
//! session and put into words. One event is one JSON line, the same for every
//! consumer.

mod clock;
mod dns;
mod enrich;
mod file;
mod host;
#[cfg(test)]
mod sample;
mod severity;

pub use clock::{now, now_since_boot, timestamp};
pub use dns::DnsInfo;
pub(crate) use enrich::TAINTED;
pub use enrich::{Enricher, recorded, session_of};
pub use file::Places;
#[cfg(test)]
pub(crate) use sample::sample;
pub use severity::Severity;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;

use crate::session::Snapshot;

/// One event. The order of the members is the order in the line.
#[derive(Clone, Debug, Serialize, JsonSchema)]
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
    /// The span in that trace that the session was started from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<String>,
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
    /// The question that somebody is asked, where the call waits for an answer; and the one
    /// that was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// What was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<FindingInfo>,
    /// What the session was doing when it was ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Box<Snapshot>>,
    /// The SHA-256 of the policy's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_hash: Option<String>,
    /// Anything else, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where only some lines of that sort were kept: which part of them. Each that was
    /// kept stands for `1 / sample_rate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<f64>,
    /// The host's name.
    pub host: std::sync::Arc<str>,
    /// The version of this record's layout, [`SCHEMA_VERSION`].
    pub schema_version: u32,
}

/// The version of the layout of events. It is raised when a field goes or means
/// something else; a field that is added leaves it as it is.
pub const SCHEMA_VERSION: u32 = 1;

/// How many ancestors of a process an event names, the nearest ones.
pub const MAX_ANCESTORS: usize = 8;

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It went on.
    Allowed,
    /// It was refused.
    Denied,
    /// It waits for somebody to answer.
    Held,
    /// It went on, but a policy in force would have refused it.
    WouldDeny,
    /// It was done (lifecycle).
    Success,
    /// It was tried and failed (lifecycle).
    Failure,
}

impl Outcome {
    /// The word used in events and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Held => "held",
            Self::WouldDeny => "would-deny",
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

/// The sorts of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A policy decided something.
    Decision,
    /// A session, a policy or the daemon itself changed.
    Lifecycle,
    /// What a session did.
    Activity,
    /// Something that was noticed in what a session did.
    Finding,
}

/// What was found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FindingInfo {
    /// What it is called: a kind of finding, or the id of the response that asks for people.
    pub rule: String,
    /// The ids of the events that show it, the oldest first.
    pub evidence: Vec<String>,
    /// How bad it is.
    pub severity: Severity,
}

/// A process, as far as it is known.
#[derive(Clone, Debug, Serialize, JsonSchema)]
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
    /// What it descends from within its session, its parent first; at most
    /// [`MAX_ANCESTORS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<AncestorInfo>,
    /// How it ended: the code it exited with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u32>,
    /// How it ended: the signal that killed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<u32>,
}

/// A process that another one descends from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AncestorInfo {
    /// Its number (thread group).
    pub pid: u32,
    /// Its program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
}

/// Where a connection or message was to go.
#[derive(Clone, Debug, Serialize, JsonSchema)]
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
    /// The JSON Schema (draft 2020-12) of one line.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        SchemaSettings::draft2020_12()
            .for_serialize()
            .into_generator()
            .into_root_schema_for::<Self>()
            .into()
    }

    /// The event as a line of JSON, without the line's end.
    #[must_use]
    pub fn line(&self) -> String {
        // Strings and numbers always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
