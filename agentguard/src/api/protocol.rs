//! What is said over the control socket.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::daemon::{Applied, Question, Scope};
use crate::session::{Session, Usage};
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
    /// Begin a session that nothing is refused to, to learn a policy from what it does. The
    /// answer is as for `Run`.
    Learn {
        /// The agent; no policy need declare it.
        agent: String,
        /// The directory that it works in.
        workspace: String,
        /// Resolvers whose questions are to be read, besides the host's.
        #[serde(default)]
        resolvers: Vec<std::net::IpAddr>,
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
        /// With what they use.
        #[serde(default)]
        detail: bool,
    },
    /// Change limits of a session.
    Limit {
        /// Its id.
        session: String,
        /// The limits: what each is called, and what it is to be; `none` takes it off.
        limits: Vec<(String, String)>,
    },
    /// Hold a session.
    Pause {
        /// Its id.
        session: String,
    },
    /// Take the mark of a secret that was read off a session.
    Clear {
        /// Its id.
        session: String,
    },
    /// Let a session go on that is held.
    Resume {
        /// Its id.
        session: String,
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
    /// List the calls that wait for an answer.
    Pending,
    /// Answer some of them.
    Answer {
        /// Their ids.
        questions: Vec<String>,
        /// Whether they may go on.
        allow: bool,
        /// For how long that is good.
        scope: Scope,
    },
    /// Put into force what the files of policies say.
    Apply,
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Response {
    /// The session has begun.
    Begun {
        /// Its id.
        session: String,
        /// What `TRACEPARENT` is to be in its environment.
        traceparent: String,
        /// What `AGENTGUARD_NOTICE` is to be there: a file that tells the session about itself.
        notice: String,
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
    /// The session is held.
    Paused {
        /// Its id.
        session: String,
        /// Whether all of its processes stand still already.
        still: bool,
    },
    /// The mark is off.
    Cleared {
        /// The session's id.
        session: String,
    },
    /// The session goes on.
    Resumed {
        /// Its id.
        session: String,
    },
    /// The session's limits are these now.
    Limited {
        /// Its id.
        session: String,
        /// They, in words.
        limits: String,
    },
    /// The calls that wait, the oldest first.
    Pending {
        /// One each.
        questions: Vec<Question>,
    },
    /// They are answered.
    Answered {
        /// Those that were named, and those that ask the same.
        questions: Vec<Question>,
    },
    /// The policies are in force.
    Applied {
        /// What has changed.
        applied: Applied,
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
        /// How many records the kernel could not hand over, since its programs were loaded.
        #[serde(default)]
        lost: u64,
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The session.
    #[serde(flatten)]
    pub session: Session,
    /// How many tasks (threads included) it has.
    pub tasks: u64,
    /// What it uses, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}
