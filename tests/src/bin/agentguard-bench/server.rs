//! A daemon for measuring how long a start takes, on a kernel that may refuse the
//! guard's programs: the daemon's own code on real maps, cgroups, socket and log,
//! with no program loaded. So nothing is guarded, and nothing counts the tasks of a
//! session; the driver says when one has ended, and this puts the count to zero.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use agentguard::config::Settings;
use agentguard::daemon::{self, Config, Daemon};
use agentguard::kernel::{Map, Tables};
use agentguard::policy::PolicySet;
use agentguard::sink::{self, Journal};
use agentguard_common::map::SESSION_COUNTS;
use agentguard_common::session::SessionCount;
use aya::maps::{MapData, MapInfo};
use nix::sys::signal::{Signal, raise};

use crate::programs::Result;

/// The agent that the driver starts.
pub(crate) const AGENT: &str = "bench";
/// More slots than sessions can pile up between two of the daemon's sweeps.
const SLOTS: u32 = 512;

/// Where the daemon listens.
pub(crate) fn socket(directory: &Path) -> PathBuf {
    directory.join("socket")
}

/// Serves in a directory of its own until standard input ends; each byte of it says
/// that all sessions have ended.
pub(crate) fn serve(directory: &Path) -> Result<()> {
    let policies = directory.join("policies");
    fs::create_dir(&policies)?;
    fs::write(policies.join("bench.yaml"), crate::rules::text(1, &["allow: 192.0.2.1"], 0))?;
    let mut settings = Settings::default();
    settings.audit.key = directory.join("audit.key");
    let config = Config {
        socket: socket(directory),
        policies,
        state: directory.join("state"),
        log: Some(directory.join("events.jsonl")),
        watch: false,
        log_activity: false,
        settings,
    };
    let tables = Tables::without_programs()?;
    let counts: Map<u32, SessionCount> = Map::new(SESSION_COUNTS, &own_map(SESSION_COUNTS)?)?;
    let declared = PolicySet::load_dir(&config.policies)?;
    let mut hub = sink::start(&config.settings, &config.state)?;
    let journal = Journal::open(&config.settings, &config.log_path(), false, &mut hub)?;
    let daemon = Daemon::new(tables, declared, (journal, hub), &config)?;
    std::thread::spawn(move || {
        while matches!(std::io::stdin().read(&mut [0]), Ok(1)) {
            end_all(&counts);
        }
        end_all(&counts);
        // The driver is done, or gone: what a signal from outside would say.
        let _ = raise(Signal::SIGTERM);
    });
    Ok(daemon::serve(daemon, &config)?)
}

/// What the programs on `exit` would do.
fn end_all(counts: &Map<u32, SessionCount>) {
    for slot in 0..SLOTS {
        if matches!(counts.get(&slot), Ok(Some(count)) if count.tasks != 0) {
            // Where it fails, the driver finds the session's cgroup left over.
            let _ = counts.set(&slot, &SessionCount::default());
        }
    }
}

/// A map of this process by its name.
fn own_map(name: &str) -> Result<MapData> {
    for entry in fs::read_dir("/proc/self/fdinfo")?.flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let id = text.lines().find_map(|line| line.strip_prefix("map_id:")?.trim().parse().ok());
        let Some(id) = id else { continue };
        if MapInfo::from_id(id)?.name_as_str() == Some(name) {
            return Ok(MapData::from_id(id)?);
        }
    }
    Err(format!("no map {name}").into())
}
