//! The log: what is known of an earlier daemon's, rotation, loss.

use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::config::{Period, Size};

fn plain() -> LogOptions {
    LogOptions { mode: None, owner: Owner::default(), rotate: None }
}

fn rotated(size: Option<u64>, age: Option<Duration>, keep: u32) -> LogOptions {
    let rotate = RotateConfig { size: size.map(Size), age: age.map(Period), keep };
    LogOptions { rotate: Some(rotate), ..plain() }
}

fn line(number: u32) -> String {
    format!("{{\"timestamp\":\"{}\",\"id\":\"{number}-0\"}}", crate::event::now())
}

#[test]
fn the_last_record_of_an_earlier_daemon_is_known_and_a_cut_line_is_taken_off() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    let whole = "{\"id\":\"1-0\"}\n{\"id\":\"2-0\"}\n{\"id\":\"l-3-1\"}\n";
    std::fs::write(&path, format!("{whole}{{\"id\":\"4-0\",\"tim")).unwrap();
    let mut log = Log::open(&path, plain()).unwrap();
    assert!(log.has("2-0"));
    assert!(!log.has("1-0") && !log.has("4-0") && !log.has("l-3-1"));
    assert!(log.write("{\"id\":\"4-0\"}"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{whole}{{\"id\":\"4-0\"}}\n"));
}

#[test]
fn lines_are_appended_and_the_file_can_be_moved_away() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made/log.jsonl");
    let mut log = Log::open(&path, plain()).unwrap();
    assert!(log.write("{\"a\":1}"));
    std::fs::rename(&path, path.with_extension("old")).unwrap();
    log.reopen().unwrap();
    assert!(log.write("{\"a\":2}"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"a\":2}\n");
    assert_eq!(std::fs::read_to_string(path.with_extension("old")).unwrap(), "{\"a\":1}\n");
}

#[test]
fn a_full_disk_loses_lines_and_counts_them() {
    let mut log = Log::open(Path::new("/dev/full"), rotated(Some(1), None, 1)).unwrap();
    assert!(!log.write("{}"));
    assert!(!log.write("{}"));
    assert_eq!(log.lost(), 2);
    assert!(!log.write("{\"lost\":2}"));
    log.told_lost(2);
    assert_eq!(log.lost(), 2, "the disk is still full");
    log.told_lost(2);
    assert_eq!(log.lost(), 0);
}

#[test]
fn a_file_that_is_large_enough_is_put_aside_and_no_line_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    let mut log = Log::open(&path, rotated(Some(200), None, 100)).unwrap();
    (0..50).for_each(|number| assert!(log.write(&line(number))));
    let mut files = rotate::aside(&path).unwrap();
    assert!(files.len() > 5);
    files.push(path);
    let text: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let ids: Vec<_> = text.lines().map(|line| id_of(line.as_bytes()).unwrap()).collect();
    assert_eq!(ids, (0..50).map(|number| format!("{number}-0")).collect::<Vec<_>>());
    let lens = files.iter().map(|file| std::fs::metadata(file).unwrap().len());
    assert!(lens.max().unwrap() < 300);
}

#[test]
fn only_so_many_files_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    let mut log = Log::open(&path, rotated(Some(1), None, 3)).unwrap();
    (0..10).for_each(|number| assert!(log.write(&line(number))));
    assert_eq!(rotate::aside(&path).unwrap().len(), 3);
}

#[test]
fn the_last_record_is_known_after_a_rotation_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    let options = rotated(Some(1), None, 3);
    let mut log = Log::open(&path, options.clone()).unwrap();
    assert!(log.write(&line(7)));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0, "it was put aside");
    assert!(Log::open(&path, options.clone()).unwrap().has("7-0"));
    // Killed between putting it aside and beginning the next.
    std::fs::remove_file(&path).unwrap();
    assert!(Log::open(&path, options).unwrap().has("7-0"));
}

#[test]
fn a_file_that_is_old_enough_is_put_aside_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    let options = rotated(None, Some(Duration::from_secs(3600)), 3);
    let mut log = Log::open(&path, options.clone()).unwrap();
    assert!(log.write(&line(1)));
    log.put_aside_if_due();
    assert_eq!(rotate::aside(&path).unwrap().len(), 0, "it is young");
    let old = "{\"timestamp\":\"2020-01-01T00:00:00.000000000Z\",\"id\":\"1-0\"}\n";
    std::fs::write(&path, old).unwrap();
    let mut log = Log::open(&path, options).unwrap();
    log.put_aside_if_due();
    assert_eq!(rotate::aside(&path).unwrap().len(), 1);
    log.put_aside_if_due();
    assert_eq!(rotate::aside(&path).unwrap().len(), 1, "an empty file stays");
}

#[test]
fn a_file_that_cannot_be_put_aside_grows_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    let mut log = Log::open(&path, rotated(Some(10), None, 3)).unwrap();
    // Gone, so that there is nothing to put aside.
    std::fs::remove_file(&path).unwrap();
    assert!(log.write(&line(1)) && log.write(&line(2)));
    assert_eq!(log.lost(), 0);
}

#[test]
fn mode_and_owner_are_as_configured() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("full.jsonl");
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let owner = Owner { uid: None, gid: Some(nix::unistd::getgid().as_raw()) };
    let options = LogOptions { mode: Some(0o600), owner, rotate: None };
    let _log = Log::open(&path, options).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}
