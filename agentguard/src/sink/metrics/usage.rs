//! What sessions use of the host, and how near they are to their limits: read from
//! their cgroups when somebody asks, some ten small files for each session.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::overview::SessionRow;
use super::sheet::{Read, Sheet, Spec};
use super::{Metrics, Overview};
use crate::error::Result;

const MEMORY: Spec =
    Spec::gauge("agentguard_session_memory_bytes", &["agent"], "Memory of all sessions, by agent.");
const SLOWED: Spec =
    Spec::gauge("agentguard_sessions_slowed", &["agent"], "Sessions that a response slowed down.");
const NEAREST: Spec = Spec::gauge(
    "agentguard_limit_use_ratio",
    &["agent", "limit"],
    "Use divided by the limit, of the session that is nearest to it.",
);

pub(super) fn register(metrics: &Metrics) -> Result<()> {
    let overview: Arc<Overview> = Arc::clone(&metrics.overview);
    metrics.register(Box::new(Read::new(&[MEMORY, SLOWED, NEAREST], move |sheet| {
        if let Some(said) = overview.last() {
            put(&said.sessions, sheet);
        }
    })?))
}

fn put(sessions: &[SessionRow], sheet: &mut Sheet) {
    let mut memory: BTreeMap<&str, u64> = BTreeMap::new();
    let mut slowed: BTreeMap<&str, u64> = BTreeMap::new();
    let mut nearest: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for session in sessions {
        let agent = session.agent.as_str();
        *slowed.entry(agent).or_default() += u64::from(session.slowed);
        let Some(usage) = session.cgroup.as_ref().map(crate::session::Cgroup::usage) else {
            continue;
        };
        if let Some(bytes) = usage.memory {
            *memory.entry(agent).or_default() += bytes;
        }
        let limits = &session.limits;
        let tasks = limits.pids.map(u64::from);
        for (limit, used, most) in
            [("memory", usage.memory, limits.memory), ("pids", usage.pids, tasks)]
        {
            if let (Some(used), Some(most)) = (used, most) {
                let ratio = ratio(used, most);
                let known = nearest.entry((agent, limit)).or_insert(ratio);
                *known = known.max(ratio);
            }
        }
    }
    memory.into_iter().for_each(|(agent, bytes)| sheet.put_count(MEMORY, &[agent], bytes));
    slowed.into_iter().for_each(|(agent, count)| sheet.put_count(SLOWED, &[agent], count));
    for ((agent, limit), ratio) in nearest {
        sheet.put(NEAREST, &[agent, limit], ratio);
    }
}

/// A part of a whole.
#[expect(clippy::cast_precision_loss, reason = "a ratio needs no more digits")]
fn ratio(used: u64, most: u64) -> f64 {
    used as f64 / most.max(1) as f64
}
