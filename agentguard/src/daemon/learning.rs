//! Sessions that policies are learned from: nothing is refused to them, and everything that
//! they do is told.

use std::net::IpAddr;

use agentguard_common::counter::Count;
use agentguard_common::session::program;

use super::requests::{Begun, new_session_under};
use super::{Daemon, State};
use crate::error::{Error, Result};
use crate::event::Outcome;
use crate::kernel;
use crate::learn::watched;
use crate::policy::Bindings;
use crate::session::{Correlation, NewSession};

/// What is to be watched.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The agent.
    pub agent: String,
    /// The directory that it works in.
    pub workspace: String,
    /// Resolvers whose questions are read, besides the host's.
    pub resolvers: Vec<IpAddr>,
    /// The command, for people to read.
    pub command: Vec<String>,
}

impl Daemon {
    /// Begins a session that nothing is refused to.
    ///
    /// Its policy is the daemon's own, so nobody brings one in. A process of a session is in no
    /// other, so where a policy takes processes in by `match`, this would be a way past it: there
    /// it is for root alone.
    ///
    /// # Errors
    ///
    /// Where the caller may not, the agent's name is none, or the kernel has no room.
    pub fn begin_learning(
        &self,
        uid: u32,
        what: Watched,
        traceparent: Option<&str>,
    ) -> Result<Begun> {
        let policy = watched(&what.agent, &what.resolvers)?;
        let correlation = Correlation::new(traceparent)?;
        kernel::rename_lock()?;
        let mut state = self.state.borrow_mut();
        let State { sessions, policies, store, .. } = &mut *state;
        if uid != 0 && policies.takes_in() {
            return Err(Error::Refused(
                "a policy here takes processes in by `match`, and a session that nothing is \
                 refused to would be a way past it: learn as root"
                    .into(),
            ));
        }
        let none = |_: &_, _: &_| Ok(Bindings::default());
        let new = new_session_under(policy, policies, &self.tables, store, &none)?;
        let new = NewSession {
            correlation_id: correlation.trace_id.clone(),
            parent_span_id: correlation.parent_span_id.clone(),
            uid,
            command: what.command,
            workspace: what.workspace,
            exec: new.exec | program::TOLD,
            ..new
        };
        let (session, cgroup) = sessions.begin(new, &self.tables)?;
        let notice = state.told.path(&session.id);
        drop(state);
        self.notify(session.number);
        self.tell(
            "session.learn",
            Some(&session),
            session.command.join(" "),
            Outcome::Success,
            Some(format!("user {uid} learns a policy: nothing is refused to this session")),
        );
        let traceparent = correlation.traceparent(&session.id);
        Ok(Begun { session, notice, traceparent, cgroup: cgroup.open()? })
    }

    /// How many records the kernel could not hand over. None, where that cannot be found out.
    pub(super) fn lost_records(&self) -> u64 {
        let counters = self.tables.counters().unwrap_or_default();
        let lost = counters.iter().filter(|counter| counter.count == Count::Lost);
        lost.map(|counter| counter.number).sum()
    }
}
