//! What handing events on costs the daemon's thread, and what becomes of a flood of
//! them: the daemon's own code on real tables, log and sinks, everything on one CPU.
//! The ring buffer is left out: records come from memory, as the daemon would find them
//! there.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentguard::config::Settings;
use agentguard::daemon::{Config, Daemon, Given};
use agentguard::event::{Class, Enricher, Event, Outcome, now_since_boot};
use agentguard::kernel::Tables;
use agentguard::policy::PolicySet;
use agentguard::sink::{Health, Hub, Journal, Metrics};
use agentguard_common::event::{Egress, Fork, Header, Kind, Plain};
use agentguard_common::{Verdict, net, verdict::Reason};
use bytemuck::Zeroable as _;
use tokio::sync::mpsc::Receiver;

use crate::machine;
use crate::programs::Result;
use crate::server::AGENT;
use crate::start::CgroupHome;
use crate::table::{self, Row};

/// Events handed on for one figure.
const OFFERS: u32 = 200_000;
/// Records of activity a second, in the flood.
const RATE: u32 = 100_000;
/// One of so many records is a denial.
const DENIAL: u32 = 1000;
/// How often a second the daemon finds records.
const TURNS: u32 = 1000;

/// Measures what one event costs, and prints it.
pub(crate) fn cost() -> Result<bool> {
    let event = Arc::new(sample());
    let mut rows = Vec::new();
    let mut empty = 0.0;
    for (what, hub) in hubs()? {
        let took = best_of(5, &event, hub);
        if rows.is_empty() {
            empty = took;
        }
        rows.push(Row { what: what.into(), took, above: took - empty, goal: None });
    }
    let begun = Instant::now();
    for _ in 0..OFFERS {
        std::hint::black_box(std::hint::black_box(&event).line());
    }
    let took = nanoseconds(begun.elapsed()) / f64::from(OFFERS);
    rows.push(Row { what: "its JSON, beside it".into(), took, above: took - empty, goal: None });
    Ok(table::print("handing an event on", "ns", "above empty", &rows))
}

type Named = (&'static str, Hub);

fn hubs() -> Result<Vec<Named>> {
    let measured = || -> Result<Hub> {
        let mut hub = Hub::default();
        let metrics = Metrics::new(hub.books())?;
        hub.measure(metrics);
        Ok(hub)
    };
    let (mut fed, mut full) = (measured()?, measured()?);
    fed.attach("reads", |_| true, count)?;
    full.attach("hangs", |_| true, hang)?;
    Ok(vec![
        ("to nobody", Hub::default()),
        ("to the metrics", measured()?),
        ("to the metrics and a sink that reads", fed),
        ("to the metrics and a sink that hangs", full),
    ])
}

fn best_of(rounds: u32, event: &Arc<Event>, mut hub: Hub) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..rounds {
        let begun = Instant::now();
        for _ in 0..OFFERS {
            hub.offer(std::hint::black_box(event));
        }
        best = best.min(nanoseconds(begun.elapsed()) / f64::from(OFFERS));
    }
    best
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

fn sample() -> Event {
    let made =
        Enricher::new().lifecycle("exec", None, "/usr/bin/id".into(), Outcome::Allowed, None);
    Event { kind: Class::Activity, agent_role: AGENT.into(), ..made }
}

async fn count(mut events: Receiver<Arc<Event>>, health: Arc<Health>) {
    while events.recv().await.is_some() {
        health.add_written(1);
    }
}

/// Reads some thousands a second.
async fn slow(mut events: Receiver<Arc<Event>>, health: Arc<Health>) {
    while events.recv().await.is_some() {
        health.add_written(1);
        if health.written().is_multiple_of(8) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn hang(events: Receiver<Arc<Event>>, _: Arc<Health>) {
    std::future::pending::<()>().await;
    drop(events);
}

/// Floods a daemon for so many seconds; true when no decision was lost and every loss of
/// activity was counted.
pub(crate) fn flood(seconds: u32) -> Result<bool> {
    let home = CgroupHome::claim()?;
    let pinned = machine::Pinned::to_last()?;
    println!(
        "\na flood: {RATE} records a second for {seconds} s, one of {DENIAL} a denial; \
         daemon and sinks on CPU {}",
        pinned.cpu
    );
    let directory = tempfile::tempdir()?;
    let (daemon, healths) = daemon(directory.path())?;
    let mut source = Source::new(&daemon)?;
    let before = Used::now()?;
    let begun = Instant::now();
    for turn in 0..seconds * TURNS {
        let records = source.turn();
        daemon.take(records.iter().map(Vec::as_slice));
        if turn % TURNS == 0 {
            daemon.sweep()?;
        }
        let next = Duration::from_secs(1) * (turn + 1) / TURNS;
        std::thread::sleep(next.saturating_sub(begun.elapsed()));
    }
    let took = begun.elapsed();
    let used = Used::now()?;
    daemon.abandon(source.header.session);
    drop(daemon);
    home.clear()?;
    let log = std::fs::read_to_string(directory.path().join("events.jsonl"))?;
    let logged = log.lines().filter(|line| line.contains("\"kind\":\"decision\"")).count();
    report(&source, took, &before, &used, logged, &healths)
}

fn daemon(directory: &Path) -> Result<(Daemon, Vec<Arc<Health>>)> {
    let policies = directory.join("policies");
    std::fs::create_dir(&policies)?;
    std::fs::write(policies.join("bench.yaml"), crate::rules::text(1, &["allow: 192.0.2.1"], 0))?;
    let mut settings = Settings::default();
    settings.audit.key = directory.join("audit.key");
    let config = Config {
        socket: directory.join("socket"),
        policies,
        state: directory.join("state"),
        log: Some(directory.join("events.jsonl")),
        watch: false,
        log_activity: false,
        settings,
    };
    std::fs::create_dir(&config.state)?;
    let mut hub = Hub::default();
    let metrics = Metrics::new(hub.books())?;
    hub.measure(metrics);
    hub.attach("reads", |_| true, count)?;
    hub.attach("slow", |_| true, slow)?;
    hub.attach("hangs", |_| true, hang)?;
    let declared = PolicySet::load_dir(&config.policies)?;
    let journal =
        Journal::open(&config.settings, &config.log_path(), config.log_activity, &mut hub)?;
    let healths = hub.healths();
    let sinks = (journal, hub);
    Ok((Daemon::new(Tables::without_programs()?, declared, sinks, &config)?, healths))
}

/// Makes the records that a session would: processes that are made and end, and now and
/// then a connection that is refused.
struct Source {
    header: Header,
    records: u32,
    denials: u32,
}

impl Source {
    fn new(daemon: &Daemon) -> Result<Self> {
        let given = Given::default();
        let begun = daemon.begin(0, AGENT, given, vec!["flood".into()], None)?;
        let session = begun.session;
        let header = Header {
            session: session.number,
            slot: session.slot,
            pid: 1_000_000,
            tid: 1_000_000,
            ..Header::zeroed()
        };
        Ok(Self { header, records: 0, denials: 0 })
    }

    fn turn(&mut self) -> Vec<Vec<u8>> {
        (0..RATE / TURNS).map(|_| self.record()).collect()
    }

    fn record(&mut self) -> Vec<u8> {
        self.records += 1;
        let header =
            |kind: Kind| Header { kind: kind as u16, time: now_since_boot(), ..self.header };
        let child = 2_000_000 + self.records / 2 % 1000;
        match self.records {
            number if number % DENIAL == 0 => {
                self.denials += 1;
                let egress = Egress {
                    header: header(Kind::Connect),
                    address: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 9],
                    port: 443,
                    family: net::AF_INET,
                    protocol: net::IPPROTO_TCP,
                    verdict: Verdict::Deny as u8,
                    reason: Reason::Default as u8,
                    ..Egress::zeroed()
                };
                bytemuck::bytes_of(&egress).to_vec()
            }
            number if number % 2 == 0 => {
                let fork = Fork { header: header(Kind::Fork), child, reserved: 0 };
                bytemuck::bytes_of(&fork).to_vec()
            }
            _ => {
                let header = Header { pid: child, tid: child, ..header(Kind::Exit) };
                bytemuck::bytes_of(&Plain { header, status: 0, reserved: 0 }).to_vec()
            }
        }
    }
}

/// What this process has used.
struct Used {
    processor: Duration,
    resident: u64,
}

impl Used {
    fn now() -> Result<Self> {
        let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)?;
        let time = |value: nix::sys::time::TimeVal| {
            Duration::from_micros(
                u64::try_from(value.tv_sec() * 1_000_000 + value.tv_usec()).unwrap_or(0),
            )
        };
        Ok(Self {
            processor: time(usage.user_time()) + time(usage.system_time()),
            resident: machine::resident("self")?,
        })
    }
}

fn report(
    source: &Source,
    took: Duration,
    before: &Used,
    used: &Used,
    logged: usize,
    healths: &[Arc<Health>],
) -> Result<bool> {
    let processor = (used.processor - before.processor).as_secs_f64() / took.as_secs_f64();
    println!(
        "{} records in {:.1} s: {:.0} a second; {:.0} % of the CPU, the making of records included",
        source.records,
        took.as_secs_f64(),
        f64::from(source.records) / took.as_secs_f64(),
        processor * 100.0
    );
    println!(
        "memory: {} KiB before, {} KiB at the end",
        before.resident >> 10,
        used.resident >> 10
    );
    let complete = usize::try_from(source.denials)? == logged;
    println!("denials: {} made, {logged} in the log", source.denials);
    println!("\nsink          offered    written       lost   adds up");
    let mut sound = complete;
    for health in healths {
        let adds = health.offered() == health.written() + health.sampled() + health.lost();
        sound &= adds;
        println!(
            "{:<10} {:>10} {:>10} {:>10}   {}",
            health.name(),
            health.offered(),
            health.written(),
            health.lost(),
            if adds { "yes" } else { "NO" }
        );
    }
    Ok(sound)
}
