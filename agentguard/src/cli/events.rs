//! `events`: what was decided, as text for people or as JSON lines.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::sessions::printable;
use crate::api::{Client, Request};
use crate::error::{Error, Result};
use crate::event::Event;

#[derive(Debug, Args)]
pub(super) struct EventsArguments {
    /// Go on with those to come
    #[arg(long, short)]
    follow: bool,
    /// Print the JSON lines as they stand in the log
    #[arg(long)]
    json: bool,
    /// Show activity (exec, fork, exit) too. It is not kept, so only what happens
    /// while following is seen
    #[arg(long)]
    activity: bool,
    /// Print the JSON Schema of the JSON lines, and no events
    #[arg(long, conflicts_with_all = ["follow", "json", "activity", "session"])]
    schema: bool,
    /// Only this session's (an id, or the beginning of one)
    #[arg(long, value_name = "ID")]
    session: Option<String>,
}

pub(super) fn events(arguments: EventsArguments, socket: &Path) -> Result<ExitCode> {
    let EventsArguments { follow, json, activity, schema, session } = arguments;
    if schema {
        println!("{:#}", Event::schema());
        return Ok(ExitCode::SUCCESS);
    }
    let request = Request::Events { follow, activity, session };
    let mut out = std::io::stdout();
    let mut failed = None;
    Client::connect(socket)?.events(&request, |line| {
        let text = if json { line.to_owned() } else { short(line) };
        failed = writeln!(out, "{text}").and_then(|()| out.flush()).err();
        failed.is_none()
    })?;
    match failed {
        // The reader of a pipe has seen enough.
        Some(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::system("print events")(error))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// One event in one line for people.
fn short(line: &str) -> String {
    let Ok(event) = serde_json::from_str::<Value>(line) else { return printable(line) };
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or("");
    if text("kind") == "gap" {
        return format!("… {} events were missed", event.get("missed").unwrap_or(&Value::Null));
    }
    let process = event.get("process");
    let comm = process.and_then(|process| process.get("comm")).and_then(Value::as_str);
    let pid = process.and_then(|process| process.get("pid")).and_then(Value::as_u64);
    let who = match (comm, pid) {
        (Some(comm), Some(pid)) => format!("{comm}[{pid}]"),
        _ => String::new(),
    };
    let why = ["rule", "reason", "message"].map(text).into_iter().find(|text| !text.is_empty());
    let time = text("timestamp").get(11..23).unwrap_or("");
    let line = format!(
        "{time} {:<10} {:<12} {:<13} {:<34} {who:<18} {}",
        text("outcome"),
        text("agent_role"),
        text("action"),
        text("resource"),
        why.unwrap_or(""),
    );
    printable(line.trim_end())
}
