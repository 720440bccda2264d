//! What the daemon's own process uses, under the names that Prometheus' client
//! libraries agree on.

use procfs::process::{LimitValue, Process};

use super::Metrics;
use super::sheet::{Read, Sheet, Spec};
use crate::error::Result;

const CPU: Spec = Spec::counter(
    "process_cpu_seconds_total",
    &[],
    "Processor time of the daemon, user and system.",
);
const RESIDENT: Spec =
    Spec::gauge("process_resident_memory_bytes", &[], "Memory of the daemon that is resident.");
const VIRTUAL: Spec =
    Spec::gauge("process_virtual_memory_bytes", &[], "Address space of the daemon.");
const OPEN: Spec = Spec::gauge("process_open_fds", &[], "Files that the daemon has open.");
const MOST: Spec = Spec::gauge("process_max_fds", &[], "Files that the daemon may have open.");
const START: Spec = Spec::gauge(
    "process_start_time_seconds",
    &[],
    "When the daemon started, in seconds since 1970.",
);
const THREADS: Spec = Spec::gauge("process_threads", &[], "Threads of the daemon.");

pub(super) fn register(metrics: &Metrics) -> Result<()> {
    let specs = [CPU, RESIDENT, VIRTUAL, OPEN, MOST, START, THREADS];
    metrics.register(Box::new(Read::new(&specs, |sheet| {
        if let Err(error) = put(sheet) {
            tracing::warn!(%error, "cannot read what the daemon's own process uses");
        }
    })?))
}

fn put(sheet: &mut Sheet) -> procfs::ProcResult<()> {
    let process = Process::myself()?;
    let stat = process.stat()?;
    let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
    sheet.put(CPU, &[], seconds(stat.utime + stat.stime));
    sheet.put_count(RESIDENT, &[], stat.rss.saturating_mul(procfs::page_size()));
    sheet.put_count(VIRTUAL, &[], stat.vsize);
    sheet.put_count(THREADS, &[], u64::try_from(stat.num_threads).unwrap_or(0));
    sheet.put_count(OPEN, &[], u64::try_from(process.fd_count()?).unwrap_or(u64::MAX));
    if let LimitValue::Value(most) = process.limits()?.max_open_files.soft_limit {
        sheet.put_count(MOST, &[], most);
    }
    sheet.put(START, &[], procfs::boot_time_secs()? as f64 + seconds(stat.starttime));
    Ok(())
}
