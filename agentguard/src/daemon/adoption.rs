//! The daemon's part in adoption: it keeps sessions on standby, and ends what the
//! kernel began when it took a process into one.

use std::collections::BTreeSet;
use std::path::Path;

use agentguard_common::event::{Header, Plain};
use agentguard_common::verdict::Reason;

use super::bindings::of_match;
use super::{Daemon, State, requests};
use crate::error::Result;
use crate::event::{Outcome, now_since_boot};
use crate::policy::{HostLinks, Policy};
use crate::session::{Adopted, NewSession, Phase, Process, disk_for, trace_and_span};

/// How long an exec may take after its process was taken in, in nanoseconds.
const SETTLE: u64 = 500_000_000;

impl Daemon {
    /// The kernel took a process into a session that stood by, or found none.
    pub(super) fn adopted(&self, record: &Plain) {
        let header = &record.header;
        if record.status != 0 {
            let agent = self.state.borrow().adoption.agent(header.slot).to_owned();
            let why = u8::try_from(record.status).ok().and_then(Reason::from_u8);
            let why = why.map_or("unknown", Reason::as_str);
            let message =
                format!("process {} matches agent {agent}, and was refused: {why}", header.pid);
            self.tell("session.start", None, agent, Outcome::Failure, Some(message));
            return;
        }
        self.state.borrow_mut().taken.push(*header);
    }

    /// Ends what [`Self::adopted`] began, for processes whose exec has been told of:
    /// the kernel takes them in just before that.
    pub(super) fn settle(&self, ended: Option<u64>) {
        let settled: Vec<(Header, Process)> = {
            let mut state = self.state.borrow_mut();
            let State { taken, processes, .. } = &mut *state;
            let known = |header: &Header| (*header, processes.get(header.pid));
            // An exec that failed in the end is told of by nobody.
            let over = |at: u64| now_since_boot().saturating_sub(at) > SETTLE;
            let ready = |(header, process): &(Header, Process)| {
                process.executed >= header.time
                    || over(header.time)
                    || ended == Some(header.session)
            };
            let settled: Vec<_> = taken.iter().map(known).filter(ready).collect();
            taken.retain(|header| !settled.iter().any(|(done, _)| done.session == header.session));
            settled
        };
        for (header, process) in settled {
            self.take_in(header.session, header.pid, header.uid, process);
        }
    }

    /// Sessions that the kernel took off standby without a record that says so: it was
    /// lost, or read by a daemon that was killed before it could act on it. What was
    /// missing already at the last sweep is found by its label.
    pub(super) fn settle_missing(&self) -> Result<()> {
        let standing: BTreeSet<u32> = self.tables.standby()?.into_values().collect();
        let missing: BTreeSet<u64> = {
            let state = self.state.borrow();
            let waits = |number| state.taken.iter().any(|header| header.session == number);
            let standby = state.sessions.live().filter(|session| session.state == Phase::Standby);
            let missing = standby.filter(|session| !standing.contains(&session.slot));
            missing.map(|session| session.number).filter(|number| !waits(*number)).collect()
        };
        let before = std::mem::replace(&mut self.state.borrow_mut().missing, missing.clone());
        for number in missing.intersection(&before).copied() {
            let first = self.state.borrow().sessions.first_process(number, &self.tables)?;
            match first {
                Some((pid, uid)) => {
                    let process = self.state.borrow().processes.get(pid);
                    self.take_in(number, pid, uid, process);
                }
                None => drop(self.state.borrow_mut().sessions.finish(number, &self.tables)?),
            }
        }
        Ok(())
    }

    fn take_in(&self, number: u64, pid: u32, uid: u32, process: Process) {
        let by = Adopted { pid, uid, command: process.args, trace: trace_of(pid) };
        let adopted = self.state.borrow_mut().sessions.adopted(number, by, &self.tables);
        match adopted {
            Ok(Some(session)) => {
                self.watch_limits(&session);
                self.notify(session.number);
                let (command, message) =
                    (session.command.join(" "), "taken in by the policy's match list");
                self.tell(
                    "session.start",
                    Some(&session),
                    command,
                    Outcome::Success,
                    Some(message.into()),
                );
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, "cannot take a process in; it is guarded all the same")
            }
        }
        if let Err(error) = self.fill() {
            tracing::error!(%error, "no session stands by for some agents");
        }
    }

    /// Brings the match table up to date and sees to it that sessions stand by.
    pub(super) fn fill(&self) -> Result<()> {
        let mut state = self.state.borrow_mut();
        let State { sessions, policies, adoption, store, own, .. } = &mut *state;
        if !adoption.is_empty() {
            adoption.fill(&self.tables, &mut |agent| {
                let bindings = |policy: &Policy, links: &HostLinks| of_match(policy, own, links);
                let new = requests::new_session(agent, policies, &self.tables, store, &bindings)?;
                let disk = disk_for(&new.limits, Path::new(&new.workspace))?;
                let new = NewSession { phase: Phase::Standby, disk, ..new };
                Ok(sessions.begin(new, &self.tables)?.0.slot)
            })?;
        }
        adoption.refresh(&self.tables)
    }

    /// Sessions that stood by under an earlier daemon go, unless they are for the
    /// same agent under the same policy.
    pub(super) fn stand_down_strangers(&self) -> Result<()> {
        let mut state = self.state.borrow_mut();
        let State { sessions, policies, adoption, .. } = &mut *state;
        for (key, slot) in self.tables.standby()? {
            let session = sessions.in_slot(slot).cloned();
            let current = session.as_ref().is_some_and(|session| {
                let declared = policies.declared(&session.agent);
                adoption.is_of(key.pool, &session.agent)
                    && declared.is_ok_and(|policy| crate::hex(&policy.hash) == session.policy_hash)
            });
            if current || !self.tables.stand_down(key)? {
                continue;
            }
            if let Some(session) = session {
                sessions.finish(session.number, &self.tables)?;
            }
        }
        Ok(())
    }
}

/// Trace and span in a process's environment: a hint, as its owner can write there.
fn trace_of(pid: u32) -> Option<(String, String)> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value =
        environment.split(|byte| *byte == 0).find_map(|word| word.strip_prefix(b"TRACEPARENT="))?;
    let (trace, span) = trace_and_span(std::str::from_utf8(value).ok()?)?;
    Some((trace.to_owned(), span.to_owned()))
}
