//! `pending`, `approve` and `deny`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::sessions::{printable, unexpected};
use crate::api::{Client, Request, Response};
use crate::daemon::{Question, Scope};
use crate::error::{Error, Result};

#[derive(Debug, Args)]
pub(super) struct PendingArguments {
    /// Print JSON, one object for each question
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct AnswerArguments {
    /// The questions' ids, as `agentguard pending` lists them
    #[arg(required_unless_present = "all")]
    questions: Vec<String>,
    /// Every question that waits
    #[arg(long, conflicts_with = "questions")]
    all: bool,
    /// The answer holds for all such calls of the session, as long as it lives
    #[arg(long, conflicts_with = "duration")]
    session: bool,
    /// The answer holds for all such calls of the session, for so long: 30s, 10m, 2h
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
}

pub(super) fn pending(arguments: &PendingArguments, socket: &Path) -> Result<ExitCode> {
    let questions = waiting(socket)?;
    if arguments.json {
        for question in &questions {
            let line = serde_json::to_string(question);
            println!("{}", line.map_err(|error| Error::Protocol(error.to_string()))?);
        }
        return Ok(ExitCode::SUCCESS);
    }
    println!("{:<12} {:<12} {:<12} {:>6}  CALL", "QUESTION", "SESSION", "AGENT", "LEFT");
    for question in &questions {
        let Question { id, session, agent, left, .. } = question;
        let left = format!("{left}s");
        println!("{id:<12} {session:<12} {agent:<12} {left:>6}  {}", printable(&call(question)));
    }
    Ok(ExitCode::SUCCESS)
}

/// What waits, in words.
fn call(question: &Question) -> String {
    let Question { action, resource, target, name, rule, pid, comm, .. } = question;
    let target = target.as_ref().map(|target| format!(" to {target}")).unwrap_or_default();
    let name = name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let rule = rule.as_ref().map(|rule| format!(", rule {rule}")).unwrap_or_default();
    format!("{action} {resource}{target}{name} by {comm}[{pid}]{rule}")
}

fn waiting(socket: &Path) -> Result<Vec<Question>> {
    match Client::connect(socket)?.ask(&Request::Pending, None)?.0 {
        Response::Pending { questions } => Ok(questions),
        other => Err(unexpected(&other)),
    }
}

pub(super) fn answer(arguments: AnswerArguments, allow: bool, socket: &Path) -> Result<ExitCode> {
    let scope = match (arguments.session, arguments.duration) {
        (true, _) => Scope::Session,
        (false, None) => Scope::Once,
        (false, Some(duration)) => Scope::Seconds(
            u32::try_from(duration.as_secs())
                .ok()
                .filter(|seconds| *seconds > 0)
                .ok_or_else(|| Error::Usage("--for takes 1s to 136y".into()))?,
        ),
    };
    let questions = match arguments.all {
        true => waiting(socket)?.into_iter().map(|question| question.id).collect(),
        false => arguments.questions,
    };
    let request = Request::Answer { questions, allow, scope };
    match Client::connect(socket)?.ask(&request, None)?.0 {
        Response::Answered { questions } => {
            let word = if allow { "approved" } else { "denied" };
            for question in &questions {
                println!("{word} {}: {}", question.id, printable(&call(question)));
            }
            Ok(ExitCode::SUCCESS)
        }
        other => Err(unexpected(&other)),
    }
}
