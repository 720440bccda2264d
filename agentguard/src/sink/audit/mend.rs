//! What an earlier daemon left: where its chain ends, and what has to be cut off.
//!
//! A daemon that is killed can leave the last line cut short at any byte; a host that
//! loses power, anything after the last line that reached the disk. The chain goes on
//! after the last line that holds. What stands behind it is kept in a file of its own, and
//! an entry of the chain says how much it was and its hash: whoever tampers with the end
//! of a log cannot pass it off as an accident without a trace.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::chain::{Head, Kind, Line};
use crate::hex;

/// How far back the last line that holds is looked for, in bytes.
const TAIL: u64 = 4 << 20;
/// What the ids of lifecycle events begin with; those come from no ring buffer.
const LIFECYCLE: &str = "l-";

/// The end of a file of a chain.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct End {
    /// The last line that holds.
    pub(super) head: Option<Head>,
    /// The id of the last record of the kernel among the last lines.
    pub(super) record: Option<String>,
    /// How long the file is up to there, in bytes.
    pub(super) good: u64,
    /// What stands behind.
    pub(super) rest: Option<Rest>,
}

/// What stands behind the last line that holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rest {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// Looks for the end of the chain in a file.
pub(super) fn end_of(path: &Path) -> io::Result<End> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let from = len.saturating_sub(TAIL);
    let mut tail = vec![0; usize::try_from(len - from).unwrap_or(0)];
    file.read_exact_at(&mut tail, from)?;
    let mut end = End::default();
    let mut stop = tail.len();
    while let Some(line) = last_line(&tail, stop) {
        let start = stop.min(line.start);
        if let Ok(read) = Line::read(tail.get(line).unwrap_or_default()) {
            if end.head.is_none() {
                end.good = from + u64::try_from(stop).unwrap_or(0);
                end.head = Some(read.place.clone());
            }
            end.record = record_of(&read);
            if end.record.is_some() {
                break;
            }
        }
        stop = start;
    }
    if end.good < len {
        end.rest = Some(Rest { bytes: len - end.good, sha256: digest(&file, end.good, len)? });
    }
    Ok(end)
}

/// The last line that is complete and ends at `stop` or before; `stop` is moved by the
/// caller to its beginning. A rest without an end is no line.
fn last_line(tail: &[u8], stop: usize) -> Option<std::ops::Range<usize>> {
    let text = tail.get(..stop)?;
    match text.split_last()? {
        (b'\n', rest) => {
            let start = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            Some(start..rest.len())
        }
        _ => {
            let start = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            // Empty, so that it is read as no line.
            Some(start..start)
        }
    }
}

/// The id of a kernel's record that a line tells of.
fn record_of(line: &Line<'_>) -> Option<String> {
    if line.kind != Kind::Event {
        return None;
    }
    let event: serde_json::Value = serde_json::from_str(line.entry).ok()?;
    let id = event.get("id")?.as_str()?;
    (!id.starts_with(LIFECYCLE)).then(|| id.to_owned())
}

fn digest(file: &File, from: u64, to: u64) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut at = from;
    while at < to {
        let read = file.read_at(&mut buffer, at)?;
        let part = buffer.get(..read).filter(|part| !part.is_empty());
        let part = part.ok_or(io::ErrorKind::UnexpectedEof)?;
        hash.update(part);
        at += u64::try_from(read).unwrap_or(0);
    }
    Ok(hex(&hash.finalize()))
}

/// Keeps what is to be cut off in a file beside the log.
pub(super) fn set_apart(path: &Path, from: u64, apart: &Path) -> io::Result<()> {
    use std::io::{Seek as _, SeekFrom};
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut options = File::options();
    let mut apart = options.write(true).create(true).truncate(true).mode(0o600).open(apart)?;
    io::copy(&mut file, &mut apart)?;
    apart.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(lines: usize) -> (String, Head) {
        let mut head = Head::before_all();
        let mut text = String::new();
        for number in 0..lines {
            let entry = format!(r#"{{"id":"{number}-0"}}"#);
            let (line, next) = head.line("t", Kind::Event, &entry);
            text.push_str(&line);
            head = next;
        }
        (text, head)
    }

    #[test]
    fn the_end_is_found_whatever_stands_behind_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (good, head) = chain(3);
        let (longer, _) = chain(4);
        let torn = &longer[good.len()..longer.len() - 1];
        for rest in ["", "\n", "x", "x\ny", "\0\0\0\0", "{}\n{}\n", torn, &torn[..9]] {
            std::fs::write(file.path(), format!("{good}{rest}")).unwrap();
            let end = end_of(file.path()).unwrap();
            assert_eq!(end.head.as_ref(), Some(&head), "{rest:?}");
            assert_eq!(end.good, u64::try_from(good.len()).unwrap(), "{rest:?}");
            assert_eq!(end.record.as_deref(), Some("2-0"));
            let bytes = end.rest.map_or(0, |rest| rest.bytes);
            assert_eq!(bytes, u64::try_from(rest.len()).unwrap());
        }
    }

    #[test]
    fn a_file_without_a_line_has_no_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(end_of(file.path()).unwrap(), End::default());
        std::fs::write(file.path(), "no log\nat all\n").unwrap();
        let end = end_of(file.path()).unwrap();
        assert_eq!((end.head, end.good), (None, 0));
        assert_eq!(end.rest.unwrap().bytes, 14);
    }
}
