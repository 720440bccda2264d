//! Sessions: one run of an agent, from its first process to its last.

mod adoption;
mod cgroup;
mod correlation;
mod find;
mod manager;
mod paths;
mod policies;
mod process;
mod store;

pub use adoption::Adoption;
pub use cgroup::{Cgroup, Cgroups, cgroup_mount};
pub use correlation::{Correlation, trace_id};
pub use find::{pidfd_open, tasks};
pub use manager::{Adopted, Doomed, Ended, NewSession, PROBE_SLOT, Sessions};
pub use paths::SessionPaths;
pub use policies::{PROBE_POLICY, Policies};
pub use process::{Process, Processes};
pub use store::Store;

use agentguard_common::session::State;
use serde::{Deserialize, Serialize};

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
