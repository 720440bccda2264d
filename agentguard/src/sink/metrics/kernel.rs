//! What the kernel's side counts, read from its tables when somebody asks. None of it
//! passes the daemon's thread.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agentguard_common::counter::Count;

use super::Metrics;
use super::sheet::{Read, Sheet, Spec};
use crate::error::Result;
use crate::kernel::{Fill, ProgramStats, Tables};

/// How long a count of the tables' entries is good for: it copies all of them.
const COUNT_EVERY: Duration = Duration::from_secs(30);

const SEEN: Spec = Spec::counter(
    "agentguard_kernel_records_seen_total",
    &["kind"],
    "What hooks had to tell of, by kind.",
);
const SENT: Spec = Spec::counter(
    "agentguard_kernel_records_sent_total",
    &["kind"],
    "Records that were put into a ring buffer, by kind.",
);
const LOST: Spec = Spec::counter(
    "agentguard_kernel_records_lost_total",
    &["kind"],
    "Records that found no room in their ring buffer, by kind. Verdicts stood.",
);
const ERRORS: Spec = Spec::counter(
    "agentguard_kernel_records_errors_total",
    &["kind"],
    "Facts that a hook could not read, by kind. What it decided on was denied.",
);
const TASKS: Spec = Spec::gauge(
    "agentguard_session_tasks",
    &["agent"],
    "Tasks (threads) of all sessions, by agent.",
);
const ENTRIES: Spec = Spec::gauge(
    "agentguard_map_entries",
    &["map"],
    "Entries in a kernel table; at most half a minute old.",
);
const MAX_ENTRIES: Spec = Spec::gauge(
    "agentguard_map_max_entries",
    &["map"],
    "Entries that a kernel table has room for.",
);
const RUNS: Spec = Spec::counter(
    "agentguard_program_runs_total",
    &["program"],
    "How often a kernel program ran. Counted with metrics.program_stats only.",
);
const RUN_TIME: Spec = Spec::counter(
    "agentguard_program_run_seconds_total",
    &["program"],
    "How long a kernel program ran. Counted with metrics.program_stats only.",
);

/// Adds what the kernel counts. `programs` where their runs are to be counted too.
///
/// # Errors
///
/// Where it is registered already.
pub fn register(
    metrics: &Metrics,
    tables: Arc<Tables>,
    programs: Option<ProgramStats>,
) -> Result<()> {
    let specs = [SEEN, SENT, LOST, ERRORS, TASKS, ENTRIES, MAX_ENTRIES, RUNS, RUN_TIME];
    let overview = Arc::clone(&metrics.overview);
    let fill = Mutex::new(None);
    let read = move |sheet: &mut Sheet| {
        let slots = overview.last();
        let sessions = slots.as_ref().map(|said| said.sessions.as_slice()).unwrap_or_default();
        let parts = [
            records(&tables, sheet),
            fills(&tables, &fill, sheet),
            tasks(&tables, sessions.iter().map(|row| (row.agent.as_str(), row.slot)), sheet),
            programs.as_ref().map_or(Ok(()), |programs| runs(programs, sheet)),
        ];
        for error in parts.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "some metrics are missing");
        }
    };
    metrics.register(Box::new(Read::new(&specs, read)?))
}

fn records(tables: &Tables, sheet: &mut Sheet) -> Result<()> {
    for counter in tables.counters()? {
        let spec = match counter.count {
            Count::Seen => SEEN,
            Count::Sent => SENT,
            Count::Lost => LOST,
            Count::Error => ERRORS,
        };
        sheet.put_count(spec, &[counter.kind.as_str()], counter.number);
    }
    Ok(())
}

fn tasks<'a>(
    tables: &Tables,
    sessions: impl Iterator<Item = (&'a str, u32)>,
    sheet: &mut Sheet,
) -> Result<()> {
    let mut tasks: BTreeMap<&str, u64> = BTreeMap::new();
    for (agent, slot) in sessions {
        *tasks.entry(agent).or_default() += tables.tasks_of(slot)?;
    }
    for (agent, tasks) in tasks {
        sheet.put_count(TASKS, &[agent], tasks);
    }
    Ok(())
}

type Counted = Option<(Instant, Vec<Fill>)>;

fn fills(tables: &Tables, last: &Mutex<Counted>, sheet: &mut Sheet) -> Result<()> {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    if last.as_ref().is_none_or(|(at, _)| at.elapsed() >= COUNT_EVERY) {
        *last = Some((Instant::now(), tables.fill()?));
    }
    for fill in last.iter().flat_map(|(_, fills)| fills) {
        sheet.put_count(ENTRIES, &[fill.map], fill.entries);
        sheet.put_count(MAX_ENTRIES, &[fill.map], fill.max);
    }
    Ok(())
}

fn runs(programs: &ProgramStats, sheet: &mut Sheet) -> Result<()> {
    for run in programs.read()? {
        sheet.put_count(RUNS, &[&run.program], run.runs);
        sheet.put(RUN_TIME, &[&run.program], run.time.as_secs_f64());
    }
    Ok(())
}
