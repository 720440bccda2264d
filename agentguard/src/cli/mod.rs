//! The command line: what each command is called, what it takes, and which
//! function does it.

mod asking;
mod audit;
mod config;
mod doctor;
mod events;
mod learn;
mod limits;
mod load;
mod manual;
mod policy;
mod run;
mod sessions;
mod top;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use nix::sys::signal::{SigHandler, Signal, signal};

use crate::api::SOCKET;
use crate::config::Settings;
use crate::daemon;
use crate::error::Result;

/// Watches and confines what AI agents do on this host.
///
/// The daemon puts policies into the kernel, which decides every connection of an
/// agent's processes. `agentguard run --agent NAME -- COMMAND` starts a command as
/// an agent; everything that comes of it is held to that agent's policy.
#[derive(Debug, Parser)]
#[command(name = "agentguard", version, propagate_version = true, after_help = AFTER_HELP)]
struct Arguments {
    /// The daemon's control socket
    #[arg(long, global = true, value_name = "PATH", default_value = SOCKET, env = "AGENTGUARD_SOCKET")]
    socket: PathBuf,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
First steps:
  agentguard policy check policies/      is the policy right?
  sudo agentguard daemon                 start enforcing (or: systemctl start agentguard)
  agentguard run --agent coder -- bash   run a command as the agent `coder`
  agentguard events --follow             watch what is decided
  agentguard why                         why the last refusal, and what would allow it
  sudo agentguard doctor                 what is enforced on this host, proven by trying

Exit codes are listed by `agentguard exit-codes`.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Enforce policies, and serve the other commands (needs root)
    Daemon(DaemonArguments),
    /// Run a command as an agent
    Run(run::RunArguments),
    /// Run a command with nothing refused to it, and write a policy from what it did
    Learn(learn::LearnArguments),
    /// List sessions
    Ps(sessions::PsArguments),
    /// Watch sessions, and what they use
    Top(top::TopArguments),
    /// End a session and every process of it
    Kill(sessions::SessionArguments),
    /// Hold a session: its processes stand still until it is resumed
    Pause(sessions::SessionArguments),
    /// Let a session go on that is held
    Resume(sessions::SessionArguments),
    /// Let a session reach again what its policy keeps from it because it has read a secret
    /// (needs root)
    Clear(sessions::SessionArguments),
    /// List the calls that wait for an answer, as a rule says ask
    Pending(asking::PendingArguments),
    /// Let calls go on that wait (needs root)
    Approve(asking::AnswerArguments),
    /// Refuse calls that wait (needs root)
    Deny(asking::AnswerArguments),
    /// Change what a running session may use: memory, CPU, … (needs root)
    Limit(limits::LimitArguments),
    /// Show what was decided
    Events(events::EventsArguments),
    /// Say why something was refused, and what would allow it
    Why(why::WhyArguments),
    /// Check, explain and apply policy files
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Check whether the audit log is as it was written
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Check the daemon's configuration file; needs neither root nor a daemon
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Say what is enforced on this host, by trying it (needs root)
    Doctor(doctor::DoctorArguments),
    /// Take the kernel programs off; sessions are no longer guarded (needs root)
    Unload(load::UnloadArguments),
    /// Load every kernel program, show a table of them, and unload (needs root)
    Load(load::LoadArguments),
    /// List the exit codes
    ExitCodes,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory
    Man {
        /// The directory
        directory: PathBuf,
    },
    /// Lets calls go on that wait for answers, once the daemon is gone
    #[command(hide = true)]
    Keeper,
    /// The trial process of `doctor`
    #[command(hide = true)]
    Probe {
        /// The name of the unix socket that it must not reach
        bait: String,
    },
}

#[derive(Debug, Args)]
struct DaemonArguments {
    /// The configuration file [default: /etc/agentguard/agentguard.yaml, where there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of policy files (*.yaml)
    #[arg(long, value_name = "DIR", default_value = "/etc/agentguard/policies")]
    policies: PathBuf,
    /// The JSON log; `-` for standard output [default: what the configuration says, or
    /// /var/log/agentguard/events.jsonl]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Put activity (exec, fork, exit) into the log too
    #[arg(long)]
    log_activity: bool,
    /// Directory of the daemon's memory across restarts
    #[arg(long, value_name = "DIR", default_value = "/run/agentguard")]
    state: PathBuf,
    /// Leave policy files that change until `agentguard policy apply`
    #[arg(long)]
    no_watch: bool,
}

/// Does what the command line asks for.
///
/// # Errors
///
/// What the command could not do.
pub fn run() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let socket = arguments.socket;
    if !matches!(arguments.command, Command::Daemon(_) | Command::Run(_) | Command::Learn(_)) {
        // A reader that has seen enough ends us quietly, as it does other commands.
        // SAFETY: the default disposition runs no code of ours.
        let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    }
    match arguments.command {
        Command::Daemon(arguments) => start_daemon(arguments, socket),
        Command::Run(arguments) => run::run(arguments, &socket),
        Command::Learn(arguments) => learn::learn(arguments, &socket),
        Command::Ps(arguments) => sessions::ps(&arguments, &socket),
        Command::Top(arguments) => top::top(&arguments, &socket),
        Command::Limit(arguments) => limits::limit(arguments, &socket),
        Command::Pending(arguments) => asking::pending(&arguments, &socket),
        Command::Approve(arguments) => asking::answer(arguments, true, &socket),
        Command::Deny(arguments) => asking::answer(arguments, false, &socket),
        Command::Pause(arguments) => sessions::pause(&arguments, &socket),
        Command::Clear(arguments) => sessions::clear(&arguments, &socket),
        Command::Resume(arguments) => sessions::resume(&arguments, &socket),
        Command::Kill(arguments) => sessions::kill(&arguments, &socket),
        Command::Events(arguments) => events::events(arguments, &socket),
        Command::Why(arguments) => why::why(arguments, &socket),
        Command::Audit(command) => audit::audit(&command),
        Command::Config(command) => config::config(&command),
        Command::Policy(command) => policy::policy(&command, &socket),
        Command::Doctor(arguments) => doctor::doctor(&arguments),
        Command::Unload(arguments) => load::unload(&arguments, &socket),
        Command::Load(arguments) => load::load(&arguments),
        Command::ExitCodes => Ok(manual::exit_codes()),
        Command::Completions { shell } => Ok(manual::completions(shell)),
        Command::Man { directory } => manual::pages(&directory),
        Command::Keeper => crate::daemon::keep().map(|()| ExitCode::SUCCESS),
        Command::Probe { bait } => crate::doctor::probe::run(&bait)
            .map(|()| ExitCode::SUCCESS)
            .map_err(crate::Error::system("run the trial")),
    }
}

fn start_daemon(arguments: DaemonArguments, socket: PathBuf) -> Result<ExitCode> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("AGENTGUARD_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let DaemonArguments { config, policies, log, log_activity, state, no_watch } = arguments;
    let watch = !no_watch;
    let settings = Settings::load(config.as_deref())?;
    daemon::run(&daemon::Config { socket, policies, state, log, log_activity, watch, settings })?;
    Ok(ExitCode::SUCCESS)
}

fn command() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
