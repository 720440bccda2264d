//! What the control socket asks of the daemon.

use std::fs::File;
use std::os::fd::OwnedFd;

use tokio::sync::broadcast::Receiver;

use super::apply::limits_of;
use super::bindings::{Given, of_run, workspace_of};
use super::{Daemon, State};
use crate::api::{Response, Row};
use crate::doctor;
use crate::error::{Error, Result};
use crate::event::{Class, Outcome};
use crate::kernel::Tables;
use crate::policy::{Bindings, HostLinks, Policy};
use crate::session::{
    self, Correlation, Doomed, NewSession, Phase, Policies, Session, Store, disk_for, kernel_state,
};
use crate::sink::Sent;
use crate::why::{self, Explanation};

/// A session that has begun and waits for its process.
pub struct Begun {
    /// The session.
    pub session: Session,
    /// What `TRACEPARENT` is to be in its environment.
    pub traceparent: String,
    /// Where it finds what it is told about itself.
    pub notice: std::path::PathBuf,
    /// Its cgroup.
    pub cgroup: File,
}

impl Daemon {
    /// Begins a session.
    ///
    /// # Errors
    ///
    /// Where the agent is not declared or the kernel has no room.
    pub fn begin(
        &self,
        uid: u32,
        agent: &str,
        given: Given,
        command: Vec<String>,
        traceparent: Option<&str>,
    ) -> Result<Begun> {
        let correlation = Correlation::new(traceparent)?;
        let mut state = self.state.borrow_mut();
        let State { sessions, policies, store, own, .. } = &mut *state;
        let workspace = workspace_of(policies.declared(agent)?, &given);
        let bindings =
            |policy: &Policy, links: &HostLinks| of_run(policy, uid, given.clone(), own, links);
        let new = new_session(agent, policies, &self.tables, store, &bindings)?;
        let new = NewSession {
            correlation_id: correlation.trace_id.clone(),
            parent_span_id: correlation.parent_span_id.clone(),
            uid,
            command,
            disk: disk_for(&new.limits, &workspace)?,
            workspace: workspace.display().to_string(),
            ..new
        };
        let (session, cgroup) = sessions.begin(new, &self.tables)?;
        let traceparent = correlation.traceparent(&session.id);
        let notice = state.told.path(&session.id);
        drop(state);
        self.watch_limits(&session);
        self.notify(session.number);
        Ok(Begun { session, notice, traceparent, cgroup: cgroup.open()? })
    }

    /// Makes a process of that user the first of its session.
    ///
    /// # Errors
    ///
    /// Where it may not be, or is gone.
    pub fn enrol(&self, uid: u32, number: u64, pidfd: &OwnedFd) -> Result<()> {
        let pid = doctor::pid_of(pidfd)?;
        let owner = procfs::process::Process::new(pid).and_then(|process| process.uid());
        if uid != 0 && owner.ok() != Some(uid) {
            return Err(Error::Refused("the process belongs to another user".into()));
        }
        let session = self.state.borrow_mut().sessions.enrol(number, pidfd, pid, &self.tables)?;
        self.tell(
            "session.start",
            Some(&session),
            session.command.join(" "),
            Outcome::Success,
            None,
        );
        Ok(())
    }

    /// Gives up a session that was begun and never entered.
    pub fn abandon(&self, number: u64) {
        let mut state = self.state.borrow_mut();
        let starting = state.sessions.get(number).is_some_and(|session| session.pid == 0);
        if !starting {
            return;
        }
        let finished = state.sessions.finish(number, &self.tables);
        drop(state);
        match finished {
            Ok(Some(ended)) => self.forget_notice(number, &ended.0.id),
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "cannot give up a session"),
        }
    }

    /// Why agentguard ended a session, if it did and the asker may know.
    pub fn fate(&self, id: &str, may: impl Fn(u32) -> bool) -> Option<String> {
        let number = self.find(id).ok().map(|session| session.number);
        // The kernel may just have killed it, and nobody has looked yet.
        number.into_iter().for_each(|number| self.look_at_limits(number));
        let state = self.state.borrow();
        let mut known = state.sessions.live().chain(state.sessions.ended());
        known.find(|session| session.id == id && may(session.uid))?.killed.clone()
    }

    /// A running session.
    ///
    /// # Errors
    ///
    /// Where there is none of that id.
    pub fn find(&self, id: &str) -> Result<Session> {
        self.state.borrow().sessions.find(id).cloned()
    }

    /// Lets a session do nothing more, and says how to kill its processes.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses.
    pub fn end(&self, number: u64, why: &str) -> Result<Doomed> {
        let (doomed, session) = {
            let mut state = self.state.borrow_mut();
            let doomed = state.sessions.end(number, why, &self.tables)?;
            (doomed, state.sessions.get(number).cloned())
        };
        let resource = session.as_ref().map(|session| session.id.clone()).unwrap_or_default();
        self.tell(
            "session.kill",
            session.as_ref(),
            resource,
            Outcome::Success,
            Some(why.to_owned()),
        );
        Ok(doomed)
    }

    /// Gives a running session other limits, one after the other as `memory=2GiB`; `none`
    /// takes one off.
    ///
    /// # Errors
    ///
    /// Where one is no limit, or cannot be enforced; then all stay as they were.
    pub fn limit(&self, number: u64, changes: &[(String, String)], who: u32) -> Result<Session> {
        let mut limits = {
            let state = self.state.borrow();
            let session = state.sessions.get(number);
            session.map(|session| session.limits.clone()).unwrap_or_default()
        };
        for (key, text) in changes {
            limits
                .set(key, text)
                .map_err(|(problem, mend)| Error::Usage(format!("{problem}\n  = {mend}")))?;
        }
        let session = self.state.borrow_mut().sessions.set_limits(number, limits, &self.tables)?;
        self.watch_limits(&session);
        let message = format!("{} by user {who}", session.limits);
        let resource = session.id.clone();
        self.tell("session.limit", Some(&session), resource, Outcome::Success, Some(message));
        Ok(session)
    }

    /// The sessions, with their tasks; with `detail` what they use, too.
    ///
    /// # Errors
    ///
    /// Where the kernel's tables cannot be read.
    pub fn rows(&self, ended: bool, detail: bool) -> Result<Vec<Row>> {
        let state = self.state.borrow();
        let mut rows = Vec::new();
        for session in state.sessions.ended().filter(|_| ended) {
            rows.push(Row { session: session.clone(), tasks: 0, usage: None });
        }
        let tasks = session::tasks(&self.tables)?;
        let shown = |session: &&Session| session.state != Phase::Standby;
        for session in state.sessions.live().filter(shown) {
            let tasks = tasks.get(&session.number).copied().unwrap_or(0);
            let usage = detail.then(|| state.sessions.cgroup_of(session).usage());
            rows.push(Row { session: session.clone(), tasks, usage });
        }
        Ok(rows)
    }

    /// What was recorded, and what is to come.
    #[must_use]
    pub fn listen(&self) -> (Vec<Sent>, Receiver<Sent>) {
        self.state.borrow().recent.listen()
    }

    /// The id of a session.
    #[must_use]
    pub fn id_of(&self, number: u64) -> Option<String> {
        self.state.borrow().sessions.get(number).map(|session| session.id.clone())
    }

    /// Explains the last refusal among those that fit.
    ///
    /// # Errors
    ///
    /// [`Error::NoDecision`] where there is none.
    pub fn last_refusal(&self, fits: impl Fn(&Sent) -> bool) -> Result<Explanation> {
        let refused = |why: &Explanation| why.outcome != "allowed";
        self.explain(fits, refused).ok_or_else(|| Error::NoDecision("nothing was refused".into()))
    }

    /// Explains a decision by its id.
    ///
    /// # Errors
    ///
    /// [`Error::NoDecision`] where there is none that the asker may know of.
    pub fn decision(&self, id: &str, may: impl Fn(&Sent) -> bool) -> Result<Explanation> {
        let named = |why: &Explanation| why.id.as_deref() == Some(id);
        self.explain(may, named)
            .ok_or_else(|| Error::NoDecision(format!("there is no decision {id:?}")))
    }

    fn explain(
        &self,
        fits: impl Fn(&Sent) -> bool,
        wanted: impl Fn(&Explanation) -> bool,
    ) -> Option<Explanation> {
        let state = self.state.borrow();
        let mut decisions = state
            .recent
            .newest_first()
            .filter(|sent| sent.kind == Class::Decision && fits(sent))
            .filter_map(|sent| why::of_event(&sent.line, state.policies.of_line(&sent.line)));
        decisions.find(wanted)
    }

    /// Explains what the policy that is declared for an agent would say.
    ///
    /// # Errors
    ///
    /// Where no policy is, or that is no place.
    pub fn would_say(&self, agent: &str, resource: &str) -> Result<Explanation> {
        why::of_policy(self.state.borrow().policies.declared(agent)?, resource)
    }

    /// How the daemon is.
    #[must_use]
    pub fn status(&self) -> Response {
        let state = self.state.borrow();
        Response::Status {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
            agents: state.policies.count(),
            sessions: state.sessions.live().count(),
            lost: self.lost_records(),
        }
    }
}

/// A session of an agent under its declared policy, for nobody in particular. `bindings`
/// says what the variables in the policy stand for.
pub(super) fn new_session(
    agent: &str,
    policies: &mut Policies,
    tables: &Tables,
    store: &Store,
    bindings: &dyn Fn(&Policy, &HostLinks) -> Result<Bindings>,
) -> Result<NewSession> {
    let policy = policies.declared(agent)?.clone();
    new_session_under(policy, policies, tables, store, bindings)
}

/// The same under a policy that no file need declare.
pub(super) fn new_session_under(
    policy: Policy,
    policies: &mut Policies,
    tables: &Tables,
    store: &Store,
    bindings: &dyn Fn(&Policy, &HostLinks) -> Result<Bindings>,
) -> Result<NewSession> {
    let agent = policy.agent.clone();
    let slots = policies.slots(policy, tables, store)?;
    let policy = policies.in_slot(slots.policy).cloned();
    let policy = policy.ok_or_else(|| Error::Refused("the policy has no source".into()))?;
    let links = HostLinks::new();
    let bindings = bindings(&policy, &links)?;
    let bound = policy.bind(&bindings, &links)?;
    let limits = limits_of(&policy);
    let workspace = policy.workspace.clone().unwrap_or_default();
    Ok(NewSession {
        agent,
        policy_hash: crate::hex(&policy.hash),
        policy: slots,
        state: kernel_state(policy.mode),
        correlation_id: Correlation::new(None)?.trace_id,
        parent_span_id: None,
        uid: 0,
        command: Vec::new(),
        disk: None,
        workspace: workspace.display().to_string(),
        limits,
        phase: Phase::Starting,
        exec: policy.exec_flags(),
        rates: policy.rates(),
        paths: bound.map(|bound| (policy, bound)),
        bindings: Some(bindings),
    })
}
