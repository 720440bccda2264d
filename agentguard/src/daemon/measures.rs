//! What the daemon tells the metrics about itself.

use std::sync::Arc;
use std::time::Duration;

use super::{Daemon, State};
use crate::config::MetricsConfig;
use crate::error::Result;
use crate::event::{Class, now_since_boot};
use crate::kernel::{Pins, ProgramStats, Tables};
use crate::sink::{Hub, PolicyRow, SessionRow, register_kernel};

/// Adds what the kernel counts to the metrics.
pub(super) fn of_kernel(hub: &Hub, tables: &Arc<Tables>, config: &MetricsConfig) -> Result<()> {
    let Some(metrics) = hub.metrics() else { return Ok(()) };
    let programs = config.program_stats.then(|| ProgramStats::start(&Pins::default()));
    register_kernel(metrics, Arc::clone(tables), programs.transpose()?)
}

impl Daemon {
    /// Puts down which sessions and policies there are.
    pub(super) fn survey(&self) {
        let state = self.state.borrow();
        let State { sessions, policies, hub, .. } = &*state;
        let Some(metrics) = hub.metrics() else { return };
        let sessions = sessions.live().map(|session| SessionRow {
            slot: session.slot,
            agent: session.agent.clone(),
            state: session.state,
            slowed: session.throttled.is_some(),
            cgroup: Some(sessions.cgroup_of(session)),
            limits: session.limits.clone(),
        });
        let policies = policies.all().map(|policy| PolicyRow {
            agent: policy.agent.clone(),
            mode: policy.mode.as_str(),
            hash: crate::hex(&policy.hash),
        });
        metrics.overview().set(sessions.collect(), policies.collect());
    }

    /// Puts down how long a record took to get out of the kernel and to every sink.
    pub(super) fn timed(&self, kind: Class, recorded: u64) {
        if let Some(metrics) = self.state.borrow().hub.metrics() {
            let after = now_since_boot().saturating_sub(recorded);
            metrics.published(kind, Duration::from_nanos(after));
        }
    }
}
