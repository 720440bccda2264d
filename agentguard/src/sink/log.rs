//! The JSON log: one line for each decision and lifecycle event, in a file or on
//! standard output.
//!
//! Enforcement does not hang on it. A line that cannot be written (a full disk) is
//! counted, and the count is put into the log as soon as writing works again.
//!
//! A record leaves its ring buffer only after its line was written. So a daemon that
//! is killed loses none, but the next one can meet a record again that is in the log
//! already: it is known by its id, which is looked up in the log when that is opened.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// How much of an existing log is read for its last record, in bytes: more than a
/// record's line and the lifecycle lines that can follow it in one turn.
const TAIL: u64 = 256 << 10;
/// What the ids of lifecycle events begin with; those come from no ring buffer.
const LIFECYCLE: &str = "l-";

/// The log.
pub struct Log {
    to: To,
    /// The id of the last record that an earlier daemon wrote.
    known: Option<String>,
    lost: u64,
    /// Whether the last write stopped in the middle of a line.
    torn: bool,
}

enum To {
    File(PathBuf, File),
    Stdout,
}

impl Log {
    /// Opens a log file for appending, or standard output for `-`.
    ///
    /// # Errors
    ///
    /// [`Error::Log`] where it cannot be written.
    pub fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Ok(Self { to: To::Stdout, known: None, lost: 0, torn: false });
        }
        let failed = |source| Error::Log { path: path.to_owned(), source };
        if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o750)
                .create(directory)
                .map_err(failed)?;
        }
        let mut options = File::options();
        let file = options.append(true).create(true).mode(0o640).open(path).map_err(failed)?;
        let known = match file.metadata().map_err(failed)?.is_file() {
            true => mend(path, &file).map_err(failed)?,
            // A pipe or a device remembers nothing.
            false => None,
        };
        Ok(Self { to: To::File(path.to_owned(), file), known, lost: 0, torn: false })
    }

    /// Whether an earlier daemon wrote the record of that id, and was killed before it
    /// could take it out of the ring buffer.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.known.as_deref() == Some(id)
    }

    /// Opens the file anew, after it was moved away.
    ///
    /// # Errors
    ///
    /// [`Error::Log`]; the file that was open is written on.
    pub fn reopen(&mut self) -> Result<()> {
        if let To::File(path, _) = &self.to {
            let fresh = Self::open(path)?;
            (self.to, self.known) = (fresh.to, fresh.known);
            self.torn = false;
        }
        Ok(())
    }

    /// Writes a line; false when it was lost.
    pub fn write(&mut self, line: &str) -> bool {
        let mut text = String::with_capacity(line.len() + 1);
        if self.torn {
            text.push('\n');
        }
        text.push_str(line);
        text.push('\n');
        match self.put(text.as_bytes()) {
            Ok(()) => {
                self.torn = false;
                true
            }
            Err((written, error)) => {
                self.torn |= written > 0;
                if self.lost == 0 {
                    tracing::error!(%error, "the log cannot be written; lines are being lost");
                }
                self.lost += 1;
                false
            }
        }
    }

    /// How many lines were lost that no line of the log tells of yet.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// A line that tells of so many lost ones was written, unless more have been
    /// lost since: that line among them.
    pub const fn told_lost(&mut self, told: u64) {
        if self.lost == told {
            self.lost = 0;
        } else {
            // The line that should have told is not one of those to be counted.
            self.lost -= 1;
        }
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let all = bytes.len();
        while !bytes.is_empty() {
            let written = match &mut self.to {
                To::File(_, file) => file.write(bytes),
                To::Stdout => io::stdout().lock().write(bytes),
            };
            match written {
                Ok(0) => return Err((all - bytes.len(), io::ErrorKind::WriteZero.into())),
                Ok(some) => bytes = &bytes[some..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((all - bytes.len(), error)),
            }
        }
        Ok(())
    }
}

/// Takes off a last line that was cut short by the end of its daemon (its record is
/// still in the ring buffer), and finds the id of the last record.
fn mend(path: &Path, file: &File) -> io::Result<Option<String>> {
    let len = file.metadata()?.len();
    let from = len.saturating_sub(TAIL);
    let mut tail = vec![0; usize::try_from(len - from).unwrap_or(0)];
    File::open(path)?.read_exact_at(&mut tail, from)?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let cut = u64::try_from(tail.len() - whole).unwrap_or(0);
    // A cut line is short; what is longer than that is no log of ours.
    if cut > 0 && cut < TAIL {
        file.set_len(len - cut)?;
    }
    let lines = tail.get(..whole).unwrap_or_default().rsplit(|byte| *byte == b'\n');
    Ok(lines.filter_map(id_of).find(|id| !id.starts_with(LIFECYCLE)))
}

fn id_of(line: &[u8]) -> Option<String> {
    let event: serde_json::Value = serde_json::from_slice(line).ok()?;
    Some(event.get("id")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_record_of_an_earlier_daemon_is_known_and_a_cut_line_is_taken_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.jsonl");
        let whole = "{\"id\":\"1-0\"}\n{\"id\":\"2-0\"}\n{\"id\":\"l-3-1\"}\n";
        std::fs::write(&path, format!("{whole}{{\"id\":\"4-0\",\"tim")).unwrap();
        let mut log = Log::open(&path).unwrap();
        assert!(log.has("2-0"));
        assert!(!log.has("1-0") && !log.has("4-0") && !log.has("l-3-1"));
        assert!(log.write("{\"id\":\"4-0\"}"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{whole}{{\"id\":\"4-0\"}}\n"));
    }

    #[test]
    fn lines_are_appended_and_the_file_can_be_moved_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/log.jsonl");
        let mut log = Log::open(&path).unwrap();
        assert!(log.write("{\"a\":1}"));
        std::fs::rename(&path, path.with_extension("old")).unwrap();
        log.reopen().unwrap();
        assert!(log.write("{\"a\":2}"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"a\":2}\n");
        assert_eq!(std::fs::read_to_string(path.with_extension("old")).unwrap(), "{\"a\":1}\n");
    }

    #[test]
    fn a_full_disk_loses_lines_and_counts_them() {
        let mut log = Log::open(Path::new("/dev/full")).unwrap();
        assert!(!log.write("{}"));
        assert!(!log.write("{}"));
        assert_eq!(log.lost(), 2);
        assert!(!log.write("{\"lost\":2}"));
        log.told_lost(2);
        assert_eq!(log.lost(), 2, "the disk is still full");
        log.told_lost(2);
        assert_eq!(log.lost(), 0);
    }
}
