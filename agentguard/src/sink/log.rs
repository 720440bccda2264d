//! The JSON log: one line for each decision and lifecycle event, in a file or on
//! standard output.
//!
//! Enforcement does not hang on it. A line that cannot be written (a full disk) is
//! counted, and the count is put into the log as soon as writing works again.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The log.
pub struct Log {
    to: To,
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
            return Ok(Self { to: To::Stdout, lost: 0, torn: false });
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
        Ok(Self { to: To::File(path.to_owned(), file), lost: 0, torn: false })
    }

    /// Opens the file anew, after it was moved away.
    ///
    /// # Errors
    ///
    /// [`Error::Log`]; the file that was open is written on.
    pub fn reopen(&mut self) -> Result<()> {
        if let To::File(path, _) = &self.to {
            let fresh = Self::open(path)?;
            self.to = fresh.to;
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

#[cfg(test)]
mod tests {
    use super::*;

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
