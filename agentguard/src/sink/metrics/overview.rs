//! What the daemon knows of sessions and policies. Its thread puts it down once a
//! second, so that whoever reads the metrics need not wait for that thread.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Metrics;
use super::sheet::{Read, Sheet, Spec};
use crate::error::Result;
use crate::policy::Limits;
use crate::session::{Cgroup, Phase};

/// How old the daemon's word may be until the daemon counts as stuck.
const FRESH: Duration = Duration::from_secs(10);

/// The states that a session that is not over can be in.
const STATES: [Phase; 5] =
    [Phase::Standby, Phase::Starting, Phase::Running, Phase::Paused, Phase::Ending];

const BUILD: Spec = Spec::gauge(
    "agentguard_build_info",
    &["version", "programs"],
    "1; the version, and the hash of the kernel programs in it.",
);
const SESSIONS: Spec = Spec::gauge(
    "agentguard_sessions",
    &["agent", "state"],
    "Sessions that are not over, by agent and state.",
);
const POLICY: Spec = Spec::gauge(
    "agentguard_policy_info",
    &["agent", "mode", "policy_hash"],
    "1 for each policy that is declared or still in force for a session, by the SHA-256 of its file.",
);
const AGE: Spec = Spec::gauge(
    "agentguard_sweep_age_seconds",
    &[],
    "Time since the daemon last looked after its sessions, which it does once a second.",
);

/// A session that is not over.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// Where its counters are in the kernel's table.
    pub slot: u32,
    /// Its agent.
    pub agent: String,
    /// What it is doing.
    pub state: Phase,
    /// Whether a response slowed it down.
    pub slowed: bool,
    /// Where what it uses can be read.
    pub cgroup: Option<Cgroup>,
    /// What it may use.
    pub limits: Limits,
}

/// A policy that is declared or in force.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyRow {
    /// Its agent.
    pub agent: String,
    /// `enforce` or `observe`.
    pub mode: &'static str,
    /// The SHA-256 of its file, in hexadecimal digits.
    pub hash: String,
}

/// The daemon's last word.
#[derive(Default)]
pub struct Overview {
    last: Mutex<Option<Arc<Said>>>,
}

/// What the daemon said, and when.
pub(super) struct Said {
    pub(super) sessions: Vec<SessionRow>,
    pub(super) policies: BTreeSet<PolicyRow>,
    at: Instant,
}

impl Overview {
    /// Puts down how it is now.
    pub fn set(&self, sessions: Vec<SessionRow>, policies: BTreeSet<PolicyRow>) {
        let said = Arc::new(Said { sessions, policies, at: Instant::now() });
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(said);
    }

    pub(super) fn last(&self) -> Option<Arc<Said>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the daemon does its work, or else what is wrong.
    ///
    /// # Errors
    ///
    /// Where it has not looked after its sessions for too long, or not yet.
    pub fn check(&self) -> std::result::Result<(), String> {
        let Some(said) = self.last() else { return Err("starting".into()) };
        match said.at.elapsed() {
            age if age <= FRESH => Ok(()),
            age => Err(format!("the daemon has been busy or stuck for {} seconds", age.as_secs())),
        }
    }
}

pub(super) fn register(metrics: &Metrics) -> Result<()> {
    let programs = crate::kernel::object_name();
    let overview = Arc::clone(&metrics.overview);
    metrics.register(Box::new(Read::new(&[BUILD, SESSIONS, POLICY, AGE], move |sheet| {
        sheet.put(BUILD, &[env!("CARGO_PKG_VERSION"), &programs], 1.0);
        if let Some(said) = overview.last() {
            put(&said, sheet);
        }
    })?))
}

fn put(said: &Said, sheet: &mut Sheet) {
    sheet.put(AGE, &[], said.at.elapsed().as_secs_f64());
    for policy in &said.policies {
        sheet.put(POLICY, &[&policy.agent, policy.mode, &policy.hash], 1.0);
    }
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    // An agent without a session has zeros, so that its line does not come and go.
    for agent in said.policies.iter().map(|policy| policy.agent.as_str()) {
        counts.extend(STATES.iter().map(|state| ((agent, state.as_str()), 0)));
    }
    for session in &said.sessions {
        *counts.entry((&session.agent, session.state.as_str())).or_default() += 1;
    }
    for ((agent, state), count) in counts {
        sheet.put_count(SESSIONS, &[agent, state], count);
    }
}
