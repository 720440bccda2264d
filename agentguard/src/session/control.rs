//! What is done with a running session as a whole: limited, slowed down, held, let go on.
//!
//! Held sessions stand still in a frozen cgroup. A process that left the session's cgroup
//! (root may) is moved back into it, and stands still there: a signal to stop would be seen
//! by its parent, and another process could undo it.

use std::collections::BTreeSet;
use std::path::Path;

use super::find::{in_cgroup, labelled};
use super::limiting::{InForce, disk_for, limit_files};
use super::manager::{NewSession, Sessions};
use super::{Cgroup, Hits, Phase, Session};
use crate::error::{Error, Result};
use crate::kernel::Tables;
use crate::policy::{Limits, NotHere, size_text};

/// How often processes outside of the cgroup are looked for before they are left to the
/// next round.
const GATHER: usize = 8;

impl Sessions {
    /// Which of the limits cannot be enforced here.
    #[must_use]
    pub fn cannot(&self, limits: &Limits) -> Vec<NotHere> {
        self.cgroups.cannot(limits)
    }

    /// Limits a session that begins.
    pub(super) fn limit_new(&self, cgroup: &Cgroup, new: &NewSession) -> Result<()> {
        if new.limits.is_empty() {
            return Ok(());
        }
        let force = InForce { limits: Some(&new.limits), disk: new.disk, throttled: false };
        self.cgroups.limit(cgroup, &force)
    }

    /// Makes one thread of a session stand still.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses, or the thread is gone.
    pub fn hold_thread(&self, number: u64, thread: u32) -> Result<()> {
        self.cgroup_of_number(number)?.hold(thread)
    }

    /// Lets it go on.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses.
    pub fn free_thread(&self, number: u64, thread: u32) -> Result<()> {
        self.cgroup_of_number(number)?.let_go(thread)
    }

    /// The threads of a session that stand still one by one.
    #[must_use]
    pub fn still_threads(&self, number: u64) -> BTreeSet<u32> {
        self.cgroup_of_number(number).map(|cgroup| cgroup.held_threads()).unwrap_or_default()
    }

    /// Lets all threads of a session go on that were made to stand still one by one.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses.
    pub fn free_all(&self, session: &Session) -> Result<()> {
        self.cgroup_of(session).thaw()
    }

    fn cgroup_of_number(&self, number: u64) -> Result<Cgroup> {
        let session = self.get(number).ok_or_else(|| Error::UnknownSession(number.to_string()))?;
        Ok(self.cgroup_of(session))
    }

    /// Limits the open files of all processes of a session.
    pub(super) fn limit_open_files(&self, session: &Session, tables: &Tables) -> Result<()> {
        let Some(most) = session.limits.open_files else { return Ok(()) };
        for process in labelled(session.number, tables)? {
            // Fails only for one that is gone.
            let _ = limit_files(process.pid, most);
        }
        Ok(())
    }

    /// Gives a running session other limits.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] where one cannot be enforced; then the old ones stand.
    pub fn set_limits(&mut self, number: u64, limits: Limits, tables: &Tables) -> Result<Session> {
        let rates = limits.rates();
        let session = self.hold_to(number, limits, tables)?;
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.rates = rates;
            tables.set_session(session.slot, *entry)?;
        }
        Ok(session)
    }

    /// The same but for the limits per time, which the kernel has with what decides.
    ///
    /// # Errors
    ///
    /// As for [`Self::set_limits`].
    pub fn hold_to(&mut self, number: u64, limits: Limits, tables: &Tables) -> Result<Session> {
        let session = self.get_live(number)?;
        if let Some(NotHere { key, why, mend }) = self.cgroups.cannot(&limits).into_iter().next() {
            return Err(Error::Limit { key, why, mend });
        }
        if session.limits.open_files.is_some() && limits.open_files.is_none() {
            return Err(Error::Limit {
                key: "open_files",
                why: "its processes had other limits before, which nobody remembers".into(),
                mend: "write a number",
            });
        }
        // Where there was a limit on the disk, it has to be taken off there.
        let with_disk = if limits.has_io() { &limits } else { &session.limits };
        let disk = disk_for(with_disk, Path::new(&session.workspace))?;
        let throttled = session.throttled.is_some();
        let force = InForce { limits: Some(&limits), disk, throttled };
        self.cgroups.limit(&self.cgroups.existing(&session.id), &force)?;
        let session = self.change(number, |session| session.limits = limits)?;
        self.limit_open_files(&session, tables)?;
        Ok(session)
    }

    /// Slows a session down to a tenth of one CPU, or no more; `None` lets it run.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses.
    pub fn throttle(&mut self, number: u64, why: Option<&str>) -> Result<Session> {
        let session = self.change(number, |session| session.throttled = why.map(str::to_owned))?;
        self.renew_limits(&session)?;
        Ok(session)
    }

    /// Remembers what a session read that is secret; `None`, that it is cleared of that.
    ///
    /// # Errors
    ///
    /// Where there is no such session, or it cannot be remembered.
    pub fn set_tainted(&mut self, number: u64, why: Option<&str>) -> Result<Session> {
        self.change(number, |session| session.tainted = why.map(str::to_owned))
    }

    /// Sets what is in force in a session's cgroup once more: who manages the hierarchy can
    /// have switched a controller off, and its limits with it.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses.
    pub fn renew_limits(&self, session: &Session) -> Result<()> {
        let disk = disk_for(&session.limits, Path::new(&session.workspace))?;
        let limits = Some(&session.limits);
        let force = InForce { limits, disk, throttled: session.throttled.is_some() };
        self.cgroups.limit(&self.cgroups.existing(&session.id), &force)
    }

    /// Renews the limits of sessions whose cgroups have lost them; their ids.
    pub fn renew_lost_limits(&self) -> Vec<String> {
        let lost = |session: &&Session| {
            let cgroup = self.cgroups.existing(&session.id);
            let limits = &session.limits;
            let gone = |wanted: bool, file| wanted && !cgroup.has(file);
            gone(limits.memory.is_some(), "memory.max")
                || gone(limits.pids.is_some(), "pids.max")
                || gone(limits.cpu.is_some() || session.throttled.is_some(), "cpu.max")
                || gone(limits.has_io(), "io.max")
        };
        let lost = self.live.values().filter(lost);
        lost.map(|session| match self.renew_limits(session) {
            Ok(()) => session.id.clone(),
            Err(error) => {
                tracing::error!(%error, session = session.id, "limits are not in force");
                session.id.clone()
            }
        })
        .collect()
    }

    /// Holds a session: its processes stand still.
    ///
    /// # Errors
    ///
    /// Where it does not run, or the kernel refuses.
    pub fn pause(&mut self, number: u64, why: &str) -> Result<Session> {
        let session = self.get_live(number)?;
        if !matches!(session.state, Phase::Running | Phase::Paused) {
            let (id, state) = (&session.id, session.state.as_str());
            return Err(Error::Refused(format!("session {id} is {state}, and cannot be paused")));
        }
        self.cgroups.existing(&session.id).freeze(true)?;
        self.change(number, |session| {
            session.state = Phase::Paused;
            session.paused.get_or_insert_with(|| why.to_owned());
        })
    }

    /// Moves processes that left a held session's cgroup back into it. True when none had.
    ///
    /// # Errors
    ///
    /// Where the kernel's tables cannot be read.
    pub fn gather(&self, number: u64, tables: &Tables) -> Result<bool> {
        let session = self.get_live(number)?;
        let cgroup = self.cgroups.existing(&session.id);
        for round in 0..GATHER {
            let all = labelled(number, tables)?;
            let outside = all.iter().filter(|process| !below(process.pid, &session.cgroup));
            // Fails only for one that is gone.
            if outside.filter(|process| cgroup.add(process.pid).is_ok()).count() == 0 {
                return Ok(round == 0);
            }
        }
        Ok(false)
    }

    /// Whether all of a held session's processes stand still.
    #[must_use]
    pub fn frozen(&self, number: u64) -> bool {
        let session = self.live.get(&number);
        session.is_some_and(|session| self.cgroups.existing(&session.id).frozen())
    }

    /// Lets a held session go on.
    ///
    /// # Errors
    ///
    /// Where it is not held, or the kernel refuses.
    pub fn resume(&mut self, number: u64) -> Result<Session> {
        let session = self.get_live(number)?;
        if session.state != Phase::Paused {
            let (id, state) = (&session.id, session.state.as_str());
            return Err(Error::Refused(format!("session {id} is {state}, not paused")));
        }
        self.cgroups.existing(&session.id).freeze(false)?;
        self.change(number, |session| (session.state, session.paused) = (Phase::Running, None))
    }

    /// How often a session hit limits since that was last asked.
    pub fn new_hits(&mut self, number: u64) -> Hits {
        let Some(session) = self.live.get(&number) else { return Hits::default() };
        let now = self.cgroups.existing(&session.id).hits();
        since(self.hits.insert(number, now), now)
    }

    /// The cgroup of a session.
    #[must_use]
    pub fn cgroup_of(&self, session: &Session) -> Cgroup {
        self.cgroups.existing(&session.id)
    }

    pub(super) fn get_live(&self, number: u64) -> Result<&Session> {
        let session = self.live.get(&number);
        session.ok_or_else(|| Error::UnknownSession(number.to_string()))
    }

    fn change(&mut self, number: u64, how: impl FnOnce(&mut Session)) -> Result<Session> {
        let session = self.live.get_mut(&number);
        let session = session.ok_or_else(|| Error::UnknownSession(number.to_string()))?;
        how(session);
        let session = session.clone();
        self.store.keep(&session)?;
        Ok(session)
    }
}

/// Whether a process is in a cgroup or below it.
fn below(pid: i32, cgroup: &str) -> bool {
    let inside = |path: &str| {
        path.strip_prefix(cgroup).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    in_cgroup(pid, cgroup)
        || procfs::process::Process::new(pid)
            .and_then(|process| process.cgroups())
            .is_ok_and(|all| all.0.iter().any(|of| of.hierarchy == 0 && inside(&of.pathname)))
}

/// What was hit between two looks.
pub(super) fn since(before: Option<Hits>, now: Hits) -> Hits {
    let before = before.unwrap_or_default();
    Hits {
        memory: now.memory.saturating_sub(before.memory),
        pids: now.pids.saturating_sub(before.pids),
    }
}

/// Why a session ended that used up its memory.
#[must_use]
pub(super) fn out_of_memory(limits: &Limits) -> String {
    match limits.memory {
        Some(bytes) => format!("limits.memory: {} were used up", size_text(bytes)),
        None => "the host's memory was used up".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_are_told_once() {
        let now = Hits { memory: 2, pids: 5 };
        assert_eq!(since(None, now), now);
        assert_eq!(since(Some(Hits { memory: 2, pids: 3 }), now), Hits { memory: 0, pids: 2 });
    }

    #[test]
    fn the_reason_names_the_limit() {
        let limits = Limits { memory: Some(64 << 20), ..Limits::default() };
        assert_eq!(out_of_memory(&limits), "limits.memory: 64MiB were used up");
    }
}
