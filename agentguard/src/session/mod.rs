//! Sessions: one run of an agent, from its first process to its last.

mod adoption;
mod cgroup;
mod control;
mod correlation;
mod disk;
mod doomed;
mod find;
mod limiting;
mod manager;
pub(crate) mod name;
mod notice;
mod paths;
mod policies;
mod process;
mod snapshot;
mod store;
mod switching;
mod usage;

pub use adoption::Adoption;
pub use cgroup::{Cgroup, Cgroups, cgroup_mount};
pub use correlation::{Correlation, session_span_id, span_id, trace_and_span};
pub use disk::{Disk, disk_of};
pub use doomed::Doomed;
pub use find::{pidfd_open, tasks};
pub use limiting::{InForce, disk_for, limit_files};
pub use manager::{Adopted, Ended, NewSession, PROBE_SLOT, Sessions};
pub use notice::{Notice, Notices, Refusal};
pub use paths::{LINGER, SessionPaths};
pub use policies::{PROBE_POLICY, Policies, Slots};
pub use process::{Process, Processes};
pub use snapshot::{Camera, Running, Snapshot};
pub use store::Store;
pub use switching::{Relearned, Switch};
pub use usage::{Hits, Usage};

use agentguard_common::session::State;
use serde::{Deserialize, Serialize};

use crate::policy::{Bindings, Limits};

/// The number that the kernel's tables carry for the trial session of `doctor`.
pub const PROBE_SESSION: u64 = u64::MAX;

/// A session, as the daemon remembers it across its own restarts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its name in commands and logs.
    pub id: String,
    /// Its number in the kernel, never used again.
    pub number: u64,
    /// Where it stands in the kernel's table.
    pub slot: u32,
    /// The agent, which is the policy's name.
    pub agent: String,
    /// The SHA-256 of the policy's file, in hexadecimal digits.
    pub policy_hash: String,
    /// The W3C trace id that ties it to the agent's own telemetry.
    pub correlation_id: String,
    /// The span in that trace that the session was started from, where one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<String>,
    /// The user who started it.
    pub uid: u32,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// The directory that `${workspace}` stands for.
    pub workspace: String,
    /// When it was started, in nanoseconds since 1970.
    pub started: u64,
    /// Its first process.
    pub pid: u32,
    /// Its cgroup's path under the mount of cgroup v2.
    pub cgroup: String,
    /// What it is doing.
    pub state: Phase,
    /// Why it was ended, where it was not its own end.
    pub killed: Option<String>,
    /// Its rules on paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<SessionPaths>,
    /// Those of before, while a change to other ones is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths_before: Option<SessionPaths>,
    /// What the variables in its policy's paths stand for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bindings: Option<Bindings>,
    /// Whether a policy is learned from it: nothing is refused to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub learning: bool,
    /// What it may use of the host.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// What it read that is secret, where it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tainted: Option<String>,
    /// Why it is slowed down, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled: Option<String>,
    /// Why it stands still, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
}

/// What a session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It waits for a process that matches its policy.
    Standby,
    /// It has a slot, and its first process is being made.
    Starting,
    /// Its processes run under its policy.
    Running,
    /// Its processes stand still until somebody lets them go on.
    Paused,
    /// It is being killed.
    Ending,
    /// It has no processes left.
    Ended,
}

impl Phase {
    /// The word used in logs and commands.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standby => "standby",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Ending => "ending",
            Self::Ended => "ended",
        }
    }
}

/// What the kernel is told to do, by the policy's mode.
#[must_use]
pub const fn kernel_state(mode: crate::policy::Mode) -> State {
    match mode {
        crate::policy::Mode::Enforce => State::Enforce,
        crate::policy::Mode::Observe => State::Observe,
    }
}
