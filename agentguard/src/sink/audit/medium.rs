//! What the audit log is written to: a file, and in tests a disk that fills up.

use std::fs::File;
use std::io::{self, Write as _};

/// Something that can be appended to, and cut off.
pub(super) trait Medium: Send {
    /// Appends all of it, or fails having appended a part.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts it off at a length in bytes.
    fn cut(&mut self, len: u64) -> io::Result<()>;
    /// What to put on the disk, where there is something.
    fn handle(&self) -> Option<File>;
}

impl Medium for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn handle(&self) -> Option<File> {
        self.try_clone().ok()
    }
}
