//! A JSON log: one line for each event, in a file or on standard output.
//!
//! Enforcement does not hang on it. A line that cannot be written (a full disk) is
//! counted, and the count is put into the log as soon as writing works again.
//!
//! A record leaves its ring buffer only after its line was written. So a daemon that
//! is killed loses none, but the next one can meet a record again that is in the log
//! already: it is known by its id, which is looked up in the log when that is opened.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::rotate;
use crate::config::{Owner, RotateConfig};
use crate::error::{Error, Result};

/// How much of an existing log is read for its last record, in bytes: more than a
/// record's line and the lifecycle lines that can follow it in one turn.
const TAIL: u64 = 256 << 10;
/// What the ids of lifecycle events begin with; those come from no ring buffer.
const LIFECYCLE: &str = "l-";
/// After a failed attempt to put the file aside, it may grow by so much until the next.
const RETRY: u64 = 1 << 20;
/// How long a first line is looked at for its time, in bytes.
const FIRST_LINE: usize = 4096;

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Who may read and write the file. `None`: 0640 for a new one, and an old one as it is.
    pub mode: Option<u32>,
    /// Whose it is.
    pub owner: Owner,
    /// When it is put aside; `None` for never.
    pub rotate: Option<RotateConfig>,
}

/// The log.
pub struct Log {
    to: To,
    options: LogOptions,
    /// The id of the last record that an earlier daemon wrote.
    known: Option<String>,
    lost: u64,
    /// Whether the last write stopped in the middle of a line.
    torn: bool,
    /// How long the file is, in bytes.
    len: u64,
    /// When its first line was written.
    born: OffsetDateTime,
    /// At which length another attempt to put it aside is due.
    retry_at: u64,
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
    pub fn open(path: &Path, options: LogOptions) -> Result<Self> {
        let fresh = |to, options| Self {
            to,
            options,
            known: None,
            lost: 0,
            torn: false,
            len: 0,
            born: OffsetDateTime::now_utc(),
            retry_at: 0,
        };
        if path == Path::new("-") {
            return Ok(fresh(To::Stdout, options));
        }
        let failed = |source| Error::Log { path: path.to_owned(), source };
        if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o750)
                .create(directory)
                .map_err(failed)?;
        }
        let file = open_file(path, &options).map_err(failed)?;
        // A pipe or a device remembers nothing, and cannot be put aside.
        let is_file = file.metadata().map_err(failed)?.is_file();
        let known = is_file.then(|| mend(path, &file)).transpose().map_err(failed)?.flatten();
        let len = file.metadata().map_err(failed)?.len();
        let born = is_file.then(|| born(path)).flatten();
        let mut log = fresh(To::File(path.to_owned(), file), options);
        log.options.rotate.take_if(|_| !is_file);
        (log.known, log.len, log.born) = (known, len, born.unwrap_or(log.born));
        if log.known.is_none() && is_file {
            log.known = known_before(path).map_err(failed)?;
        }
        Ok(log)
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
            let fresh = Self::open(path, self.options.clone())?;
            *self = Self { lost: self.lost, ..fresh };
        }
        Ok(())
    }

    /// Writes a line; false when it was lost.
    pub fn write(&mut self, line: &str) -> bool {
        let mut text = String::with_capacity(line.len() + 2);
        if self.torn {
            text.push('\n');
        }
        text.push_str(line);
        text.push('\n');
        match self.put(text.as_bytes()) {
            Ok(()) => {
                self.torn = false;
                self.len = self.len.saturating_add(u64::try_from(text.len()).unwrap_or(0));
                self.put_aside_if_due();
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

    /// Puts the file aside where it is large or old enough. To be called now and then, for
    /// the sake of files that nothing is written to.
    pub fn put_aside_if_due(&mut self) {
        let (Some(rotate), To::File(path, _)) = (&self.options.rotate, &self.to) else { return };
        let large = rotate.size.is_some_and(|size| self.len >= size.0);
        let age = Duration::try_from(OffsetDateTime::now_utc() - self.born).unwrap_or_default();
        let old = self.len > 0 && rotate.age.is_some_and(|most| age >= most.0);
        if !(large || old) || self.len < self.retry_at {
            return;
        }
        let keep = usize::try_from(rotate.keep).unwrap_or(usize::MAX);
        let (path, known) = (path.clone(), self.known.clone());
        // A daemon that is killed between these two leaves no file; the next one makes it.
        let done = rotate::put_aside(&path)
            .map_err(|source| Error::Log { path: path.clone(), source })
            .and_then(|_| self.reopen());
        match done {
            Ok(()) => {
                self.known = known;
                if let Err(error) = rotate::prune(&path, keep) {
                    tracing::error!(%error, "old logs cannot be removed");
                }
            }
            Err(error) => {
                tracing::error!(%error, "the log cannot be put aside; it grows on");
                self.retry_at = self.len.saturating_add(RETRY);
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

fn open_file(path: &Path, options: &LogOptions) -> io::Result<File> {
    let mode = options.mode.unwrap_or(0o640);
    let file = File::options().append(true).create(true).mode(mode).open(path)?;
    let Owner { uid, gid } = options.owner;
    if uid.is_some() || gid.is_some() {
        std::os::unix::fs::fchown(&file, uid, gid)?;
    }
    // A file that was there keeps its own otherwise, and a new one minds the umask.
    if options.mode.is_some() {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(file)
}

/// Takes off a last line that was cut short by the end of its daemon (its record is
/// still in the ring buffer), and finds the id of the last record.
fn mend(path: &Path, file: &File) -> io::Result<Option<String>> {
    let (tail, len) = tail(path)?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let cut = u64::try_from(tail.len() - whole).unwrap_or(0);
    // A cut line is short; what is longer than that is no log of ours.
    if cut > 0 && cut < TAIL {
        file.set_len(len - cut)?;
    }
    Ok(last_record(tail.get(..whole).unwrap_or_default()))
}

/// The last record's id, where the file before this has it: this one was begun and nothing
/// of a record written to it.
fn known_before(path: &Path) -> io::Result<Option<String>> {
    let Some(aside) = rotate::aside(path)?.pop() else { return Ok(None) };
    Ok(last_record(&tail(&aside)?.0))
}

/// The end of a file, and the length of it all.
fn tail(path: &Path) -> io::Result<(Vec<u8>, u64)> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let from = len.saturating_sub(TAIL);
    let mut tail = vec![0; usize::try_from(len - from).unwrap_or(0)];
    file.read_exact_at(&mut tail, from)?;
    Ok((tail, len))
}

fn last_record(lines: &[u8]) -> Option<String> {
    let mut ids = lines.rsplit(|byte| *byte == b'\n').filter_map(id_of);
    ids.find(|id| !id.starts_with(LIFECYCLE))
}

fn id_of(line: &[u8]) -> Option<String> {
    let event: serde_json::Value = serde_json::from_slice(line).ok()?;
    Some(event.get("id")?.as_str()?.to_owned())
}

/// When a file's first line was written, by what it says itself: a copy or a restore
/// changes the times of a file.
fn born(path: &Path) -> Option<OffsetDateTime> {
    let mut head = vec![0; FIRST_LINE];
    let read = File::open(path).ok()?.read_at(&mut head, 0).ok()?;
    let head = String::from_utf8_lossy(head.get(..read)?).into_owned();
    let (_, rest) = head.split_once(r#""timestamp":""#)?;
    OffsetDateTime::parse(rest.split_once('"')?.0, &Rfc3339).ok()
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
