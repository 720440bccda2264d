//! A daemon with policies and a log of its own, and the agents it guards.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take in an emulated VM.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a daemon may take that loads the kernel programs first: the verifier is slow
/// under emulation.
const LOADING: Duration = Duration::from_secs(240);

/// Where the daemon answers.
const SOCKET: &str = "/run/agentguard/agentguard.sock";

/// A guarded VM. Dropping it ends the sessions and the daemon, but leaves the kernel
/// programs where they are: the next daemon takes them over, which spares their
/// verification under emulation. Scenarios about loading call [`clean`] first.
pub struct Guard {
    directory: tempfile::TempDir,
    log: PathBuf,
    daemon: Option<Child>,
    more: Vec<String>,
}

impl Guard {
    /// Starts a daemon with these policies, each the text of one file.
    ///
    /// # Errors
    ///
    /// Where the daemon does not start.
    pub fn start(policies: &[&str]) -> io::Result<Self> {
        Self::start_with(policies, &[])
    }

    /// The same with more arguments for the daemon.
    ///
    /// # Errors
    ///
    /// Where the daemon does not start.
    pub fn start_with(policies: &[&str], more: &[&str]) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let log = directory.path().join("events.jsonl");
        Self::begin(policies, more, directory, log)
    }

    /// The same with the log elsewhere.
    ///
    /// # Errors
    ///
    /// Where the daemon does not start.
    pub fn start_logging_to(policies: &[&str], log: &str) -> io::Result<Self> {
        Self::begin(policies, &[], tempfile::tempdir()?, log.into())
    }

    fn begin(
        policies: &[&str],
        more: &[&str],
        directory: tempfile::TempDir,
        log: PathBuf,
    ) -> io::Result<Self> {
        let more = more.iter().map(|word| (*word).to_owned()).collect();
        let mut guard = Self { directory, log, daemon: None, more };
        std::fs::create_dir(guard.policies())?;
        for (number, text) in policies.iter().enumerate() {
            std::fs::write(guard.policies().join(format!("{number}.yaml")), text)?;
        }
        guard.restart()?;
        Ok(guard)
    }

    /// Where the policies are.
    #[must_use]
    pub fn policies(&self) -> PathBuf {
        self.directory.path().join("policies")
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Starts the daemon (again), and waits until it answers.
    ///
    /// # Errors
    ///
    /// Where it does not.
    pub fn restart(&mut self) -> io::Result<()> {
        let mut daemon = daemon_command(&self.policies(), &self.log);
        self.daemon = Some(daemon.args(&self.more).spawn()?);
        let until = Instant::now() + LOADING;
        while Instant::now() < until {
            // A command that asks in vain is a program that the loading has to wait for.
            if UnixStream::connect(SOCKET).is_ok() && agentguard(&["ps"])?.status.success() {
                return Ok(());
            }
            if let Some(status) = self.daemon.as_mut().map(Child::try_wait).transpose()?.flatten() {
                return Err(io::Error::other(format!("the daemon ended: {status}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::other("the daemon does not answer"))
    }

    /// Kills the daemon without giving it a chance.
    ///
    /// # Errors
    ///
    /// Where it cannot be killed.
    pub fn kill_daemon(&mut self) -> io::Result<()> {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill()?;
            daemon.wait()?;
        }
        Ok(())
    }

    /// The daemon's process.
    #[must_use]
    pub fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().map_or(0, Child::id)
    }

    /// Asks the daemon to stop, and waits for it.
    ///
    /// # Errors
    ///
    /// Where it does not end well.
    pub fn stop_daemon(&mut self) -> io::Result<()> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        terminate(&daemon)?;
        let status = daemon.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("the daemon: {status}")))
        }
    }

    /// Runs `attempt WORDS` as the agent and returns what it printed, a line each.
    ///
    /// # Errors
    ///
    /// Where it could not be run, or failed.
    pub fn attempt(&self, agent: &str, words: &str) -> io::Result<Vec<String>> {
        let output = self.run(agent, &attempt_words(words)).output()?;
        if !output.status.success() {
            return Err(io::Error::other(format!(
                "{words}: {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            )));
        }
        Ok(lines(&output))
    }

    /// The command that runs something as the agent.
    #[must_use]
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, agent: &str, words: &[S]) -> Command {
        let mut command = Command::new("agentguard");
        command.args(["run", "--agent", agent, "--"]).args(words).stdin(Stdio::null());
        command
    }

    /// The events of the log so far.
    ///
    /// # Errors
    ///
    /// Where a line of it is no JSON.
    pub fn events(&self) -> io::Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.log())?;
        // What is being written meanwhile has no end yet.
        let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
        whole.lines().map(|line| serde_json::from_str(line).map_err(io::Error::from)).collect()
    }

    /// Waits until the log holds an event that fits, and returns all that do.
    ///
    /// # Errors
    ///
    /// Where there is none in time.
    pub fn wait_for(&self, what: &str, fits: impl Fn(&Value) -> bool) -> io::Result<Vec<Value>> {
        let until = Instant::now() + PATIENCE;
        loop {
            let found: Vec<Value> =
                self.events()?.into_iter().filter(|event| fits(event)).collect();
            if !found.is_empty() {
                return Ok(found);
            }
            if Instant::now() > until {
                return Err(io::Error::other(format!("no {what} in the log")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The decisions so far, when no session runs any more: a session's end comes
    /// after its last decision.
    ///
    /// # Errors
    ///
    /// Where the log cannot be read or sessions do not end.
    pub fn decisions(&self) -> io::Result<Vec<Value>> {
        let until = Instant::now() + PATIENCE;
        while !sessions()?.is_empty() {
            if Instant::now() > until {
                return Err(io::Error::other("sessions do not end"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(self.events()?.into_iter().filter(|event| event["kind"] == "decision").collect())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let until = Instant::now() + PATIENCE;
        while let Some(session) = sessions().unwrap_or_default().first()
            && Instant::now() < until
        {
            let _ = agentguard(&["kill", session["id"].as_str().unwrap_or("")]);
        }
        let _ = self.stop_daemon();
    }
}

/// Takes the kernel programs off.
///
/// # Errors
///
/// Where that fails.
pub fn clean() -> io::Result<()> {
    let output = agentguard(&["unload", "--force"])?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// The daemon with these files, its messages kept out of the way of the tests'.
#[must_use]
pub fn daemon_command(policies: &Path, log: &Path) -> Command {
    let mut command = Command::new("agentguard");
    command.arg("daemon").arg("--policies").arg(policies).arg("--log").arg(log);
    command.env("AGENTGUARD_LOG", "warn").stdin(Stdio::null());
    command
}

/// Runs an `agentguard` command.
///
/// # Errors
///
/// Where it cannot be started.
pub fn agentguard(words: &[&str]) -> io::Result<Output> {
    Command::new("agentguard").args(words).stdin(Stdio::null()).output()
}

/// The running sessions, as `ps --json` has them.
///
/// # Errors
///
/// Where `ps` fails.
pub fn sessions() -> io::Result<Vec<Value>> {
    let output = agentguard(&["ps", "--json"])?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    lines(&output).iter().map(|line| serde_json::from_str(line).map_err(io::Error::from)).collect()
}

/// What a command printed, a line each.
#[must_use]
pub fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// `attempt` and its words.
#[must_use]
pub fn attempt_words(words: &str) -> Vec<String> {
    std::iter::once(attempt_path()).chain(words.split(' ').map(str::to_owned)).collect()
}

/// Where the program that plays the agent is.
#[must_use]
pub fn attempt_path() -> String {
    // Cargo puts it one folder above the tests' own programs.
    let me = std::env::current_exe().unwrap_or_default();
    let folder = me.ancestors().nth(2).unwrap_or(Path::new("."));
    folder.join("attempt").display().to_string()
}

/// An agent that waits for lines, so that things can happen in between.
pub struct Waiting {
    /// `agentguard run`.
    pub child: Child,
    reader: BufReader<std::process::ChildStdout>,
}

impl Waiting {
    /// Starts a command whose first line says that it waits.
    ///
    /// # Errors
    ///
    /// Where it does not come to that.
    pub fn start(mut command: Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut waiting = Self { child, reader: BufReader::new(stdout) };
        waiting.line()?;
        Ok(waiting)
    }

    /// Lets it go on.
    ///
    /// # Errors
    ///
    /// Where it is gone.
    pub fn go(&mut self) -> io::Result<()> {
        self.say("")
    }

    /// Gives it a line.
    ///
    /// # Errors
    ///
    /// Where it is gone.
    pub fn say(&mut self, line: &str) -> io::Result<()> {
        let line = format!("{line}\n");
        self.child.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write_all(line.as_bytes())
    }

    /// The next line it prints.
    ///
    /// # Errors
    ///
    /// Where it is gone.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// All it prints until its end.
    ///
    /// # Errors
    ///
    /// Where it cannot be waited for.
    pub fn rest(mut self) -> io::Result<Vec<String>> {
        let mut text = String::new();
        self.reader.read_to_string(&mut text)?;
        self.child.wait()?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

/// Runs a command as the user `nobody`.
pub fn as_nobody(command: &mut Command) -> &mut Command {
    command.uid(65_534).gid(65_534)
}

fn terminate(child: &Child) -> io::Result<()> {
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    Ok(nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM)?)
}
