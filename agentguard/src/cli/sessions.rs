//! `ps`, `pause`, `resume`, `clear` and `kill`.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::limits::detail;
use crate::api::{Client, Request, Response, Row};
use crate::error::{Error, Result};

#[derive(Debug, Args)]
pub(super) struct PsArguments {
    /// Show sessions that ended a short while ago, too
    #[arg(long)]
    all: bool,
    /// Show limits, what is used, and how much is waited for it
    #[arg(long)]
    detail: bool,
    /// Print JSON, one object for each session
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct SessionArguments {
    /// The session's id, or a beginning of it that fits only one
    session: String,
}

pub(super) fn ps(arguments: &PsArguments, socket: &Path) -> Result<ExitCode> {
    let request = Request::Ps { all: arguments.all, detail: arguments.detail || arguments.json };
    let (answer, _) = Client::connect(socket)?.ask(&request, None)?;
    let Response::Sessions { sessions } = answer else { return Err(unexpected(&answer)) };
    if arguments.json {
        for row in &sessions {
            println!(
                "{}",
                serde_json::to_string(row).map_err(|error| Error::Protocol(error.to_string()))?
            );
        }
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{:<12} {:<16} {:<9} {:>5} {:>7} {:>6} {:>8}  COMMAND",
        "SESSION", "AGENT", "STATE", "TASKS", "PID", "UID", "AGE"
    );
    for row in &sessions {
        print(row);
        if arguments.detail {
            detail(row).iter().for_each(|line| println!("    {}", printable(line)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(row: &Row) {
    let session = &row.session;
    println!(
        "{:<12} {:<16} {:<9} {:>5} {:>7} {:>6} {:>8}  {}",
        session.id,
        session.agent,
        session.state.as_str(),
        row.tasks,
        session.pid,
        session.uid,
        age(session.started),
        printable(&session.command.join(" ")),
    );
}

/// A command may hold anything, escape sequences among it.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

pub(super) fn age(started: u64) -> String {
    let since = time::OffsetDateTime::now_utc().unix_timestamp_nanos() - i128::from(started);
    let seconds = since.max(0) / 1_000_000_000;
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        _ => format!("{}h", seconds / 3600),
    }
}

pub(super) fn pause(arguments: &SessionArguments, socket: &Path) -> Result<ExitCode> {
    let request = Request::Pause { session: arguments.session.clone() };
    match Client::connect(socket)?.ask(&request, None)?.0 {
        Response::Paused { session, still: true } => {
            println!("session {session} is held: none of its processes runs");
            Ok(ExitCode::SUCCESS)
        }
        Response::Paused { session, still: false } => {
            println!("session {session} is held; some of its processes still wait for a device");
            Ok(ExitCode::SUCCESS)
        }
        other => Err(unexpected(&other)),
    }
}

pub(super) fn resume(arguments: &SessionArguments, socket: &Path) -> Result<ExitCode> {
    let request = Request::Resume { session: arguments.session.clone() };
    match Client::connect(socket)?.ask(&request, None)?.0 {
        Response::Resumed { session } => {
            println!("session {session} goes on");
            Ok(ExitCode::SUCCESS)
        }
        other => Err(unexpected(&other)),
    }
}

pub(super) fn clear(arguments: &SessionArguments, socket: &Path) -> Result<ExitCode> {
    let request = Request::Clear { session: arguments.session.clone() };
    match Client::connect(socket)?.ask(&request, None)?.0 {
        Response::Cleared { session } => {
            println!("session {session} is cleared: its policy holds as before");
            Ok(ExitCode::SUCCESS)
        }
        other => Err(unexpected(&other)),
    }
}

pub(super) fn kill(arguments: &SessionArguments, socket: &Path) -> Result<ExitCode> {
    let request = Request::Kill { session: arguments.session.clone() };
    match Client::connect(socket)?.ask(&request, None)?.0 {
        Response::Killed { session } => {
            println!("session {session} is ended, no process of it is left");
            Ok(ExitCode::SUCCESS)
        }
        other => Err(unexpected(&other)),
    }
}

pub(super) fn unexpected(answer: &Response) -> Error {
    Error::Protocol(format!("unexpected answer {answer:?}"))
}
