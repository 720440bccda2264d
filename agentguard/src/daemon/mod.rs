//! The daemon: puts policies into the kernel, ties processes to sessions, and
//! turns what the kernel recorded into events. It decides nothing: with it gone,
//! every verdict stands.
//!
//! One thread. All that waits is asynchronous; the state is borrowed only between
//! two waits.

mod adoption;
mod apply;
mod asking;
mod bindings;
mod files;
mod holding;
mod keeper;
mod killing;
mod learning;
mod limits;
mod measures;
mod mounts;
mod notices;
mod own;
mod policies;
mod requests;
mod resolvers;
mod respond;
mod taint;
mod telling;
mod watching;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentguard_common::event::{Header, Kind, Record, decode, flag};
use asking::Questions;
use holding::Stopping;
use killing::Dying;
use limits::Watch;
use mounts::Mounts;
use notices::Told;
use own::{Own, own_directories};
use resolvers::Resolvers;
use respond::Reactions;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use watching::PolicyFiles;

pub use apply::{Applied, Kept, PolicyChange, PolicyStep};
pub use asking::{Question, Scope};
pub use bindings::Given;
pub use keeper::keep;
pub use learning::Watched;
pub use requests::Begun;

use crate::api;
use crate::config::Settings;
use crate::doctor;
use crate::error::{Error, Result};
use crate::event::{Enricher, Event, Outcome, recorded, session_of};
use crate::kernel::{self, Found, Pins, Ring, Tables};
use crate::policy::{PolicySet, builtin_sockets};
use crate::session::{Adoption, Cgroups, Ended, Notices, Policies, Processes, Sessions, Store};
use crate::sink::{self, Hub, Journal, Recent};

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
    /// The JSON log, where the command line names one; `-` for standard output.
    pub log: Option<PathBuf>,
    /// Whether activity goes into the log too, though the configuration does not say so.
    pub log_activity: bool,
    /// Whether policy files that change are put into force by themselves.
    pub watch: bool,
    /// What its configuration file says.
    pub settings: Settings,
}

impl Config {
    /// Where the log is: as the command line says, or the configuration, or by default.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.log.clone().unwrap_or_else(|| self.settings.log.path())
    }
}

/// The running daemon.
pub struct Daemon {
    tables: Arc<Tables>,
    state: RefCell<State>,
    /// Sessions are dying.
    to_bury: Notify,
    /// Sessions are to stand still.
    to_stop: Notify,
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
    /// Files that no session may change.
    kept: Own,
    /// When what is not good any more was last taken out of the kernel's tables.
    cleared: Instant,
    over: taint::Over,
    /// The files of policies, where they are watched.
    files: Option<PolicyFiles>,
    /// Whether the last ones were not in order.
    rejected: bool,
    left: Vec<apply::Left>,
    enricher: Enricher,
    journal: Journal,
    recent: Recent,
    watch: Watch,
    dying: Vec<Dying>,
    stopping: Vec<Stopping>,
    reactions: Reactions,
    told: Told,
    questions: Questions,
    hub: Hub,
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
    apply::check(&declared)?;
    let mut hub = sink::start(&config.settings, &config.state)?;
    let activity = config.log_activity || config.settings.log.activity;
    let journal = Journal::open(&config.settings, &config.log_path(), activity, &mut hub)?;
    let pins = Pins::default();
    let (tables, found) = pins.enforce()?;
    let ready = doctor::prove(&tables).and_then(|()| {
        let daemon = Daemon::new(tables, declared, (journal, hub), config)?;
        daemon.started(found)?;
        Ok(daemon)
    });
    let ready = ready.and_then(|daemon| Ok((daemon, keeper::Keeper::start()?)));
    match ready {
        Ok((daemon, _keeper)) => serve(daemon, config),
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
        tokio::task::spawn_local(killing::bury(Rc::clone(&daemon)));
        tokio::task::spawn_local(holding::stop(Rc::clone(&daemon)));
        tracing::info!(socket = %config.socket.display(), "ready");
        daemon.work().await
    })?;
    daemon.ask_no_more();
    // The next daemon makes its own; a client that comes now is told that none answers.
    let _ = std::fs::remove_file(&config.socket);
    let _ = std::fs::remove_file(api::for_sessions(&config.socket));
    daemon.tell("daemon.stop", None, "agentguard".into(), Outcome::Success, None);
    let mut state = daemon.state.borrow_mut();
    state.journal.stop();
    state.hub.stop();
    Ok(())
}

/// Waits for a descriptor, for ever where there is none.
async fn readable(fd: Option<&AsyncFd<OwnedFd>>) -> std::io::Result<()> {
    match fd {
        Some(fd) => fd.readable().await.map(|mut ready| ready.clear_ready()),
        None => std::future::pending().await,
    }
}

impl Daemon {
    /// Takes over from an earlier daemon what there is to take over.
    ///
    /// # Errors
    ///
    /// Where the kernel's tables, the store or the cgroups cannot be used.
    pub fn new(
        tables: Tables,
        declared: PolicySet,
        (journal, hub): (Journal, Hub),
        config: &Config,
    ) -> Result<Self> {
        let tables = Arc::new(tables);
        measures::of_kernel(&hub, &tables, &config.settings.metrics)?;
        tables.set_builtin(&builtin_sockets())?;
        let mut resolvers = Resolvers::default();
        resolvers.refresh(&tables)?;
        let mounts = Mounts::new(&tables)?;
        let kept = Own::new(config, &tables)?;
        let store = Store::open(&config.state)?;
        let cgroups = Cgroups::new()?;
        cgroups.switch_on_for_free();
        let sessions = Sessions::adopt(&tables, cgroups, store.clone())?;
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
            kept,
            cleared: Instant::now(),
            over: taint::Over::default(),
            files: config.watch.then(PolicyFiles::default),
            rejected: false,
            left: Vec::new(),
            enricher: Enricher::new(),
            journal,
            recent: Recent::new(),
            watch: Watch::new(),
            dying: Vec::new(),
            stopping: Vec::new(),
            reactions: Reactions::new(),
            told: Told::new(Notices::open(&config.state)?),
            questions: Questions::default(),
            hub,
        };
        Ok(Self {
            tables,
            state: RefCell::new(state),
            to_bury: Notify::new(),
            to_stop: Notify::new(),
        })
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
        self.tell_policies();
        self.stand_down_strangers()?;
        self.bring_along()?;
        self.watch_all_limits();
        self.lift_all()?;
        self.ask_anew()?;
        self.notify_all();
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
        let limits = self.state.borrow().watch.ready();
        let limits = limits.map(|fd| {
            // SAFETY: an OwnedFd always names the same descriptor.
            unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }
                .map_err(|error| Error::system("watch limits")(std::io::Error::from(error)))
        });
        let limits = limits.transpose()?;
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut behind = false;
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
                reached = readable(limits.as_ref()) => {
                    reached.map_err(Error::system("wait for limits"))?;
                    self.limits_reached();
                }
                _ = sweep.tick() => self.sweep()?,
                _ = hangup.recv() => self.state.borrow_mut().journal.reopen(),
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                // However much a session makes there to read, all else has its turn.
                () = tokio::task::yield_now(), if behind => {}
            }
            behind = !self.drain(&mut activity, &mut decisions);
        }
    }

    /// Takes what is in the ring buffers, up to a turn's worth: activity first, as
    /// it tells which programs the decisions are about. True when both are empty.
    fn drain(&self, activity: &mut Ring, decisions: &mut Ring) -> bool {
        let quiet = activity.drain(|bytes| self.record(bytes));
        let calm = decisions.drain(|bytes| self.record(bytes));
        self.turned();
        quiet && calm && self.still_questions()
    }

    /// Takes records as the ring buffers hold them, a turn's worth.
    pub fn take<'r>(&self, records: impl IntoIterator<Item = &'r [u8]>) {
        records.into_iter().for_each(|record| self.record(record));
        self.turned();
    }

    /// What is left to do when all records of a turn were taken.
    fn turned(&self) {
        self.settle(None);
        self.still_questions();
        self.notify_due();
        self.state.borrow_mut().processes.forget_gone();
    }

    fn record(&self, bytes: &[u8]) {
        let record = match decode(bytes) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(%error, "a record from the kernel cannot be read");
                return;
            }
        };
        let (number, event) = {
            let mut state = self.state.borrow_mut();
            let State { sessions, policies, processes, enricher, mounts, .. } = &mut *state;
            let places = |number| mounts.place(number).map(<[u8]>::to_vec);
            let event = enricher.event_of(&record, sessions, policies, processes, &places);
            (session_of(&record), event)
        };
        if let Some(event) = event {
            let event = Arc::new(Event { question: self.question_of(&record), ..event });
            self.publish(&event);
            self.timed(event.kind, recorded(&record));
            self.note_refusal(number, &event);
            self.react(number, &event);
            self.ask(number, &record, &event);
            if let Record::File(file, ..) = &record
                && file.header.flags & flag::TAINTS != 0
            {
                self.tainted(number, &event);
            }
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

    fn ended(&self, Ended(session, hits): &Ended) {
        self.limits_ended(session, *hits);
        self.react_no_more(session);
        self.forget_questions(session.number);
        self.forget_notice(session.number, &session.id);
        let message = session.killed.clone();
        self.tell(
            "session.end",
            Some(session),
            session.command.join(" "),
            Outcome::Success,
            message,
        );
    }

    /// Looks after the sessions: ends what has ended, and tells of it.
    ///
    /// # Errors
    ///
    /// Where the kernel's tables cannot be read or written.
    pub fn sweep(&self) -> Result<()> {
        self.notify_due();
        self.look_at_questions()?;
        self.sweep_limits();
        self.tick();
        let ended = self.state.borrow_mut().sessions.sweep(&self.tables)?;
        ended.iter().for_each(|ended| self.ended(ended));
        let lost = {
            let mut state = self.state.borrow_mut();
            let State { sessions, policies, store, journal, .. } = &mut *state;
            policies.sweep(&|slot| sessions.uses_policy(slot), &self.tables, store)?;
            journal.tick();
            journal.log_mut().lost()
        };
        if lost > 0 {
            self.tell_lost(lost);
        }
        self.look_at_policies();
        self.settle_switches()?;
        self.settle_missing()?;
        self.look_at_taints()?;
        self.clear_names()?;
        self.fill()?;
        self.survey();
        Ok(())
    }

    /// Keeps what names are decided by in step with the host.
    fn clear_names(&self) -> Result<()> {
        let mut state = self.state.borrow_mut();
        state.resolvers.refresh(&self.tables)?;
        // Should the kernel's word be missed, this comes soon enough.
        state.mounts.refresh(&self.tables)?;
        state.kept.refresh(&self.tables)?;
        if state.cleared.elapsed() < CLEAR {
            return Ok(());
        }
        state.cleared = Instant::now();
        drop(state);
        self.clear_holds()?;
        let now = crate::event::now_since_boot() / NANOSECONDS;
        self.tables.forget_learned(u32::try_from(now).unwrap_or(u32::MAX))
    }
}
