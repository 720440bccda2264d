//! `why`: explains a refusal, one decision, or what a policy would say.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::sessions::{printable, unexpected};
use crate::api::{Asked, Client, Request, Response};
use crate::error::{Error, Result};

#[derive(Debug, Args)]
pub(super) struct WhyArguments {
    /// A decision's id [default: the last refusal]; with --agent, `connect` and a place,
    /// such as github.com:443, 10.0.0.1:53/udp, unix:/run/db.sock or dns:github.com
    #[arg(value_name = "ID | connect PLACE", num_args = 0..=2)]
    what: Vec<String>,
    /// Say what the policy of this agent would decide
    #[arg(long, value_name = "NAME", requires = "what")]
    agent: Option<String>,
    /// From inside a session: its own last refusal
    #[arg(long = "self", conflicts_with_all = ["agent", "session", "what"])]
    own: bool,
    /// The last refusal of this session (an id, or the beginning of one)
    #[arg(long, value_name = "ID", conflicts_with_all = ["agent", "what"])]
    session: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn why(arguments: WhyArguments, socket: &Path) -> Result<ExitCode> {
    let json = arguments.json;
    let request = Request::Why { of: asked(arguments)? };
    match Client::connect(socket)?.ask(&request, None)?.0 {
        Response::Why { why } if json => {
            let text = serde_json::to_string(&why);
            println!("{}", text.map_err(|error| Error::Protocol(error.to_string()))?);
        }
        Response::Why { why } => why.text.lines().for_each(|line| println!("{}", printable(line))),
        other => return Err(unexpected(&other)),
    }
    Ok(ExitCode::SUCCESS)
}

fn asked(arguments: WhyArguments) -> Result<Asked> {
    let WhyArguments { what, agent, own, session, .. } = arguments;
    match (agent, what.as_slice()) {
        (Some(agent), [action, place]) if action == "connect" => {
            Ok(Asked::Place { agent, resource: resource(place) })
        }
        (Some(_), _) => {
            Err(Error::Usage("with --agent, write: why --agent NAME connect PLACE".into()))
        }
        (None, [id]) => Ok(Asked::Id(id.clone())),
        (None, []) if own => match std::env::var("AGENTGUARD_SESSION") {
            Ok(session) => Ok(Asked::Last { session: Some(session) }),
            Err(_) => Err(Error::Usage("--self is for processes of a session".into())),
        },
        (None, []) => Ok(Asked::Last { session }),
        (None, _) => Err(Error::Usage("give one id, or --agent NAME connect PLACE".into())),
    }
}

/// `10.0.0.1:53/udp` as events write it: `udp://10.0.0.1:53`.
fn resource(place: &str) -> String {
    if place.starts_with("unix:") || place.starts_with("dns:") || place.contains("://") {
        return place.to_owned();
    }
    let (address, protocol) = place.split_once('/').unwrap_or((place, "tcp"));
    format!("{protocol}://{address}")
}
