//! What the audit log promises: any change of it is found, and where.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::event::{Class, Outcome};

/// A log in a directory of its own.
pub(super) struct Bench {
    pub(super) directory: tempfile::TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
        // In memory where there is such a place: hundreds of logs are put on the disk here.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        Self { directory: tempfile::tempdir_in(place).unwrap() }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("log/audit.jsonl")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.directory.path().join("key/audit.key")
    }

    pub(super) fn options(&self) -> Options {
        Options {
            path: self.path(),
            key: self.key(),
            allowed: false,
            entries: 5,
            every: Duration::from_secs(60),
            rotate_at: 1 << 20,
            keep: None,
        }
    }

    pub(super) fn open(&self) -> Audit {
        Audit::open(self.options()).unwrap()
    }

    pub(super) fn verify(&self) -> Report {
        verify(Sources::of_host(&self.path(), &self.key()).unwrap()).unwrap()
    }

    pub(super) fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }
}

/// A denial with that number.
pub(super) fn put(audit: &mut Audit, number: usize) -> bool {
    let mut event = crate::event::sample();
    event.id = format!("{number}-0");
    audit.event(&event, &event.line())
}

/// The ids of the events of a log, in order.
pub(super) fn ids(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let events = lines.filter(|line| line["kind"] == "event");
    events.map(|line| line["entry"]["id"].as_str().unwrap().to_owned()).collect()
}

/// A log that a daemon wrote and closed, as its lines.
fn closed(events: usize) -> (Bench, Vec<String>) {
    let bench = Bench::new();
    let mut audit = bench.open();
    (0..events).for_each(|number| assert!(put(&mut audit, number)));
    audit.stop();
    let lines = bench.text().lines().map(|line| format!("{line}\n")).collect();
    (bench, lines)
}

#[test]
fn an_untouched_log_holds() {
    let (bench, lines) = closed(12);
    let report = bench.verify();
    assert_eq!(report.findings, []);
    assert_eq!(report.lines, u64::try_from(lines.len()).unwrap());
    // One at the start, two for twelve events, one at the stop.
    assert_eq!((report.checkpoints, report.unsigned), (4, 0));
    assert!(report.stopped && report.trusted && report.notes.is_empty());
    // The files alone, without the key and the checkpoint of this host.
    let report = verify(Sources { files: vec![bench.path()], ..Sources::default() }).unwrap();
    assert!(report.findings.is_empty() && !report.trusted);
}

#[test]
fn what_belongs_into_it_goes_into_it() {
    let bench = Bench::new();
    let mut audit = bench.open();
    for (outcome, kind) in [
        (Outcome::Denied, Class::Decision),
        (Outcome::Allowed, Class::Decision),
        (Outcome::WouldDeny, Class::Decision),
        (Outcome::Allowed, Class::Activity),
        (Outcome::Success, Class::Lifecycle),
    ] {
        let mut event = crate::event::sample();
        (event.outcome, event.kind) = (outcome, kind);
        event.id = format!("{outcome:?}-{kind:?}");
        assert!(!audit.wants(&event) || audit.event(&event, &event.line()));
    }
    assert_eq!(ids(&bench.text()), ["Denied-Decision", "WouldDeny-Decision", "Success-Lifecycle"]);
}

#[test]
fn a_second_daemon_goes_on_where_the_first_ended() {
    let (bench, _) = closed(3);
    let mut audit = bench.open();
    assert!(put(&mut audit, 2), "it is there already");
    assert!(put(&mut audit, 3));
    drop(audit);
    assert_eq!(ids(&bench.text()), ["0-0", "1-0", "2-0", "3-0"]);
    let report = bench.verify();
    assert_eq!((report.findings, report.unsigned, report.stopped), (vec![], 1, false));
}

#[test]
fn entries_are_signed_after_a_while() {
    let bench = Bench::new();
    let options = Options { every: Duration::from_millis(1), ..bench.options() };
    let mut audit = Audit::open(options).unwrap();
    put(&mut audit, 0);
    std::thread::sleep(Duration::from_millis(5));
    audit.tick();
    let lines = bench.verify().lines;
    assert_eq!(bench.verify().unsigned, 0);
    std::thread::sleep(Duration::from_millis(5));
    audit.tick();
    assert_eq!(bench.verify().lines, lines, "nothing to sign");
}

#[test]
fn the_chain_goes_on_through_files() {
    let bench = Bench::new();
    let options = Options { rotate_at: 4096, ..bench.options() };
    let mut audit = Audit::open(options.clone()).unwrap();
    (0..20).for_each(|number| assert!(put(&mut audit, number)));
    drop(audit);
    let mut audit = Audit::open(options).unwrap();
    (20..40).for_each(|number| assert!(put(&mut audit, number)));
    audit.stop();
    let sources = Sources::of_host(&bench.path(), &bench.key()).unwrap();
    assert!(sources.files.len() > 3, "{:?}", sources.files);
    let texts: String =
        sources.files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    assert_eq!(ids(&texts).len(), 40);
    assert_eq!(bench.verify().findings, []);
    // Without the oldest file, it begins later; without one in between, it does not hold.
    let mut later = sources.clone();
    later.files.remove(0);
    let report = verify(later.clone()).unwrap();
    assert!(report.findings.is_empty() && report.first > 1);
    let gone = later.files.remove(1);
    let report = verify(later).unwrap();
    assert!(matches!(report.findings[0].problem, Problem::Missing { .. }), "{gone:?}: {report:?}");
}

#[test]
fn only_so_many_files_are_kept() {
    let bench = Bench::new();
    let options = Options { rotate_at: 4096, keep: Some(2), ..bench.options() };
    let mut audit = Audit::open(options).unwrap();
    (0..60).for_each(|number| assert!(put(&mut audit, number)));
    audit.stop();
    assert_eq!(Sources::of_host(&bench.path(), &bench.key()).unwrap().files.len(), 3);
    assert_eq!(bench.verify().findings, []);
}

#[test]
fn a_file_that_was_moved_away_is_followed_by_the_next() {
    let bench = Bench::new();
    let mut audit = bench.open();
    put(&mut audit, 0);
    audit.reopen().unwrap();
    put(&mut audit, 1);
    let moved = bench.directory.path().join("moved");
    std::fs::rename(bench.path(), &moved).unwrap();
    audit.reopen().unwrap();
    put(&mut audit, 2);
    drop(audit);
    let mut sources = Sources::of_host(&bench.path(), &bench.key()).unwrap();
    sources.files.push(moved);
    let report = verify(sources).unwrap();
    assert_eq!((report.findings, report.first), (vec![], 1));
}

/// What somebody may do to a log, at a line.
#[derive(Clone, Copy, Debug)]
enum Mutation {
    Flip { byte: usize, bit: u8 },
    Remove,
    Repeat,
    Swap,
    MoveTo(usize),
    Insert,
    ReplaceByOlder,
}

fn mutations() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<prop::sample::Index>(), 0..8u8)
            .prop_map(|(byte, bit)| Mutation::Flip { byte: byte.index(10_000), bit }),
        Just(Mutation::Remove),
        Just(Mutation::Repeat),
        Just(Mutation::Swap),
        (0..20usize).prop_map(Mutation::MoveTo),
        Just(Mutation::Insert),
        Just(Mutation::ReplaceByOlder),
    ]
}

/// The changed log, and the line (from 0) where the change begins.
fn mutate(lines: &[String], at: usize, mutation: Mutation) -> (Vec<u8>, usize) {
    let mut lines = lines.to_vec();
    let mut place = at;
    match mutation {
        Mutation::Flip { byte, bit } => {
            let before: usize = lines[..at].iter().map(String::len).sum();
            let byte = before + byte % lines[at].len();
            let mut bytes = lines.concat().into_bytes();
            bytes[byte] ^= 1 << bit;
            return (bytes, at);
        }
        Mutation::Remove => drop(lines.remove(at)),
        Mutation::Repeat => {
            lines.insert(at, lines[at].clone());
            place = at + 1;
        }
        Mutation::Swap => {
            let next = (at + 1) % lines.len();
            lines.swap(at, next);
        }
        Mutation::MoveTo(to) => {
            let line = lines.remove(at);
            let to = to % (lines.len() + 1);
            lines.insert(to, line);
            place = at.min(to);
        }
        Mutation::Insert => {
            // A well-made line: the chain is no secret.
            let head = Head { seq: u64::try_from(at).unwrap(), hash: "0".repeat(64) };
            lines.insert(at, head.line("t", chain::Kind::Event, "{}").0);
        }
        Mutation::ReplaceByOlder => lines[at] = lines[at.saturating_sub(1)].clone(),
    }
    (lines.concat().into_bytes(), place)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Any one change is found, and at the line where it is or the one behind it.
    #[test]
    fn any_change_is_found_where_it_is(at in any::<prop::sample::Index>(), mutation in mutations()) {
        static LOG: std::sync::LazyLock<(Bench, Vec<String>)> =
            std::sync::LazyLock::new(|| closed(12));
        let (bench, lines) = &*LOG;
        let at = at.index(lines.len());
        let (changed, place) = mutate(lines, at, mutation);
        prop_assume!(changed != lines.concat().into_bytes());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), changed).unwrap();
        let mut sources = Sources::of_host(&bench.path(), &bench.key()).unwrap();
        sources.files = vec![file.path().to_owned()];
        let report = verify(sources).unwrap();
        prop_assert!(!report.findings.is_empty(), "not found");
        let first = usize::try_from(report.findings[0].line).unwrap() - 1;
        let wrapped = matches!(mutation, Mutation::Swap) && at + 1 == lines.len();
        let place = if wrapped { 0 } else { place };
        prop_assert!((place.saturating_sub(1)..=place + 1).contains(&first), "at {first}, not {place}");
    }
}

/// Who can write the file and has no key makes a chain that fits, from some line on.
#[test]
fn a_chain_that_was_made_anew_has_no_signature() {
    let (bench, lines) = closed(12);
    let mut head = Head {
        seq: 3,
        hash: chain::Line::read(lines[2].trim_end().as_bytes()).ok().unwrap().place.hash,
    };
    let mut forged = lines[..3].concat();
    for line in &lines[3..] {
        let read = chain::Line::read(line.trim_end().as_bytes()).ok().unwrap();
        let entry = read.entry.replace("denied", "allowed");
        let (line, next) = head.line("t", read.kind, &entry);
        forged.push_str(&line);
        head = next;
    }
    std::fs::write(bench.path(), forged).unwrap();
    let problems: Vec<_> =
        bench.verify().findings.into_iter().map(|finding| finding.problem).collect();
    assert!(problems.contains(&Problem::Signature), "{problems:?}");
}

#[test]
fn a_checkpoint_of_another_key_is_not_believed() {
    let (bench, _) = closed(3);
    std::fs::remove_file(bench.key()).unwrap();
    let mut audit = bench.open();
    audit.stop();
    let old = Bench::new();
    let _ = old.open();
    let mut sources = Sources::of_host(&bench.path(), &bench.key()).unwrap();
    sources.keys = vec![PublicKey::load(&public_path(&old.key())).unwrap()];
    let report = verify(sources).unwrap();
    assert!(matches!(report.findings[0].problem, Problem::UnknownKey { .. }));
    assert_eq!(report.checkpoints, 0);
}

/// Cut off at the end: found by the checkpoint that was noted elsewhere, and without that
/// said to be open.
#[test]
fn an_end_that_is_gone_is_told() {
    let (bench, lines) = closed(12);
    for left in 1..lines.len() {
        std::fs::write(bench.path(), lines[..left].concat()).unwrap();
        let report = bench.verify();
        let last = u64::try_from(lines.len()).unwrap();
        assert_eq!(report.findings.last().unwrap().problem, Problem::CutOff { last });
        let sources = Sources { files: vec![bench.path()], ..Sources::default() };
        let report = verify(sources).unwrap();
        assert!(report.findings.is_empty() && !report.stopped);
    }
}

#[test]
fn a_daemon_that_finds_the_end_gone_says_so_in_the_chain() {
    let (bench, lines) = closed(12);
    std::fs::write(bench.path(), lines[..6].concat()).unwrap();
    bench.open().stop();
    let report = bench.verify();
    assert_eq!(report.findings, []);
    assert!(report.notes[0].says.contains("\"last_checkpoint\":"), "{:?}", report.notes);
}

#[test]
fn the_checkpoint_of_another_log_of_the_same_key_is_not_missed() {
    let (bench, _) = closed(12);
    let path = bench.path().with_file_name("other.jsonl");
    let mut audit = Audit::open(Options { path: path.clone(), ..bench.options() }).unwrap();
    audit.stop();
    let report = verify(Sources::of_host(&path, &bench.key()).unwrap()).unwrap();
    assert_eq!((report.findings, report.notes), (vec![], vec![]));
    assert_eq!(bench.verify().findings, []);
}

#[test]
fn what_is_no_log_is_told() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path().parent().unwrap()).unwrap();
    std::fs::write(bench.path(), "some\ntext").unwrap();
    let report = verify(Sources { files: vec![bench.path()], ..Sources::default() }).unwrap();
    let problems: Vec<_> = report.findings.iter().map(|finding| &finding.problem).collect();
    assert_eq!(problems, [&Problem::Form, &Problem::Torn]);
    assert!(
        verify(Sources { files: vec![Path::new("/nowhere").into()], ..Sources::default() })
            .is_err()
    );
}

/// Prints what an entry costs, in a release build:
/// `cargo test --release -p agentguard --lib audit_cost -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn audit_cost() {
    let directory = tempfile::tempdir().unwrap();
    for entries in [u32::MAX, 256] {
        let options = Options {
            path: directory.path().join(format!("{entries}.jsonl")),
            entries,
            rotate_at: u64::MAX,
            ..Bench { directory: tempfile::tempdir().unwrap() }.options()
        };
        let mut audit = Audit::open(options).unwrap();
        let rounds = 20_000;
        let best = (0..5).map(|_| {
            let start = std::time::Instant::now();
            (0..rounds).for_each(|number| assert!(put(&mut audit, number)));
            start.elapsed().as_nanos() / u128::try_from(rounds).unwrap()
        });
        println!("a checkpoint every {entries} entries: {} ns an entry", best.min().unwrap());
    }
}
