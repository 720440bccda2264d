//! `learn`: a command as an agent with nothing refused to it, and a policy from what it did.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use clap::Args;
use nix::sys::signal::SigSet;

use super::run::{self, wait};
use super::sessions::unexpected;
use crate::api::{Client, Listener, Request, Response};
use crate::error::{Error, Result};
use crate::learn::{Given, Learned, Seen, learn as learn_from};
use crate::policy::{Network, Policy, check_workspace};

/// How long after a session's end its last events may take: two buffers are read in turns.
const LATE: Duration = Duration::from_secs(2);
/// How often it is looked whether the session has ended, or somebody wants to wait no longer.
const GLANCE: Duration = Duration::from_millis(200);
/// After how many glances it is said what is waited for.
const SILENT: u32 = 25;
/// How many of what a policy does not cover are shown.
const SHOWN: usize = 8;

#[derive(Debug, Args)]
pub(super) struct LearnArguments {
    /// The agent that the policy is for
    #[arg(long, value_name = "NAME")]
    agent: String,
    /// The directory the agent works in [default: the current one]
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Where the policy is written; `-` for standard output [default: NAME.yaml]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write *.example.com where several names below example.com were used
    #[arg(long)]
    group: bool,
    /// A policy to go on from: its rules stay, and what they allow is not written again
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn learn(arguments: LearnArguments, socket: &Path) -> Result<ExitCode> {
    let base = arguments.base.as_deref().map(Policy::load).transpose()?;
    let output = output(&arguments)?;
    let workspace = run::workspace(arguments.workspace)?;
    let command = run::told(&arguments.command);
    let given = given(&arguments.agent, &workspace, &command, arguments.group)?;

    let client = Client::connect(socket)?;
    let lost = lost(&client)?;
    let request = Request::Learn {
        agent: arguments.agent,
        workspace: workspace.display().to_string(),
        resolvers: base.as_ref().map(resolvers).unwrap_or_default(),
        command,
        traceparent: std::env::var("TRACEPARENT").ok(),
    };
    let mut follower = None;
    let (session, pid) = run::start(&client, &request, &arguments.command, |session| {
        follower = Some(Follower::start(socket, session)?);
        Ok(())
    })?;
    let status = wait::for_command(pid)?;
    let mut seen = follower.map(|follower| follower.finish(&session)).transpose()?;
    let seen = seen.get_or_insert_default();
    // Another daemon counts anew, and knows nothing of what was before.
    let new = self::lost(&client).or_else(|_| self::lost(&Client::connect(socket)?));
    seen.missed += new.unwrap_or(lost).saturating_sub(lost);
    if seen.is_empty() {
        eprintln!("agentguard: nothing was seen of what the session did, and nothing is written");
    } else {
        write(&learn_from(seen, &given, base.as_ref())?, seen, &output)?;
    }
    wait::pass_on(status, || run::fate(&client, socket, session))
}

/// Where the policy goes. What is there is not written over, unless it is what is gone on from.
fn output(arguments: &LearnArguments) -> Result<PathBuf> {
    let named = || PathBuf::from(format!("{}.yaml", arguments.agent));
    let output = arguments.output.clone().unwrap_or_else(named);
    if output.exists() && arguments.base.as_ref() != Some(&output) && output != Path::new("-") {
        let text = format!(
            "{} is there already\n  = name another file with --output, or go on from it with --base",
            output.display()
        );
        return Err(Error::Usage(text));
    }
    Ok(output)
}

fn given(agent: &str, workspace: &Path, command: &[String], group: bool) -> Result<Given> {
    let uid = nix::unistd::Uid::current();
    let user = nix::unistd::User::from_uid(uid);
    let home = user.map_err(Error::system("look up your home"))?.map(|user| user.dir);
    let homes: Vec<PathBuf> = home.iter().cloned().collect();
    let may_be = check_workspace(workspace, &homes, &[]);
    if let Err(error) = &may_be {
        eprintln!("agentguard: the policy will not speak of ${{workspace}}: {error}");
    }
    Ok(Given {
        agent: agent.to_owned(),
        workspace: may_be.is_ok().then(|| workspace.to_owned()),
        home: home.filter(|home| home.is_absolute() && *home != Path::new("/")),
        group,
        command: command.join(" "),
    })
}

/// The resolvers that a policy names itself.
fn resolvers(base: &Policy) -> Vec<IpAddr> {
    let dns = base.egress.lookups();
    let listed = dns.iter().flat_map(|dns| &dns.resolvers);
    listed.filter_map(|at| Network::new(*at, 128).to_string().parse().ok()).collect()
}

/// How many records the kernel has lost so far.
fn lost(client: &Client) -> Result<u64> {
    match client.ask(&Request::Status, None)?.0 {
        Response::Status { lost, .. } => Ok(lost),
        other => Err(unexpected(&other)),
    }
}

/// Reads a session's events while its command is waited for.
struct Follower {
    seen: Arc<Mutex<Seen>>,
    thread: JoinHandle<Result<()>>,
}

impl Follower {
    fn start(socket: &Path, session: &str) -> Result<Self> {
        let request =
            Request::Events { follow: true, activity: true, session: Some(session.to_owned()) };
        let listener = Client::connect(socket)?.listen(&request)?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let kept = Arc::clone(&seen);
        let thread = std::thread::spawn(move || follow(listener, &kept));
        Ok(Self { seen, thread })
    }

    /// Waits until the session has ended, and its last event has come; or until somebody
    /// interrupts that.
    fn finish(self, session: &str) -> Result<Seen> {
        let mut signals = SigSet::empty();
        signals.add(nix::sys::signal::SIGINT);
        signals.add(nix::sys::signal::SIGTERM);
        let mut glances = 0u32;
        while !self.thread.is_finished() && !came(&signals) {
            glances = glances.saturating_add(1);
            if glances == SILENT {
                eprintln!(
                    "agentguard: waiting for what else runs in session {session}; Ctrl-C to write \
                     what was seen so far, `agentguard kill {session}` to end it"
                );
            }
        }
        if self.thread.is_finished() {
            match self.thread.join() {
                Ok(followed) => followed?,
                Err(_) => return Err(Error::Protocol("the events could not be read".into())),
            }
        }
        Ok(std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Whether one of these signals came, within a glance.
fn came(signals: &SigSet) -> bool {
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: libc::c_long::try_from(GLANCE.as_nanos()).unwrap_or_default(),
    };
    // SAFETY: the set and the time live through the call; what came is not asked for.
    unsafe { libc::sigtimedwait(signals.as_ref(), std::ptr::null_mut(), &raw const time) > 0 }
}

fn follow(mut listener: Listener, seen: &Mutex<Seen>) -> Result<()> {
    let mut ended = false;
    loop {
        match listener.line()? {
            Some(line) => {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                if seen.add(&line) {
                    ended = true;
                    listener.patience(LATE)?;
                }
            }
            None if ended => return Ok(()),
            None => {
                let why = "the daemon went while the session was watched: learn again";
                return Err(Error::Protocol(why.into()));
            }
        }
    }
}

/// Writes the policy, and says what it is worth.
fn write(learned: &Learned, seen: &Seen, output: &Path) -> Result<()> {
    if !learned.lost.is_empty() {
        let lost = learned.lost.join("\n  ");
        let mend = "write each section of it with its key at the beginning of a line";
        return Err(Error::Usage(format!(
            "the policy of --base cannot be gone on from: it says\n  {lost}\n  = {mend}"
        )));
    }
    if output == Path::new("-") {
        print!("{}", learned.text);
    } else {
        std::fs::write(output, &learned.text).map_err(Error::io("write", output))?;
        eprintln!("agentguard: wrote {}", output.display());
    }
    if seen.missed > 0 {
        eprintln!(
            "agentguard: {} events were lost on the way, so something may be missing: learn again, with --base",
            seen.missed
        );
    }
    let refused = &learned.proof.refused;
    eprintln!(
        "agentguard: it allows {} of {} different acts that were seen",
        learned.proof.checked.saturating_sub(refused.len()),
        learned.proof.checked
    );
    refused.iter().take(SHOWN).for_each(|what| eprintln!("  not {what}"));
    if refused.len() > SHOWN {
        eprintln!("  and {} more", refused.len() - SHOWN);
    }
    Ok(())
}
