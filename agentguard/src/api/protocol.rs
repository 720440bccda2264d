//! What is said over the control socket.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::session::Session;
use crate::why::Explanation;

/// The longest line either side accepts, in bytes.
pub(super) const LINE_LIMIT: usize = 1 << 20;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Begin a session. The answer comes with a descriptor of its cgroup.
    Run {
        /// The agent.
        agent: String,
        /// The directory that the agent works in.
        workspace: String,
        /// Whether that was named, or is only where the command was given.
        #[serde(default)]
        named: bool,
        /// What variables in the policy's paths stand for.
        #[serde(default)]
        set: BTreeMap<String, String>,
        /// The command, for people to read.
        command: Vec<String>,
        /// The caller's `TRACEPARENT`.
        traceparent: Option<String>,
    },
    /// Make the process, whose pidfd comes with this line, the first of the
    /// session that was begun on this connection.
    Enrol,
    /// Ask whether agentguard ended a session of one's own.
    Fate {
        /// Its id.
        session: String,
    },
    /// List sessions.
    Ps {
        /// Those that ended too.
        all: bool,
    },
    /// End a session.
    Kill {
        /// Its id.
        session: String,
    },
    /// Get events, one line each, after the answer.
    Events {
        /// Go on with those to come.
        follow: bool,
        /// Activity too. It is not kept, so this is of use with `follow`.
        activity: bool,
        /// Those of one session only.
        session: Option<String>,
    },
    /// Explain a decision.
    Why {
        /// Which.
        of: Asked,
    },
    /// How the daemon is.
    Status,
}

/// Which decision is to be explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Asked {
    /// The last refusal, of one session where that is given. A guarded process gets that
    /// of its own.
    Last {
        /// The session's id, or the beginning of it.
        session: Option<String>,
    },
    /// One by its id.
    Id(String),
    /// What an agent's policy would say.
    Place {
        /// The agent.
        agent: String,
        /// `tcp://10.0.0.1:443`, `unix:/run/db.sock`.
        resource: String,
    },
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Response {
    /// The session has begun.
    Begun {
        /// Its id.
        session: String,
        /// What `TRACEPARENT` is to be in its environment.
        traceparent: String,
    },
    /// The process is in the session, and guarded from now on.
    Enrolled,
    /// What became of the session.
    Fate {
        /// Why agentguard ended it, if it did.
        killed: Option<String>,
    },
    /// The sessions.
    Sessions {
        /// One each.
        sessions: Vec<Row>,
    },
    /// The session has no processes any more.
    Killed {
        /// Its id.
        session: String,
    },
    /// Events follow, until the connection is closed.
    Events,
    /// An explanation.
    Why {
        /// It.
        why: Box<Explanation>,
    },
    /// How the daemon is.
    Status {
        /// Its process.
        pid: u32,
        /// Its version.
        version: String,
        /// How many agents are declared.
        agents: usize,
        /// How many sessions run.
        sessions: usize,
    },
    /// It did not work.
    Error {
        /// What went wrong, and what to do.
        message: String,
        /// The exit code for it.
        code: u8,
    },
}

/// A session in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The session.
    #[serde(flatten)]
    pub session: Session,
    /// How many tasks (threads included) it has.
    pub tasks: u64,
}
