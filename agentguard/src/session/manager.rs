//! The life of sessions: begun, entered by their first process, ended by
//! themselves or killed; and taken over from an earlier daemon.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use agentguard_common::limit::{LIMITS, Rate};
use agentguard_common::session::{MAX_SESSIONS, SessionEntry, State, TaskLabel, Terms, program};

use super::disk::Disk;
use super::doomed::Doomed;
use super::find::{all_labelled, check_single, in_cgroup, labelled};
use super::limiting::limit_files;
use super::name::name;
use super::paths::PathsInForce;
use super::switching::settle_adopted;
use super::{Cgroup, Cgroups, Hits, Phase, Session, Slots, Store};
use crate::error::{Error, Result};
use crate::kernel::Tables;
use crate::policy::{Bindings, BoundPaths, Limits, Policy};

/// The slot that `doctor` tries denials in.
pub const PROBE_SLOT: u32 = MAX_SESSIONS - 1;

/// How often processes are looked for that have to be moved into a cgroup: those
/// made while others were moved are found the next time.
const GATHER: usize = 8;

/// How many ended sessions are remembered, for records that arrive late and for
/// `ps --all`.
const ENDED_LIMIT: usize = 1024;

/// What is known of a session before it has a process.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The agent.
    pub agent: String,
    /// The hash of its policy, in hexadecimal digits.
    pub policy_hash: String,
    /// The slots of its policy.
    pub policy: Slots,
    /// Whether the policy is enforced or observed.
    pub state: State,
    /// The trace id.
    pub correlation_id: String,
    /// The caller's span.
    pub parent_span_id: Option<String>,
    /// Who starts it.
    pub uid: u32,
    /// What it runs.
    pub command: Vec<String>,
    /// Where it works.
    pub workspace: String,
    /// Whether it waits for a process that matches, or for one that is being made.
    pub phase: Phase,
    /// Its policy, and the rules on paths in it with what the variables stand for put in.
    pub paths: Option<(Arc<Policy>, BoundPaths)>,
    /// What they stand for.
    pub bindings: Option<Bindings>,
    /// What it may use of the host.
    pub limits: Limits,
    /// The disk of its workspace, where a limit needs to know it.
    pub disk: Option<Disk>,
    /// What else the policy says of programs, see [`agentguard_common::session::program`].
    pub exec: u32,
    /// The policy's limits per time.
    pub rates: [Rate; LIMITS.len()],
}

/// What is known of a process that was taken into a session.
#[derive(Clone, Debug)]
pub struct Adopted {
    /// The process.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// What it runs.
    pub command: Vec<String>,
    /// The trace id and the span id of its environment.
    pub trace: Option<(String, String)>,
}

/// A session that has just ended, and how often it hit limits since that was last asked.
#[derive(Clone, Debug)]
pub struct Ended(pub Session, pub Hits);

/// The sessions there are.
pub struct Sessions {
    pub(super) live: BTreeMap<u64, Session>,
    ended: VecDeque<Session>,
    pub(super) entries: BTreeMap<u64, SessionEntry>,
    pub(super) paths: PathsInForce,
    pub(super) cgroups: Cgroups,
    pub(super) store: Store,
    /// How often sessions had hit limits when that was last asked.
    pub(super) hits: BTreeMap<u64, Hits>,
    last: u64,
    /// Sessions that had no process left at the last sweep.
    vacant: BTreeSet<u64>,
}

impl Sessions {
    /// Takes over what the kernel and the store have from an earlier daemon.
    ///
    /// # Errors
    ///
    /// Where the kernel's tables or the store cannot be read.
    pub fn adopt(tables: &Tables, cgroups: Cgroups, store: Store) -> Result<Self> {
        let stored = store.sessions()?;
        let mut sessions = Self {
            live: BTreeMap::new(),
            ended: VecDeque::new(),
            entries: BTreeMap::new(),
            paths: PathsInForce::default(),
            cgroups,
            store,
            hits: BTreeMap::new(),
            last: 0,
            vacant: BTreeSet::new(),
        };
        for (slot, entry) in tables.sessions()? {
            if slot == PROBE_SLOT {
                continue;
            }
            let known = stored.iter().find(|session| session.number == entry.session);
            let mut session = known.cloned().unwrap_or_else(|| unknown(slot, entry));
            let terms = Terms::unpack(entry.terms);
            let hash = tables.policy(terms.policy)?.map(|policy| crate::hex(&policy.hash));
            settle_adopted(&mut session, terms, hash);
            sessions.entries.insert(entry.session, entry);
            sessions.live.insert(entry.session, session);
        }
        for session in &stored {
            if !sessions.live.contains_key(&session.number) {
                sessions.store.forget(&session.id)?;
            }
        }
        let lost = |session: &Session| stored.iter().all(|known| known.number != session.number);
        let complete = !sessions.live.values().any(lost);
        sessions.paths = PathsInForce::adopt(sessions.live.values(), complete, tables)?;
        sessions.last = sessions.live.keys().next_back().copied().unwrap_or(0);
        Ok(sessions)
    }

    /// Gives a session a number, a slot and a cgroup. It has no process yet.
    ///
    /// # Errors
    ///
    /// Where slots or cgroups cannot be had; nothing is left behind then.
    pub fn begin(&mut self, new: NewSession, tables: &Tables) -> Result<(Session, Cgroup)> {
        let number = self.next_number();
        let id = name(number);
        let cgroup = self.cgroups.create(&id)?;
        self.limit_new(&cgroup, &new).inspect_err(|_| {
            let _ = cgroup.remove();
        })?;
        let paths = new.paths.as_ref().map(|(policy, bound)| {
            // What the session's entry leads to stands there before it does.
            self.paths.hold(number, bound, policy, tables)
        });
        let paths = paths.transpose().inspect_err(|_| {
            let _ = cgroup.remove();
        })?;
        let begun = cgroup.id().and_then(|cgroup| {
            let terms = Terms {
                policy: new.policy.policy,
                tainted: new.policy.tainted,
                state: new.state as u32,
                files: paths.as_ref().map_or(0, |paths| paths.stand.number),
                exec: new.exec,
            };
            let entry =
                SessionEntry { session: number, cgroup, terms: terms.pack(), rates: new.rates };
            let taken =
                |slot| slot == PROBE_SLOT || self.live.values().any(|session| session.slot == slot);
            Ok((entry, tables.add_session(&taken, entry)?))
        });
        let (entry, slot) = begun.inspect_err(|_| {
            let _ = cgroup.remove();
            let _ = self.paths.release(number, tables);
        })?;
        let session = Session {
            cgroup: self.cgroups.name(&cgroup),
            id,
            number,
            slot,
            agent: new.agent,
            policy_hash: new.policy_hash,
            correlation_id: new.correlation_id,
            parent_span_id: new.parent_span_id,
            uid: new.uid,
            command: new.command,
            workspace: new.workspace,
            started: now(),
            pid: 0,
            state: new.phase,
            killed: None,
            learning: new.exec & program::TOLD != 0,
            paths,
            paths_before: None,
            bindings: new.bindings,
            limits: new.limits,
            tainted: None,
            throttled: None,
            paused: None,
        };
        self.entries.insert(number, entry);
        self.live.insert(number, session.clone());
        if let Err(error) = self.store.keep(&session) {
            self.finish(number, tables)?;
            return Err(error);
        }
        Ok((session, cgroup))
    }

    /// Makes a process the session's first: moved into its cgroup, then labelled.
    ///
    /// # Errors
    ///
    /// Where the session is not waiting for one, or the process is gone, has
    /// threads, or is labelled already.
    pub fn enrol(
        &mut self,
        number: u64,
        pidfd: &OwnedFd,
        pid: i32,
        tables: &Tables,
    ) -> Result<Session> {
        let session = self.live.get_mut(&number).filter(|session| session.state == Phase::Starting);
        let session = session
            .ok_or_else(|| Error::Refused("the session is not waiting for a process".into()))?;
        if tables.label(pidfd.as_fd())?.is_some() {
            return Err(Error::Refused("the process already belongs to a session".into()));
        }
        check_single(pid)?;
        if !in_cgroup(pid, &session.cgroup) {
            self.cgroups.existing(&session.id).add(pid)?;
        }
        if let Some(most) = session.limits.open_files {
            limit_files(pid, most)?;
        }
        let label = TaskLabel { session: number, slot: session.slot, refused: 0 };
        tables.enrol(pidfd.as_fd(), label)?;
        session.pid = u32::try_from(pid).unwrap_or(0);
        session.state = Phase::Running;
        let session = session.clone();
        self.store.keep(&session)?;
        Ok(session)
    }

    /// A process has been taken into a session that stood by. It and what it made
    /// in the meantime are moved into the session's cgroup.
    ///
    /// # Errors
    ///
    /// Where the kernel's tables or the store cannot be used.
    pub fn adopted(
        &mut self,
        number: u64,
        by: Adopted,
        tables: &Tables,
    ) -> Result<Option<Session>> {
        let standing = self.live.get_mut(&number).filter(|session| session.state == Phase::Standby);
        let Some(session) = standing else { return Ok(None) };
        session.state = Phase::Running;
        session.started = now();
        (session.pid, session.uid, session.command) = (by.pid, by.uid, by.command);
        if let Some((trace, span)) = by.trace {
            (session.correlation_id, session.parent_span_id) = (trace, Some(span));
        }
        let session = session.clone();
        self.store.keep(&session)?;
        let cgroup = self.cgroups.existing(&session.id);
        for _ in 0..GATHER {
            let outside = labelled(number, tables)?;
            let outside = outside.iter().filter(|process| !in_cgroup(process.pid, &session.cgroup));
            // Fails only for one that is gone.
            if outside.filter(|process| cgroup.add(process.pid).is_ok()).count() == 0 {
                break;
            }
        }
        self.limit_open_files(&session, tables)?;
        Ok(Some(session))
    }

    /// The process of a session that started first, and its user; `None` where it has
    /// none left.
    ///
    /// # Errors
    ///
    /// Where the kernel's tables cannot be read.
    pub fn first_process(&self, number: u64, tables: &Tables) -> Result<Option<(u32, u32)>> {
        let started = |pid| {
            let process = procfs::process::Process::new(pid).ok()?;
            Some((process.stat().ok()?.starttime, u32::try_from(pid).ok()?, process.uid().ok()?))
        };
        let first = labelled(number, tables)?;
        let first = first.iter().filter_map(|process| started(process.pid)).min();
        Ok(first.map(|(_, pid, uid)| (pid, uid)))
    }

    /// The running or standing session in a slot.
    #[must_use]
    pub fn in_slot(&self, slot: u32) -> Option<&Session> {
        self.live.values().find(|session| session.slot == slot)
    }

    /// Where cgroup v2 is mounted.
    #[must_use]
    pub fn cgroup_mount(&self) -> &std::path::Path {
        self.cgroups.mount()
    }

    /// Tells the kernel to let the session do nothing more, and remembers why.
    /// What is needed for killing its processes is handed back.
    ///
    /// # Errors
    ///
    /// Where there is no such session, or the kernel refuses.
    pub fn end(&mut self, number: u64, why: &str, tables: &Tables) -> Result<Doomed> {
        let (Some(session), Some(entry)) =
            (self.live.get_mut(&number), self.entries.get_mut(&number))
        else {
            return Err(Error::UnknownSession(name(number)));
        };
        let terms = Terms::unpack(entry.terms);
        entry.terms = Terms { state: State::Ending as u32, ..terms }.pack();
        tables.set_session(session.slot, *entry)?;
        session.state = Phase::Ending;
        session.killed.get_or_insert_with(|| why.to_owned());
        let doomed = Doomed { number, cgroup: self.cgroups.existing(&session.id) };
        let session = session.clone();
        self.store.keep(&session)?;
        Ok(doomed)
    }

    /// Closes the books on a session without processes.
    ///
    /// # Errors
    ///
    /// Where the kernel or the store refuses.
    pub fn finish(&mut self, number: u64, tables: &Tables) -> Result<Option<Ended>> {
        let Some(mut session) = self.live.remove(&number) else { return Ok(None) };
        self.entries.remove(&number);
        tables.remove_session(session.slot)?;
        self.paths.release(number, tables)?;
        self.store.forget(&session.id)?;
        let cgroup = self.cgroups.existing(&session.id);
        let hits = super::control::since(self.hits.remove(&number), cgroup.hits());
        if hits.memory > 0 {
            session.killed.get_or_insert_with(|| super::control::out_of_memory(&session.limits));
        }
        // A cgroup that is still busy goes with the next sweep.
        let _ = cgroup.remove();
        session.state = Phase::Ended;
        self.ended.push_back(session.clone());
        if self.ended.len() > ENDED_LIMIT {
            self.ended.pop_front();
        }
        Ok(Some(Ended(session, hits)))
    }

    /// Closes the books on a session of which the kernel says that its last task
    /// ended, where that is so: the kernel's count is a hint, see [`Self::sweep`].
    ///
    /// # Errors
    ///
    /// Where the kernel or the store refuses.
    pub fn emptied(&mut self, number: u64, tables: &Tables) -> Result<Option<Ended>> {
        match labelled(number, tables)?.is_empty() {
            true => self.finish(number, tables),
            false => Ok(None),
        }
    }

    /// Finds sessions that have no processes left, though no record said so: those
    /// that ended while no daemon ran, or whose record was lost. Removes cgroups left
    /// over.
    ///
    /// The kernel's count of tasks only says where to look. It is kept by programs on
    /// tracepoints, and from 7.0 on (where those can be preempted) the kernel leaves
    /// one out when it is hit again on a CPU where it has not finished. What tells is
    /// the labels of the processes that there are, looked for twice: a look takes a
    /// moment, in which a process can be born behind it and its parent end.
    ///
    /// # Errors
    ///
    /// Where the kernel's tables cannot be read.
    pub fn sweep(&mut self, tables: &Tables) -> Result<Vec<Ended>> {
        let mut suspects = BTreeSet::new();
        for session in self.live.values() {
            let has_run = !matches!(session.state, Phase::Starting | Phase::Standby);
            let cgroup = self.cgroups.existing(&session.id);
            if has_run && (tables.tasks_of(session.slot)? == 0 || !cgroup.populated()) {
                suspects.insert(session.number);
            }
        }
        if !suspects.is_empty() {
            for process in all_labelled(tables)? {
                suspects.remove(&process.session);
            }
        }
        let mut ended = Vec::new();
        for number in suspects.intersection(&self.vacant).copied().collect::<Vec<_>>() {
            ended.extend(self.finish(number, tables)?);
        }
        self.vacant = suspects;
        for id in self.cgroups.ids()? {
            if !self.live.values().any(|session| session.id == id) {
                let _ = self.cgroups.existing(&id).remove();
            }
        }
        Ok(ended)
    }

    /// A session by its number, running or ended a short while ago.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Session> {
        self.live
            .get(&number)
            .or_else(|| self.ended.iter().rev().find(|ended| ended.number == number))
    }

    /// A running session by its id, or by a beginning of it that fits only one.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSession`] where none or several fit.
    pub fn find(&self, id: &str) -> Result<&Session> {
        let mut fitting = self.live.values().filter(|session| session.id.starts_with(id));
        match (fitting.next(), fitting.next()) {
            (Some(session), None) if !id.is_empty() => Ok(session),
            _ => Err(Error::UnknownSession(id.to_owned())),
        }
    }

    /// Those that have processes, held or not, and are not being ended.
    pub fn running(&self) -> impl Iterator<Item = &Session> {
        let runs = |session: &&Session| matches!(session.state, Phase::Running | Phase::Paused);
        self.live.values().filter(runs)
    }

    /// Those that are there, whatever they are doing.
    pub fn live(&self) -> impl Iterator<Item = &Session> {
        self.live.values()
    }

    /// Those that ended, the oldest first.
    pub fn ended(&self) -> impl Iterator<Item = &Session> {
        self.ended.iter()
    }

    /// Microseconds since 1970, and always more than the last.
    fn next_number(&mut self) -> u64 {
        self.last = (now() / 1000).max(self.last + 1);
        self.last
    }
}

/// A session that the kernel has and the store does not.
fn unknown(slot: u32, entry: SessionEntry) -> Session {
    Session {
        id: name(entry.session),
        number: entry.session,
        slot,
        agent: "unknown".into(),
        policy_hash: String::new(),
        correlation_id: String::new(),
        parent_span_id: None,
        uid: 0,
        command: Vec::new(),
        workspace: String::new(),
        started: entry.session.saturating_mul(1000),
        pid: 0,
        cgroup: format!("/agentguard/{}", name(entry.session)),
        state: Phase::Running,
        killed: None,
        paths: None,
        paths_before: None,
        bindings: None,
        learning: Terms::unpack(entry.terms).exec & program::TOLD != 0,
        limits: Limits::default(),
        tainted: None,
        throttled: None,
        paused: None,
    }
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
