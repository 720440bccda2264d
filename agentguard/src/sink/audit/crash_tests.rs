//! Crashes: files cut at every byte, a writer that is killed, a disk that is full.

use std::io;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::medium::Medium;
use super::tests::{Bench, ids, put};
use super::*;

/// A daemon that crashed while it wrote leaves the file cut at some byte. The next one
/// takes over from the last whole line, says what it cut off, and loses nothing before.
#[test]
fn the_log_survives_a_crash_at_every_byte() {
    let origin = Bench::new();
    let mut audit = origin.open();
    assert!(put(&mut audit, 0));
    audit.checkpoint("time");
    drop(audit);
    let bytes = std::fs::read(origin.path()).unwrap();
    // The key and no noted checkpoint: that one may be older than any cut.
    let bench = Bench::new();
    drop(bench.open());
    std::fs::copy(origin.key(), bench.key()).unwrap();
    for cut in 0..=bytes.len() {
        std::fs::write(bench.path(), &bytes[..cut]).unwrap();
        std::fs::write(bench.key().with_extension("head"), "").unwrap();
        let whole = String::from_utf8_lossy(&bytes[..cut]).into_owned();
        let end = whole.rfind('\n').map_or(0, |end| end + 1);
        let kept = ids(&whole[..end]);
        let mut audit = bench.open();
        assert!(put(&mut audit, 99));
        drop(audit);
        let text = bench.text();
        assert!(text.starts_with(&whole[..end]), "cut at {cut}: what was whole is gone");
        assert_eq!(ids(&text), [kept, vec!["99-0".to_owned()]].concat(), "cut at {cut}");
        let report = verify(Sources { files: vec![bench.path()], ..Sources::default() }).unwrap();
        assert_eq!(report.findings, [], "cut at {cut}");
        let torn = cut > end;
        assert_eq!(report.notes.len(), usize::from(torn), "cut at {cut}: {:?}", report.notes);
        if torn {
            assert!(report.notes[0].says.contains(&format!("\"bytes\":{}", cut - end)));
        }
    }
}

/// After a loss of power anything can stand behind the last line that reached the disk.
#[test]
fn what_cannot_be_read_is_kept_apart_and_told() {
    for rest in ["\0\0\0\0", "{}\n{}\n", "\n\n", "half a line"] {
        let bench = Bench::new();
        let mut audit = bench.open();
        assert!(put(&mut audit, 0));
        drop(audit);
        let text = bench.text();
        std::fs::write(bench.path(), format!("{text}{rest}")).unwrap();
        let mut audit = bench.open();
        assert!(put(&mut audit, 0), "the record is known");
        assert!(put(&mut audit, 1));
        drop(audit);
        assert_eq!(ids(&bench.text()), ["0-0", "1-0"]);
        let report = bench.verify();
        assert_eq!((report.findings, report.notes.len()), (vec![], 1), "{rest:?}");
        let apart = std::fs::read_dir(bench.path().parent().unwrap()).unwrap().flatten();
        let apart = apart.map(|entry| entry.path()).find(|path| *path != bench.path()).unwrap();
        assert_eq!(std::fs::read_to_string(apart).unwrap(), rest);
    }
}

/// A file that holds no line at all is kept apart as a whole.
#[test]
fn a_file_that_is_no_log_does_not_keep_the_daemon_from_starting() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path().parent().unwrap()).unwrap();
    std::fs::write(bench.path(), "something else\n").unwrap();
    let mut audit = bench.open();
    assert!(put(&mut audit, 0));
    drop(audit);
    let report = bench.verify();
    assert_eq!((report.findings, report.notes.len()), (vec![], 1));
}

/// A crash between putting the file aside and beginning the next.
#[test]
fn a_crash_in_the_middle_of_a_rotation_loses_nothing() {
    for empty in [false, true] {
        let bench = Bench::new();
        let mut audit = bench.open();
        (0..3).for_each(|number| assert!(put(&mut audit, number)));
        drop(audit);
        std::fs::rename(bench.path(), bench.path().with_added_extension("000000000005")).unwrap();
        if empty {
            std::fs::write(bench.path(), "").unwrap();
        }
        let mut audit = bench.open();
        assert!(put(&mut audit, 2), "the record is known from the file before");
        assert!(put(&mut audit, 3));
        audit.stop();
        let report = bench.verify();
        assert_eq!((report.findings, report.first), (vec![], 1));
        assert_eq!(ids(&bench.text()), ["3-0"]);
    }
}

/// A process that writes without end, for the test below to kill.
#[test]
#[ignore = "run by another test"]
fn writer() {
    let directory = std::path::PathBuf::from(std::env::var("AGENTGUARD_TEST_AUDIT").unwrap());
    let options = Options {
        path: directory.join("log/audit.jsonl"),
        key: directory.join("key/audit.key"),
        allowed: false,
        entries: 7,
        every: Duration::from_secs(60),
        rotate_at: 20_000,
        keep: None,
    };
    let mut audit = Audit::open(options).unwrap();
    // A number that no other writer uses.
    let mut number = usize::try_from(std::process::id()).unwrap() * 1_000_000;
    loop {
        assert!(put(&mut audit, number));
        // What was written is told, byte by byte, so that the test knows of each.
        io::Write::write_all(&mut io::stderr(), b".").unwrap();
        number += 1;
    }
}

/// Killed at random points, in the middle of writes, checkpoints, rotations and starts:
/// every log verifies, and every entry that was written is in it.
#[test]
fn the_log_survives_a_writer_that_is_killed_at_any_time() {
    use std::io::Read as _;
    let bench = Bench::new();
    let mut told = 0;
    for round in 0..40_u64 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sink::audit::crash_tests::writer", "--ignored", "--nocapture"])
            .env("AGENTGUARD_TEST_AUDIT", bench.directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Some before the first entry, some after many.
        std::thread::sleep(Duration::from_micros(3_000 + round * 7_919 % 60_000));
        writer.kill().unwrap();
        let mut dots = String::new();
        writer.stderr.take().unwrap().read_to_string(&mut dots).unwrap();
        writer.wait().unwrap();
        assert!(!dots.contains("panicked"), "{dots}");
        told += dots.matches('.').count();
    }
    let mut audit = bench.open();
    assert!(put(&mut audit, usize::MAX));
    audit.stop();
    let report = bench.verify();
    assert_eq!(report.findings, []);
    let files = Sources::of_host(&bench.path(), &bench.key()).unwrap().files;
    let text: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let written = ids(&text).len() - 1;
    assert!(told > 100 && files.len() > 1, "the test did not get far: {told}");
    assert!(written >= told, "{written} entries, and {told} were told to be there");
}

/// A disk that has room for so many bytes; a fake, that also fails half-way through lines.
struct Filling {
    room: Arc<Mutex<usize>>,
    text: Arc<Mutex<Vec<u8>>>,
}

impl Medium for Filling {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut room = self.room.lock().unwrap();
        let some = bytes.len().min(*room);
        *room -= some;
        self.text.lock().unwrap().extend_from_slice(&bytes[..some]);
        if some == bytes.len() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        // Does not work either, for as long as there is no room at all.
        if *self.room.lock().unwrap() == 0 {
            return Err(io::ErrorKind::Other.into());
        }
        self.text.lock().unwrap().truncate(usize::try_from(len).unwrap());
        Ok(())
    }

    fn handle(&self) -> Option<std::fs::File> {
        None
    }
}

#[test]
fn a_full_disk_loses_entries_counts_them_and_breaks_nothing() {
    for room in (0..1500).step_by(7) {
        let bench = Bench::new();
        let mut audit = bench.open();
        let (left, text) = (Arc::new(Mutex::new(room)), Arc::new(Mutex::new(Vec::new())));
        text.lock().unwrap().extend(bench.text().into_bytes());
        audit.file = Box::new(Filling { room: Arc::clone(&left), text: Arc::clone(&text) });
        let written = (0..4).filter(|number| put(&mut audit, *number)).count();
        assert_eq!(audit.lost(), u64::try_from(4 - written).unwrap());
        *left.lock().unwrap() = usize::MAX;
        audit.tick();
        assert_eq!(audit.lost(), 0);
        assert!(put(&mut audit, 4));
        audit.stop();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text.lock().unwrap().as_slice()).unwrap();
        let report =
            verify(Sources { files: vec![file.path().to_owned()], ..Sources::default() }).unwrap();
        assert_eq!(report.findings, [], "room for {room}");
        let says: Vec<_> = report.notes.iter().map(|note| note.says.as_str()).collect();
        match 4 - written {
            0 => assert_eq!(says.len(), 0),
            lost => assert!(says[0].contains(&format!("\"entries\":{lost}")), "{says:?}"),
        }
    }
}

/// The same on a real file system that is full, in a mount namespace of the test's thread.
#[test]
fn a_full_file_system_loses_entries_counts_them_and_breaks_nothing() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: mounting needs root");
        return;
    }
    std::thread::spawn(|| {
        use nix::mount::{MsFlags, mount};
        use nix::sched::{CloneFlags, unshare};
        let none: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let bench = Bench::new();
        let directory = bench.path().parent().unwrap().to_owned();
        std::fs::create_dir(&directory).unwrap();
        mount(none, &directory, Some("tmpfs"), MsFlags::empty(), Some("size=32k")).unwrap();
        let mut audit = bench.open();
        let written = (0..200).filter(|number| put(&mut audit, *number)).count();
        assert!(written > 0 && written < 200);
        // A daemon that starts on the full disk waits for room too.
        drop(audit);
        let mut audit = bench.open();
        assert!(!put(&mut audit, 200));
        let grown = Some("size=1m");
        mount(none, &directory, none, MsFlags::MS_REMOUNT, grown).unwrap();
        audit.tick();
        assert!(put(&mut audit, 201));
        audit.stop();
        let report = bench.verify();
        assert_eq!(report.findings, []);
        assert!(report.notes.iter().any(|note| note.says.contains("\"entries\":1")));
    })
    .join()
    .unwrap();
}
