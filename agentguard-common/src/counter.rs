//! Counters that tell a quiet hook from a blind one: for each kind of event how
//! many were seen, handed over and lost. Per CPU, summed by the reader.

use crate::event::Kind;

/// What is counted for each kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Count {
    /// The hook ran for a guarded task and had something to say.
    Seen = 0,
    /// A record was put into its ring buffer.
    Sent = 1,
    /// There was no room, or no scratch memory: the record is gone, the verdict
    /// stood.
    Lost = 2,
    /// Facts could not be read (a faulting string, an unknown family); the
    /// verdict was the closed one.
    Error = 3,
}

const KINDS_OF_COUNT: u32 = 4;

/// All of them, in the order of their numbers.
pub const COUNTS: [Count; KINDS_OF_COUNT as usize] =
    [Count::Seen, Count::Sent, Count::Lost, Count::Error];

impl Count {
    /// The word used in `doctor`, `ps` and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Sent => "sent",
            Self::Lost => "lost",
            Self::Error => "error",
        }
    }
}

/// How many counters a CPU has.
pub const SLOTS: u32 = Kind::COUNT * KINDS_OF_COUNT;

/// Where a counter stands in its map.
#[inline(always)]
#[must_use]
pub const fn slot(kind: Kind, count: Count) -> u32 {
    slot_of(kind as u16, count)
}

/// The same for the number of a kind.
#[inline(always)]
#[must_use]
pub const fn slot_of(kind: u16, count: Count) -> u32 {
    kind as u32 * KINDS_OF_COUNT + count as u32
}
