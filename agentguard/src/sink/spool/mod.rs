//! A bounded queue on disk, for what a receiver could not be given yet.
//!
//! Records are appended to segment files, each framed by its length and a CRC. What
//! has been delivered is remembered in a cursor file, and segments that were delivered
//! whole are removed. A process that is killed at any byte leaves at most one torn
//! record at the end of a segment: the next one cuts it off. A record is handed out
//! again when the cursor could not be written before the end, so a receiver can meet
//! it twice, but none is skipped.
//!
//! Full means refused: what is in the queue stays, what is new is turned away. So
//! nobody can push the traces of what he did out of it by doing more.

mod cursor;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};

use cursor::{Cursor, Place};
use segment::{HEADER, Segment};

/// The size from which on a segment is closed and a new one begun, in bytes, at most:
/// in a small queue it is an eighth of the queue.
const SEGMENT: u64 = 4 << 20;
/// The largest record, in bytes.
pub(crate) const MAX_RECORD: usize = 8 << 20;

/// Why a record was not taken, or the queue not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// The queue holds as much as it may.
    #[error("the spool {directory} holds its limit of {limit} bytes\n  = bring the receiver back, or raise the sink's spool.limit", directory = directory.display())]
    Full {
        /// Where the queue is.
        directory: PathBuf,
        /// Its limit, in bytes.
        limit: u64,
    },
    /// One record is larger than any may be.
    #[error("a record of {0} bytes is larger than the spool's {MAX_RECORD}")]
    TooLarge(usize),
    /// The file system refused.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl SpoolError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// What opening an existing queue found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Records that wait for delivery.
    pub(crate) records: u64,
    /// Bytes at the ends of segments that were no whole record, and were cut off.
    pub(crate) torn: u64,
}

/// The queue. One process at a time may have it open.
#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
    limit: u64,
    /// The oldest first; the last is written to when `writer` is there.
    segments: VecDeque<Segment>,
    /// Where the next record to be delivered begins, in the first segment.
    offset: u64,
    /// The file of the last segment, once it was written to.
    writer: Option<File>,
    /// The file of the first segment, once it was read from.
    reader: Option<(u64, File)>,
    /// The number that the next segment gets.
    next: u64,
    cursor: Cursor,
}

impl Spool {
    /// Opens the queue in `directory` (made if need be, readable by its owner alone),
    /// which may take up to `limit` bytes, and mends what an earlier end left.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Io`] where the directory or a segment in it cannot be used.
    pub(crate) fn open(directory: &Path, limit: u64) -> Result<(Self, Recovered), SpoolError> {
        let failed = |error| SpoolError::io("create", directory)(error);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let mut recovered = Recovered::default();
        let mut segments = VecDeque::new();
        for number in segment::numbers(directory)? {
            let path = segment::path(directory, number);
            let (segment, torn) = Segment::mend(number, &path)?;
            recovered.torn += torn;
            segments.push_back(segment);
        }
        let next = segments.back().map_or(0, |last| last.number.saturating_add(1));
        let mut spool = Self {
            directory: directory.to_owned(),
            limit,
            segments,
            offset: 0,
            writer: None,
            reader: None,
            next,
            cursor: Cursor::open(directory)?,
        };
        spool.resume()?;
        recovered.records = spool.segments.iter().map(|segment| segment.records).sum();
        Ok((spool, recovered))
    }

    /// Goes to where the last delivery was noted.
    fn resume(&mut self) -> Result<(), SpoolError> {
        if let Some(at) = self.cursor.read() {
            while self.segments.front().is_some_and(|first| first.number < at.segment) {
                self.remove_first()?;
            }
            let directory = &self.directory;
            if let Some(first) = self.segments.front_mut().filter(|it| it.number == at.segment) {
                let path = segment::path(directory, first.number);
                // A place that is no record's begin is not believed: better twice than never.
                if first.skip_to(&path, at.offset)? {
                    self.offset = at.offset;
                }
            }
            // Numbers must not be used again while the cursor speaks of them.
            self.next = self.next.max(at.segment.saturating_add(1));
        }
        self.drop_empty()
    }

    /// Appends a record. It is on the disk when this returns.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Full`], [`SpoolError::TooLarge`], or [`SpoolError::Io`], a full
    /// disk among them; the queue is then as it was before.
    pub(crate) fn push(&mut self, payload: &[u8]) -> Result<(), SpoolError> {
        let frame = segment::frame(payload)?;
        let size = u64::try_from(frame.len()).unwrap_or(u64::MAX);
        if self.bytes().saturating_add(size) > self.limit {
            return Err(SpoolError::Full { directory: self.directory.clone(), limit: self.limit });
        }
        if self.segments.back().is_none_or(|last| last.len >= SEGMENT.min(self.limit / 8)) {
            self.writer = None;
        }
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => self.begin()?,
        };
        let Some(last) = self.segments.back_mut() else { return Ok(()) };
        let written = writer.write_all_at(&frame, last.len).and_then(|()| writer.sync_data());
        if let Err(error) = written {
            let path = segment::path(&self.directory, last.number);
            // Should this fail too, the next segment is begun; the torn rest is past
            // what this one is known to hold.
            if writer.set_len(last.len).is_ok() {
                self.writer = Some(writer);
            }
            return Err(SpoolError::io("write to", &path)(error));
        }
        last.len += size;
        last.records += 1;
        self.writer = Some(writer);
        Ok(())
    }

    /// A new segment at the end.
    fn begin(&mut self) -> Result<File, SpoolError> {
        let number = self.next;
        let path = segment::path(&self.directory, number);
        let file = segment::create(&path).map_err(SpoolError::io("create", &path))?;
        self.next = number.saturating_add(1);
        self.segments.push_back(Segment { number, len: 0, records: 0 });
        Ok(file)
    }

    /// The oldest record, which stays in the queue until [`Spool::pop`].
    ///
    /// # Errors
    ///
    /// [`SpoolError::Io`] where the segment cannot be read.
    pub(crate) fn front(&mut self) -> Result<Option<Vec<u8>>, SpoolError> {
        loop {
            self.drop_empty()?;
            let Some(first) = self.segments.front().filter(|first| first.records > 0) else {
                return Ok(None);
            };
            let path = segment::path(&self.directory, first.number);
            let file = match &self.reader {
                Some((number, file)) if *number == first.number => file,
                _ => {
                    let file = File::open(&path).map_err(SpoolError::io("open", &path))?;
                    &self.reader.insert((first.number, file)).1
                }
            };
            match segment::read(file, self.offset, first.len)
                .map_err(SpoolError::io("read", &path))?
            {
                Some(payload) => return Ok(Some(payload)),
                // Somebody changed the file under us: what is left of it has no frame.
                None => self.give_up_first(),
            }
        }
    }

    /// The oldest record was delivered, or given up.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Io`] where the cursor cannot be written; the record is gone from
    /// this queue, but a later process may find it again.
    pub(crate) fn pop(&mut self) -> Result<(), SpoolError> {
        let Some(payload) = self.front()? else { return Ok(()) };
        let size = HEADER.saturating_add(u64::try_from(payload.len()).unwrap_or(u64::MAX));
        let Some(first) = self.segments.front_mut() else { return Ok(()) };
        first.records = first.records.saturating_sub(1);
        self.offset = self.offset.saturating_add(size);
        let at = Place { segment: first.number, offset: self.offset };
        let noted = self.cursor.write(at);
        self.drop_empty()?;
        noted
    }

    /// Removes segments at the front that hold nothing more.
    fn drop_empty(&mut self) -> Result<(), SpoolError> {
        while self.segments.front().is_some_and(|first| first.records == 0) {
            self.remove_first()?;
        }
        Ok(())
    }

    fn remove_first(&mut self) -> Result<(), SpoolError> {
        self.reader = None;
        self.offset = 0;
        let Some(first) = self.segments.pop_front() else { return Ok(()) };
        if self.segments.is_empty() {
            self.writer = None;
        }
        let path = segment::path(&self.directory, first.number);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(SpoolError::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Nothing more can be read from the first segment.
    fn give_up_first(&mut self) {
        tracing::error!(directory = %self.directory.display(), "a spool segment was changed by something else; what was left in it is lost");
        if let Some(first) = self.segments.front_mut() {
            first.records = 0;
        }
    }

    /// Records that wait.
    pub(crate) fn records(&self) -> u64 {
        self.segments.iter().map(|segment| segment.records).sum()
    }

    /// Bytes on the disk, those of delivered records in half-delivered segments too.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len).sum()
    }
}
