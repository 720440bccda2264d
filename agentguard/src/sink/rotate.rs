//! Log files that were put aside: how they are called, and how long they are kept.
//!
//! `events.jsonl` is put aside as `events.jsonl.20261125T222309.123456Z`. Nothing is
//! renumbered, so a name stays good, and each step is one rename: a daemon that is killed
//! in between leaves files that the next one can go on with.

use std::io;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const STAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second].[subsecond digits:6]Z");

/// Puts a file aside under the time that it is now, and says where it is.
pub(super) fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let stamp = OffsetDateTime::now_utc().format(STAMP).map_err(io::Error::other)?;
    put_aside_as(path, &stamp)
}

/// Puts a file aside under a name of its own. No file is ever replaced.
pub(super) fn put_aside_as(path: &Path, stamp: &str) -> io::Result<PathBuf> {
    let aside = named(path, stamp);
    // Only one daemon runs, so nobody makes the file between this and the next.
    if aside.symlink_metadata().is_ok() {
        let why = format!("{} is there already", aside.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
    }
    std::fs::rename(path, &aside)?;
    Ok(aside)
}

fn named(path: &Path, stamp: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(stamp);
    path.with_file_name(name)
}

/// The files that were put aside, the oldest first.
pub(super) fn aside(path: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory.unwrap_or(Path::new(".")))? {
        let entry = entry?;
        let there = entry.file_name().to_string_lossy().into_owned();
        let stamp = there.strip_prefix(&name).and_then(|rest| rest.strip_prefix('.'));
        if stamp.is_some_and(is_stamp) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// What we name files by, and nothing that others do: `.1`, `.gz`, `.old`.
fn is_stamp(stamp: &str) -> bool {
    let digits = stamp.bytes().filter(u8::is_ascii_digit).count();
    let marks =
        stamp.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'T' | b'Z' | b'.'));
    digits >= 12 && marks
}

/// Removes the oldest files, but for so many.
pub(super) fn prune(path: &Path, keep: usize) -> io::Result<()> {
    let aside = aside(path)?;
    let surplus = aside.len().saturating_sub(keep);
    aside.iter().take(surplus).try_for_each(std::fs::remove_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_other_files_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.jsonl");
        for name in
            ["log.jsonl.1", "log.jsonl.old", "log.jsonl.gz", "other.jsonl.20260101T000000.000000Z"]
        {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        for number in 0..4 {
            std::fs::write(&path, number.to_string()).unwrap();
            put_aside(&path).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(!path.exists());
        prune(&path, 2).unwrap();
        let left: Vec<_> = aside(&path)
            .unwrap()
            .iter()
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        assert_eq!(left, ["2", "3"]);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 6);
    }

    #[test]
    fn nothing_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, "new").unwrap();
        std::fs::write(named(&path, "000000000001"), "old").unwrap();
        assert!(put_aside_as(&path, "000000000001").is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    }
}
