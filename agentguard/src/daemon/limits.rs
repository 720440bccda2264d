//! Limits while sessions run: held against the host before anything starts, watched for
//! being reached, told, and followed by the end of sessions that are out of memory or time.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use super::{Daemon, State};
use crate::error::{Error, Result};
use crate::event::Outcome;
use crate::policy::{LimitName, Limits, PolicySet, size_text};
use crate::session::{Cgroup, Cgroups, Hits, Session, disk_for};

/// How often at the most a limit that is reached again and again is told of.
const TOLD: Duration = Duration::from_secs(10);
/// How long before its time is over a session is told, in seconds.
const WARNED: u64 = 60;
const NANOSECONDS: u64 = 1_000_000_000;

/// Refuses policies with limits that this host cannot enforce.
pub(super) fn check(declared: &PolicySet) -> Result<()> {
    let limited = || declared.iter().filter(|policy| !policy.limits.limits.is_empty());
    if limited().next().is_none() {
        return Ok(());
    }
    let cgroups = Cgroups::new()?;
    for policy in limited() {
        let limits = &policy.limits.limits;
        policy.refuse_limits(&cgroups.cannot(limits))?;
        // Elsewhere, who starts a session says where it works.
        if let Some(workspace) = &policy.workspace {
            disk_for(limits, workspace)?;
        } else if !policy.matches.is_empty() && limits.has_io() {
            return Err(Error::Limit {
                key: "io",
                why: format!("{} has a match, and no workspace", policy.path.display()),
                mend: "write workspace: and a directory on the disk that is meant",
            });
        }
    }
    Ok(())
}

/// Tells when a limit is reached.
pub(super) struct Watch {
    /// Without it, every sweep looks.
    inotify: Option<Inotify>,
    sessions: BTreeMap<WatchDescriptor, u64>,
    told: BTreeMap<(u64, &'static str), (Instant, u64)>,
}

impl Watch {
    pub(super) fn new() -> Self {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC);
        let inotify = inotify.inspect_err(|error| {
            tracing::warn!(%error, "limits that are reached are told of within a second only");
        });
        Self { inotify: inotify.ok(), sessions: BTreeMap::new(), told: BTreeMap::new() }
    }

    /// A descriptor that is readable when a limit was reached.
    pub(super) fn ready(&self) -> Option<OwnedFd> {
        self.inotify.as_ref()?.as_fd().try_clone_to_owned().ok()
    }

    /// Watches a session's cgroup, where it has limits to reach.
    fn add(&mut self, session: &Session, cgroup: &Cgroup) {
        let Some(inotify) = &self.inotify else { return };
        for path in cgroup.told_limits() {
            // Without such a file there is no such limit.
            if let Ok(watch) = inotify.add_watch(&path, AddWatchFlags::IN_MODIFY) {
                self.sessions.insert(watch, session.number);
            }
        }
    }

    /// The sessions that reached one.
    fn reached(&self) -> Vec<u64> {
        let events = self.inotify.as_ref().and_then(|inotify| inotify.read_events().ok());
        let mut sessions: Vec<u64> = events
            .unwrap_or_default()
            .iter()
            .filter_map(|event| self.sessions.get(&event.wd).copied())
            .collect();
        sessions.sort_unstable();
        sessions.dedup();
        sessions
    }

    /// Whether to tell now, and of how many times.
    fn tell(&mut self, session: u64, limit: &'static str, times: u64, now: Instant) -> Option<u64> {
        if times == 0 && !self.told.contains_key(&(session, limit)) {
            return None;
        }
        let (told, untold) = self.told.entry((session, limit)).or_insert((now, 0));
        let first = *told == now;
        *untold += times;
        if *untold == 0 || !first && now.duration_since(*told) < TOLD {
            return None;
        }
        *told = now;
        Some(std::mem::take(untold))
    }

    fn forget(&mut self, session: u64) {
        self.sessions.retain(|_, number| *number != session);
        self.told.retain(|(number, _), _| *number != session);
    }
}

impl Daemon {
    /// Watches the limits of a session.
    pub(super) fn watch_limits(&self, session: &Session) {
        let mut state = self.state.borrow_mut();
        let State { sessions, watch, .. } = &mut *state;
        watch.add(session, &sessions.cgroup_of(session));
    }

    /// Watches those of all sessions.
    pub(super) fn watch_all_limits(&self) {
        let limited: Vec<Session> = {
            let state = self.state.borrow();
            let limited = state.sessions.live().filter(|session| !session.limits.is_empty());
            limited.cloned().collect()
        };
        limited.iter().for_each(|session| self.watch_limits(session));
    }

    /// Limits were reached: which, the cgroups tell.
    pub(super) fn limits_reached(&self) {
        let reached = self.state.borrow().watch.reached();
        reached.into_iter().for_each(|number| self.look_at_limits(number));
    }

    /// Tells of limits that a session has reached, and ends it where it is out of memory.
    pub(super) fn look_at_limits(&self, number: u64) {
        let (session, hits) = {
            let mut state = self.state.borrow_mut();
            let Some(session) = state.sessions.get(number).cloned() else { return };
            (session, state.sessions.new_hits(number))
        };
        self.tell_hits(&session, hits);
        if hits.memory > 0 && session.limits.memory.is_some() {
            // What the kernel has not killed (it left the cgroup) goes too.
            let why = self.why_out_of_memory(&session);
            self.put_down_or_log(number, &why);
        }
    }

    /// A session has ended: the last hits are told, and nothing of it is watched any more.
    pub(super) fn limits_ended(&self, session: &Session, hits: Hits) {
        self.tell_hits(session, hits);
        self.state.borrow_mut().watch.forget(session.number);
    }

    fn why_out_of_memory(&self, session: &Session) -> String {
        session.limits.memory.map_or_else(
            || "the host's memory was used up".to_owned(),
            |bytes| format!("limits.memory: {} were used up", size_text(bytes)),
        )
    }

    fn tell_hits(&self, session: &Session, hits: Hits) {
        let limits = &session.limits;
        if limits.memory.is_some() {
            self.tell_limit(session, "memory", hits.memory);
        }
        if limits.pids.is_some() {
            self.tell_limit(session, "pids", hits.pids);
        }
    }

    /// Tells that a limit was reached so many times.
    fn tell_limit(&self, session: &Session, limit: &'static str, times: u64) {
        let times =
            self.state.borrow_mut().watch.tell(session.number, limit, times, Instant::now());
        let Some(times) = times else { return };
        let written = session.limits.written().into_iter().find(|(key, _)| *key == limit);
        let written = written.map_or_else(String::new, |(_, text)| text);
        let message = match limit {
            "memory" => format!("{written} were used up; the kernel killed {times} processes"),
            "pids" => format!("{times} times, more than {written} tasks were to be made"),
            _ => format!("{written} are over"),
        };
        self.note_limit(session.number, format!("{limit}: {message}"));
        self.tell("limit", Some(session), limit.into(), Outcome::Denied, Some(message));
        match limit {
            "memory" => self.reached(session.number, LimitName::Memory),
            "pids" => self.reached(session.number, LimitName::Pids),
            _ => self.reached(session.number, LimitName::Runtime),
        }
    }

    /// What a sweep does: times that are over, limits that went missing.
    pub(super) fn sweep_limits(&self) {
        let now = crate::event::now();
        let (over, ending, limited) = {
            let state = self.state.borrow();
            let live = || state.sessions.running().filter(|session| !session.limits.is_empty());
            let over = |session: &&Session| left(session, now) == Some(0);
            let over: Vec<Session> = live().filter(over).cloned().collect();
            let soon = |session: &Session| Some((session.number, left(session, now)?));
            let soon = live().filter_map(soon).filter(|(_, left)| (1..=WARNED).contains(left));
            (over, soon.collect::<Vec<_>>(), live().map(|of| of.number).collect::<Vec<_>>())
        };
        limited.into_iter().for_each(|number| self.look_at_limits(number));
        for (number, left) in ending {
            let text = format!("limits.runtime: the session will be killed in {left} seconds");
            self.note_warning(number, text);
        }
        for session in over {
            self.tell_limit(&session, "runtime", 1);
            let seconds = session.limits.runtime.unwrap_or_default();
            let limits = Limits { runtime: Some(seconds), ..Limits::default() };
            let why = format!("limits.{limits} is over");
            self.put_down_or_log(session.number, &why);
        }
        let renewed = self.state.borrow().sessions.renew_lost_limits();
        for id in renewed {
            tracing::warn!(session = id, "limits were gone and have been set again");
        }
    }
}

/// How many seconds a session has left; `None` where its time is not limited. `now` in
/// nanoseconds since 1970.
fn left(session: &Session, now: u64) -> Option<u64> {
    let ran = now.saturating_sub(session.started) / NANOSECONDS;
    session.limits.runtime.map(|most| u64::from(most).saturating_sub(ran))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_reached_over_and_over_is_told_of_now_and_then() {
        let mut watch = Watch::new();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(watch.tell(1, "pids", 3, at(0)), Some(3));
        assert_eq!(watch.tell(1, "pids", 4, at(1)), None);
        assert_eq!(watch.tell(2, "pids", 1, at(1)), Some(1), "another session");
        assert_eq!(watch.tell(1, "pids", 0, at(2)), None);
        assert_eq!(watch.tell(1, "pids", 0, at(11)), Some(4), "what was not told yet");
        assert_eq!(watch.tell(1, "pids", 0, at(40)), None, "nothing new");
        watch.forget(1);
        assert_eq!(watch.tell(1, "pids", 0, at(41)), None);
    }
}
