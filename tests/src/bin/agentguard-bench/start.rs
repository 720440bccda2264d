//! What starting a command as an agent adds: the wall time of the whole process
//! `agentguard run -- true`, beside `true` alone and `true` in bubblewrap, in turn.

use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::machine;
use crate::programs::Result;
use crate::server::{self, AGENT};
use crate::table::{self, Row};

/// Milliseconds that may be added.
const GOAL: f64 = 10.0;
/// How many times what bubblewrap adds that may be.
const GOAL_TIMES: f64 = 2.0;
/// Runs before it counts.
const WARM_UP: usize = 10;
/// How long to wait for the daemon, and for its last sweep.
const PATIENCE: Duration = Duration::from_secs(5);

/// Measures and prints; true when every goal was met.
pub(crate) fn run(runs: usize) -> Result<bool> {
    let agentguard = agentguard()?;
    let home = CgroupHome::claim()?;
    let directory = tempfile::tempdir()?;
    let mut daemon = Server::start(directory.path())?;
    let measured = measure(&agentguard, &mut daemon, runs);
    let ended = daemon.stop(&home);
    let cleared = home.clear();
    let rows = measured?;
    ended.and(cleared)?;
    Ok(table::print("starting `true`, median", "ms", "adds", &rows))
}

/// The daemon's command, which lies where this program does.
pub(crate) fn agentguard() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("agentguard");
    match path.is_file() {
        true => Ok(path),
        false => Err(format!("{} is missing: run `cargo xtask bench`", path.display()).into()),
    }
}

/// A way to start `true`.
struct Way {
    what: &'static str,
    command: Command,
    milliseconds: Vec<f64>,
}

impl Way {
    fn new(what: &'static str, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        Self { what, command, milliseconds: Vec::new() }
    }

    fn run(&mut self) -> Result<()> {
        let start = Instant::now();
        let status = self.command.status()?;
        let took = start.elapsed();
        if !status.success() {
            return Err(format!("{}: {status}", self.what).into());
        }
        self.milliseconds.push(took.as_secs_f64() * 1e3);
        Ok(())
    }

    /// The time that so many of 100 runs did not exceed.
    fn percentile(&mut self, percent: usize) -> f64 {
        self.milliseconds.sort_by(f64::total_cmp);
        let at = (self.milliseconds.len() * percent / 100).min(self.milliseconds.len() - 1);
        self.milliseconds.get(at).copied().unwrap_or(f64::NAN)
    }

    fn row(&mut self, bare: f64, goal: Option<f64>) -> Row {
        let took = self.percentile(50);
        let most = self.percentile(95);
        let what = format!("{} (95 of 100: {most:.2} ms)", self.what);
        Row { what, took, above: took - bare, goal }
    }
}

fn measure(agentguard: &Path, daemon: &mut Server, runs: usize) -> Result<Vec<Row>> {
    let socket = server::socket(&daemon.directory).display().to_string();
    let run = ["--socket", &socket, "run", "--agent", AGENT, "--", "true"];
    let mut guarded = Way::new("agentguard run", agentguard, &run);
    let mut bare = Way::new("bare", "true", &[]);
    let mut bubblewrap = Way::new("bubblewrap", "bwrap", &["--ro-bind", "/", "/", "true"]);
    let wrapped = bubblewrap.run();
    for round in 0..WARM_UP + runs {
        if round == WARM_UP {
            for way in [&mut guarded, &mut bare, &mut bubblewrap] {
                way.milliseconds.clear();
            }
        }
        guarded.run()?;
        daemon.session_ended()?;
        bare.run()?;
        if wrapped.is_ok() {
            bubblewrap.run()?;
        }
    }
    let alone = bare.percentile(50);
    let guarded = guarded.row(alone, Some(GOAL));
    let added = guarded.above;
    let mut rows = vec![bare.row(alone, None), guarded];
    match wrapped {
        Ok(()) => {
            let wrapped = bubblewrap.row(alone, None);
            let times = added / wrapped.above;
            rows.push(wrapped);
            let what = "agentguard adds, times what bubblewrap adds".to_owned();
            rows.push(Row { what, took: times, above: times, goal: Some(GOAL_TIMES) });
        }
        Err(why) => println!("bubblewrap is left out: {why}"),
    }
    Ok(rows)
}

/// The daemon, as a process of its own.
pub(crate) struct Server {
    process: Child,
    ended: Option<ChildStdin>,
    directory: PathBuf,
}

impl Server {
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("serve")
            .arg(directory)
            .stdin(Stdio::piped())
            .spawn()?;
        let ended = process.stdin.take();
        let mut server = Self { process, ended, directory: directory.to_owned() };
        let socket = server::socket(directory);
        let ready = wait(|| UnixStream::connect(&socket).is_ok());
        if ready {
            Ok(server)
        } else {
            // It said why, if it could.
            let _ = server.process.kill();
            Err("the daemon does not answer".into())
        }
    }

    /// Where its files are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Says that the last session has ended.
    pub(crate) fn session_ended(&mut self) -> Result<()> {
        match &mut self.ended {
            Some(pipe) => Ok(pipe.write_all(b"\n")?),
            None => Err("the daemon was stopped".into()),
        }
    }

    /// Waits until the daemon has closed its books on every session, and ends it.
    pub(crate) fn stop(mut self, home: &CgroupHome) -> Result<()> {
        let all = wait(|| home.sessions().is_ok_and(|sessions| sessions.is_empty()));
        drop(self.ended.take());
        let status = self.process.wait()?;
        match all && status.success() {
            true => Ok(()),
            false => {
                Err(format!("sessions were not seen to end, or the daemon failed: {status}").into())
            }
        }
    }
}

/// Asks until the answer is yes, but not for ever.
fn wait(mut done: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if done() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// The cgroup that holds those of sessions.
pub(crate) struct CgroupHome {
    path: PathBuf,
    ours: bool,
}

impl CgroupHome {
    /// Makes sure that no other daemon has sessions there.
    pub(crate) fn claim() -> Result<Self> {
        let path = machine::cgroup_mount()?.join("agentguard");
        let home = Self { ours: !path.is_dir(), path };
        match home.ours || home.sessions()?.is_empty() {
            true => Ok(home),
            false => Err("agentguard sessions run on this host: end them first".into()),
        }
    }

    fn sessions(&self) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(&self.path)?.flatten();
        Ok(entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
    }

    /// Removes what was made.
    pub(crate) fn clear(&self) -> Result<()> {
        if !self.path.is_dir() {
            return Ok(());
        }
        for session in self.sessions()? {
            fs::remove_dir(session)?;
        }
        if self.ours {
            fs::remove_dir(&self.path)?;
        }
        Ok(())
    }
}
