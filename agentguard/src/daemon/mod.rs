//! The daemon: puts policies into the kernel, ties processes to sessions, and
//! turns what the kernel recorded into events. It decides nothing: with it gone,
//! every verdict stands.
//!
//! One thread. All that waits is asynchronous; the state is borrowed only between
//! two waits.

mod adoption;
mod bindings;
mod files;
mod mounts;
mod requests;
mod resolvers;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use agentguard_common::event::{Header, Kind, Record, decode};
use mounts::Mounts;
use resolvers::Resolvers;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};

pub use bindings::Given;

use crate::api;
use crate::doctor;
use crate::error::{Error, Result};
use crate::event::{Class, Enricher, Event, Outcome};
use crate::kernel::{self, Found, Pins, Ring, Tables};
use crate::policy::{PolicySet, builtin_sockets};
use crate::session::{Adoption, Cgroups, Ended, Policies, Processes, Session, Sessions, Store};
use crate::sink::{Log, Recent, Sent};

/// How often the daemon looks for what no record told it.
const SWEEP: Duration = Duration::from_secs(1);
/// How often it takes out of the kernel's tables what is not good any more.
const CLEAR: Duration = Duration::from_secs(30);
const NANOSECONDS: u64 = 1_000_000_000;

/// What the daemon is told on its command line.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens.
    pub socket: PathBuf,
    /// Where policies are read from.
    pub policies: PathBuf,
    /// Its memory across restarts.
    pub state: PathBuf,
    /// The JSON log; `-` for standard output.
    pub log: PathBuf,
    /// Whether activity goes into the log too.
    pub log_activity: bool,
}

/// The running daemon.
pub struct Daemon {
    tables: Tables,
    state: RefCell<State>,
    log_activity: bool,
}

struct State {
    /// agentguard's own directories, which no workspace may hold.
    own: Vec<PathBuf>,
    sessions: Sessions,
    policies: Policies,
    adoption: Adoption,
    processes: Processes,
    /// Processes that the kernel took into sessions, until their exec is told of.
    taken: Vec<Header>,
    /// Sessions that were gone from standby at the last sweep, and nothing said why.
    missing: BTreeSet<u64>,
    store: Store,
    resolvers: Resolvers,
    mounts: Mounts,
    /// When what is not good any more was last taken out of the kernel's tables.
    cleared: Instant,
    enricher: Enricher,
    log: Log,
    recent: Recent,
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
///
/// Whatever keeps it from starting; nothing half done is left then.
pub fn run(config: &Config) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::NotRoot { what: "agentguard daemon" });
    }
    files::make_directory(&config.state)?;
    let _lock = files::lock(&config.state)?;
    // Everything that can be wrong with files is found before the kernel is touched.
    let declared = PolicySet::load_dir(&config.policies)?;
    for policy in declared.iter() {
        policy.compile()?;
        policy.check_paths()?;
    }
    if declared.iter().any(|policy| policy.has_paths()) {
        kernel::rename_lock()?;
    }
    Adoption::check(&declared)?;
    let log = Log::open(&config.log)?;
    let pins = Pins::default();
    let (tables, found) = pins.enforce()?;
    let ready = doctor::prove(&tables).and_then(|()| {
        let daemon = Daemon::new(tables, declared, log, config)?;
        daemon.started(found)?;
        Ok(daemon)
    });
    match ready {
        Ok(daemon) => serve(daemon, config),
        Err(error) => {
            if found == Found::Nothing {
                kernel::unload(&pins)?;
            }
            Err(error)
        }
    }
}

/// Serves with a daemon that is ready, until a signal to stop.
///
/// # Errors
///
/// Where the socket cannot be made or the ring buffers cannot be read.
pub fn serve(daemon: Daemon, config: &Config) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::system("start the daemon's scheduler"))?;
    let local = tokio::task::LocalSet::new();
    let daemon = Rc::new(daemon);
    local.block_on(&runtime, async {
        for path in [config.socket.clone(), api::for_sessions(&config.socket)] {
            let listener = files::listen(&path)?;
            tokio::task::spawn_local(api::serve(listener, Rc::clone(&daemon)));
        }
        tracing::info!(socket = %config.socket.display(), "ready");
        daemon.work().await
    })?;
    // The next daemon makes its own; a client that comes now is told that none answers.
    let _ = std::fs::remove_file(&config.socket);
    let _ = std::fs::remove_file(api::for_sessions(&config.socket));
    daemon.tell("daemon.stop", None, "agentguard".into(), Outcome::Success, None);
    Ok(())
}

/// The directories of files that are agentguard's own.
fn own_directories(config: &Config) -> Vec<PathBuf> {
    let beside = |path: &Path| path.parent().map(Path::to_owned);
    let pins = Pins::default().root().to_owned();
    let all = [Some(config.state.clone()), Some(config.policies.clone()), Some(pins)];
    let all = all.into_iter().chain([beside(&config.socket), beside(&config.log)]).flatten();
    let real = all.map(|path| std::fs::canonicalize(&path).unwrap_or(path));
    // A log beside others in a directory of everybody's makes that no directory of ours.
    real.filter(|path| path.components().count() > 2).collect()
}

impl Daemon {
    /// Takes over from an earlier daemon what there is to take over.
    ///
    /// # Errors
    ///
    /// Where the kernel's tables, the store or the cgroups cannot be used.
    pub fn new(tables: Tables, declared: PolicySet, log: Log, config: &Config) -> Result<Self> {
        tables.set_builtin(&builtin_sockets())?;
        let mut resolvers = Resolvers::default();
        resolvers.refresh(&tables)?;
        let mounts = Mounts::new(&tables)?;
        let store = Store::open(&config.state)?;
        let sessions = Sessions::adopt(&tables, Cgroups::new()?, store.clone())?;
        let directory = config.policies.display().to_string();
        let mount = sessions.cgroup_mount().to_owned();
        let adoption = Adoption::new(&declared, mount, &tables)?;
        let policies = Policies::new(declared, directory, &tables, &store)?;
        let state = State {
            own: own_directories(config),
            sessions,
            policies,
            adoption,
            processes: Processes::default(),
            taken: Vec::new(),
            missing: BTreeSet::new(),
            store,
            resolvers,
            mounts,
            cleared: Instant::now(),
            enricher: Enricher::new(),
            log,
            recent: Recent::new(),
        };
        Ok(Self { tables, state: RefCell::new(state), log_activity: config.log_activity })
    }

    /// The kernel's tables.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    fn started(&self, found: Found) -> Result<()> {
        let (agents, adopted) = {
            let state = self.state.borrow();
            (state.policies.count(), state.sessions.live().count())
        };
        let programs = match found {
            Found::Nothing => "kernel programs loaded",
            Found::Same => "kernel programs were already enforcing",
            Found::OtherBuild => "kernel programs replaced by those of this version",
        };
        let message =
            format!("{programs}; {agents} agents declared, {adopted} sessions taken over");
        if agents == 0 {
            tracing::warn!("no policy declares an agent: no session can start");
        }
        self.tell("daemon.start", None, "agentguard".into(), Outcome::Success, Some(message));
        self.stand_down_strangers()?;
        self.sweep()
    }

    /// Reads the ring buffers and keeps the books until a signal says stop.
    async fn work(&self) -> Result<()> {
        let (mut decisions, mut activity) = self.tables.rings()?;
        let watched = |ring: &Ring| {
            let fd = ring.watch().map_err(Error::system("watch a ring buffer"))?;
            // SAFETY: the descriptor is owned by what it is registered with, and an
            // OwnedFd always names the same one.
            unsafe { AsyncFd::register(fd) }
                .map_err(|error| Error::system("watch a ring buffer")(std::io::Error::from(error)))
        };
        let (decisions_ready, activity_ready) = (watched(&decisions)?, watched(&activity)?);
        let on = |kind| signal(kind).map_err(Error::system("wait for signals"));
        let (mut terminate, mut interrupt, mut hangup) =
            (on(SignalKind::terminate())?, on(SignalKind::interrupt())?, on(SignalKind::hangup())?);
        let mounts = self.state.borrow().mounts.watch()?;
        // SAFETY: a file owns its descriptor, and always names the same one.
        let mounts = unsafe { AsyncFd::register_with_interest(mounts, Interest::PRIORITY) }
            .map_err(|error| Error::system("watch the mounts")(std::io::Error::from(error)))?;
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                ready = decisions_ready.readable() => {
                    ready.map_err(Error::system("wait for decisions"))?.clear_ready();
                }
                ready = activity_ready.readable() => {
                    ready.map_err(Error::system("wait for activity"))?.clear_ready();
                }
                changed = mounts.ready(Interest::PRIORITY) => {
                    changed.map_err(Error::system("wait for mounts"))?.clear_ready();
                    self.state.borrow_mut().mounts.refresh(&self.tables)?;
                }
                _ = sweep.tick() => self.sweep()?,
                _ = hangup.recv() => self.reopen_log(),
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
            }
            while !self.drain(&mut activity, &mut decisions) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Takes what is in the ring buffers, up to a turn's worth: activity first, as
    /// it tells which programs the decisions are about. True when both are empty.
    fn drain(&self, activity: &mut Ring, decisions: &mut Ring) -> bool {
        let quiet = activity.drain(|bytes| self.record(bytes));
        let calm = decisions.drain(|bytes| self.record(bytes));
        self.settle(None);
        self.state.borrow_mut().processes.forget_gone();
        quiet && calm
    }

    fn record(&self, bytes: &[u8]) {
        let record = match decode(bytes) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(%error, "a record from the kernel cannot be read");
                return;
            }
        };
        let event = {
            let mut state = self.state.borrow_mut();
            let State { sessions, policies, processes, enricher, mounts, .. } = &mut *state;
            let places = |number| mounts.place(number).map(<[u8]>::to_vec);
            enricher.event_of(&record, sessions, policies, processes, &places)
        };
        if let Some(event) = event {
            self.publish(&event);
        }
        match record {
            Record::Plain(Kind::SessionEmpty, plain) => self.emptied(plain.header.session),
            Record::Plain(Kind::Adopt, plain) => self.adopted(&plain),
            _ => {}
        }
    }

    /// The last task of a session ended, it seems.
    pub fn emptied(&self, number: u64) {
        self.settle(Some(number));
        let finished = self.state.borrow_mut().sessions.emptied(number, &self.tables);
        match finished {
            Ok(ended) => ended.iter().for_each(|ended| self.ended(ended)),
            // The next sweep tries again.
            Err(error) => tracing::error!(%error, "cannot close the books on a session"),
        }
    }

    fn ended(&self, Ended(session): &Ended) {
        let message = session.killed.clone();
        self.tell(
            "session.end",
            Some(session),
            session.command.join(" "),
            Outcome::Success,
            message,
        );
    }

    fn sweep(&self) -> Result<()> {
        let ended = self.state.borrow_mut().sessions.sweep(&self.tables)?;
        ended.iter().for_each(|ended| self.ended(ended));
        let lost = {
            let mut state = self.state.borrow_mut();
            let State { sessions, policies, store, log, .. } = &mut *state;
            policies.sweep(&|slot| sessions.uses_policy(slot), &self.tables, store)?;
            log.lost()
        };
        if lost > 0 {
            self.tell_lost(lost);
        }
        self.settle_missing()?;
        self.clear()?;
        self.fill()
    }

    /// Keeps what names are decided by in step with the host.
    fn clear(&self) -> Result<()> {
        let mut state = self.state.borrow_mut();
        state.resolvers.refresh(&self.tables)?;
        // Should the kernel's word be missed, this comes soon enough.
        state.mounts.refresh(&self.tables)?;
        if state.cleared.elapsed() < CLEAR {
            return Ok(());
        }
        state.cleared = Instant::now();
        let now = crate::event::now_since_boot() / NANOSECONDS;
        self.tables.forget_learned(u32::try_from(now).unwrap_or(u32::MAX))
    }

    /// Tells of lost lines, once that can be written.
    fn tell_lost(&self, lost: u64) {
        let mut state = self.state.borrow_mut();
        let message = Some(format!("{lost} lines could not be written"));
        let event =
            state.enricher.lifecycle("log.lost", None, "log".into(), Outcome::Failure, message);
        let line = event.line();
        if state.log.write(&line) {
            state.recent.add(Sent { line: line.into(), session: None, uid: 0, kind: event.kind });
        }
        state.log.told_lost(lost);
    }

    fn reopen_log(&self) {
        let reopened = self.state.borrow_mut().log.reopen();
        if let Err(error) = reopened {
            tracing::error!(%error, "goes on with the log that was open");
        }
    }

    fn tell(
        &self,
        action: &'static str,
        session: Option<&Session>,
        resource: String,
        outcome: Outcome,
        message: Option<String>,
    ) {
        let event = {
            let mut state = self.state.borrow_mut();
            state.enricher.lifecycle(action, session, resource, outcome, message)
        };
        self.publish(&event);
    }

    fn publish(&self, event: &Event) {
        let line = event.line();
        let mut state = self.state.borrow_mut();
        let logged = event.kind != Class::Activity || self.log_activity;
        if logged && !state.log.has(&event.id) {
            state.log.write(&line);
        }
        let owner = event.session.as_ref().and_then(|id| {
            let mut known = state.sessions.live().chain(state.sessions.ended());
            known.find(|session| session.id == *id).map(|session| session.uid)
        });
        state.recent.add(Sent {
            line: line.into(),
            session: event.session.as_deref().map(Into::into),
            uid: owner.unwrap_or(0),
            kind: event.kind,
        });
    }
}
