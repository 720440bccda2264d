//! Reading a ring buffer, with a bound: what is put in during the reading is left
//! for the next turn, so that a flood in one buffer cannot starve the other.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use aya::maps::{Map, MapData, RingBuf};

use crate::error::{Error, Result};

/// Records taken at most before the other buffer has its turn.
const TURN: usize = 8192;

/// A ring buffer's reading end. There must be just one for each buffer.
pub struct Ring {
    ring: RingBuf<MapData>,
}

impl Ring {
    pub(super) fn new(data: &MapData) -> Result<Self> {
        let failed = |why: String| Error::Load { program: "ring buffer".into(), why };
        let fd =
            data.fd().as_fd().try_clone_to_owned().map_err(|error| failed(error.to_string()))?;
        let data = MapData::from_fd(fd).map_err(|error| failed(error.to_string()))?;
        let ring =
            RingBuf::try_from(Map::RingBuf(data)).map_err(|error| failed(error.to_string()))?;
        Ok(Self { ring })
    }

    /// A descriptor that is readable when there is something to read.
    ///
    /// # Errors
    ///
    /// Where the process has no room for another descriptor.
    pub fn watch(&self) -> std::io::Result<OwnedFd> {
        // SAFETY: the ring buffer's descriptor is open for as long as `self` lives.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }.try_clone_to_owned()
    }

    /// Hands what is there to `take`, up to a turn's worth; true when that was all.
    pub fn drain(&mut self, mut take: impl FnMut(&[u8])) -> bool {
        for _ in 0..TURN {
            match self.ring.next() {
                Some(record) => take(&record),
                None => return true,
            }
        }
        false
    }
}
