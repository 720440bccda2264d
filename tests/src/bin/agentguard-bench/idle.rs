//! What a daemon uses that has nothing to do: a hundred sessions that sleep. The daemon
//! is the one that starts are measured with, see `server.rs`: nothing is guarded.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::machine;
use crate::programs::Result;
use crate::server::{self, AGENT};
use crate::start::{CgroupHome, Server, agentguard};
use crate::table::{self, Row};

const SESSIONS: usize = 100;
/// What the daemon may use: hundredths of a CPU, and MiB.
const GOAL_PROCESSOR: f64 = 0.2;
const GOAL_MEMORY: f64 = 40.0;
/// How long it is watched.
const WATCHED: Duration = Duration::from_secs(30);

/// Measures and prints; true when every goal was met.
pub(crate) fn run() -> Result<bool> {
    let home = CgroupHome::claim()?;
    let directory = tempfile::tempdir()?;
    let mut daemon = Server::start(directory.path())?;
    let sleepers = sleepers(&daemon);
    let measured = sleepers.as_ref().map_or(Ok(Vec::new()), |_| measure(&daemon));
    let sleepers = sleepers.and_then(|all| all.into_iter().try_for_each(wake));
    let told = daemon.session_ended();
    let ended = daemon.stop(&home);
    let cleared = home.clear();
    let rows = measured?;
    sleepers.and(told).and(ended).and(cleared)?;
    Ok(table::print("an idle daemon, 100 sessions", "", "judged", &rows))
}

fn sleepers(daemon: &Server) -> Result<Vec<Child>> {
    let agentguard = agentguard()?;
    let socket = server::socket(daemon.directory());
    let sleeper = |_| -> Result<Child> {
        let mut command = Command::new(&agentguard);
        command.arg("--socket").arg(&socket).args(["run", "--agent", AGENT, "--", "sleep", "600"]);
        Ok(command.process_group(0).stdin(Stdio::null()).spawn()?)
    };
    (0..SESSIONS).map(sleeper).collect()
}

/// Ends a sleeper and what it runs.
fn wake(mut sleeper: Child) -> Result<()> {
    killpg(Pid::from_raw(i32::try_from(sleeper.id())?), Signal::SIGTERM)?;
    sleeper.wait()?;
    Ok(())
}

fn measure(daemon: &Server) -> Result<Vec<Row>> {
    // Until all are there and what they took is over.
    std::thread::sleep(Duration::from_secs(10));
    let pid = daemon.pid().to_string();
    let before = machine::processor_time(&pid)?;
    std::thread::sleep(WATCHED);
    let used = machine::processor_time(&pid)?.saturating_sub(before);
    let percent = used.as_secs_f64() / WATCHED.as_secs_f64() * 100.0;
    let mebibytes = f64::from(u32::try_from(machine::resident(&pid)? >> 10)?) / 1024.0;
    let row = |what: &str, figure, goal| Row {
        what: what.into(),
        took: figure,
        above: figure,
        goal: Some(goal),
    };
    Ok(vec![
        row("% of a CPU, over 30 s", percent, GOAL_PROCESSOR),
        row("MiB resident", mebibytes, GOAL_MEMORY),
    ])
}
