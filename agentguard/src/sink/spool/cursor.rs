//! The cursor file: up to where records were delivered.
//!
//! It is written in place, twenty bytes at once, so that a full disk does not matter.
//! One that cannot be read, or whose CRC does not fit, counts as none: then the oldest
//! records are delivered again.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::SpoolError;

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The number of the segment.
    pub(super) segment: u64,
    /// The offset in it, in bytes.
    pub(super) offset: u64,
}

/// The file.
#[derive(Debug)]
pub(super) struct Cursor {
    path: PathBuf,
    file: File,
}

impl Cursor {
    /// Opens the cursor of a directory, and makes it where there is none.
    pub(super) fn open(directory: &Path) -> Result<Self, SpoolError> {
        let path = directory.join("cursor");
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(SpoolError::io("open", &path))?;
        let cursor = Self { path, file };
        if cursor.read().is_none() {
            // It has its room on the disk from now on. Where there is none, it may have
            // some later.
            let _ = cursor.write(Place { segment: 0, offset: 0 });
        }
        Ok(cursor)
    }

    /// The place that was noted last.
    pub(super) fn read(&self) -> Option<Place> {
        let mut bytes = [0; 20];
        self.file.read_exact_at(&mut bytes, 0).ok()?;
        let (place, crc) = bytes.split_first_chunk::<16>()?;
        if crc32fast::hash(place).to_le_bytes() != *crc {
            return None;
        }
        let (segment, rest) = place.split_first_chunk::<8>()?;
        let offset = u64::from_le_bytes(*rest.first_chunk::<8>()?);
        Some(Place { segment: u64::from_le_bytes(*segment), offset })
    }

    /// Notes a place.
    pub(super) fn write(&self, place: Place) -> Result<(), SpoolError> {
        let mut bytes = Vec::with_capacity(20);
        bytes.extend(place.segment.to_le_bytes());
        bytes.extend(place.offset.to_le_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        self.file.write_all_at(&bytes, 0).map_err(SpoolError::io("write", &self.path))
    }
}
