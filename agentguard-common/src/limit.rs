//! Limits per time, which the kernel keeps: a bucket of tokens for each, full at the
//! beginning, that is refilled evenly. Each thing that is done takes tokens; where there are
//! not enough, it is refused, until there are again.
//!
//! A bucket is one number, the time at which it would be full again, so that several CPUs can
//! take from it at once (the generic cell rate algorithm, ITU-T I.371, annex A). In any
//! stretch of the window's length, no more than twice the amount goes through: what was in the
//! bucket, and what has come in meanwhile.

use bytemuck::{Pod, Zeroable};

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Limit {
    /// Bytes that are sent to elsewhere than this host, headers included.
    Egress = 0,
    /// Connections.
    Connections = 1,
    /// Programs that are executed.
    Execs = 2,
    /// Files that are opened to be written, or made.
    Writes = 3,
    /// Files and directories that are removed.
    Deletes = 4,
}

/// All of them, in the order of their numbers.
pub const LIMITS: [Limit; 5] =
    [Limit::Egress, Limit::Connections, Limit::Execs, Limit::Writes, Limit::Deletes];

impl Limit {
    /// Reads a limit from an event; `None` for a number that is none.
    #[must_use]
    pub fn from_u32(number: u32) -> Option<Self> {
        LIMITS.get(usize::try_from(number).ok()?).copied()
    }

    /// The word used in policies and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::Connections => "connections",
            Self::Execs => "execs",
            Self::Writes => "writes",
            Self::Deletes => "deletes",
        }
    }
}

/// The longest window, a day, in nanoseconds.
pub const WINDOW_MAX: u64 = 24 * 60 * 60 * 1_000_000_000;
/// The least that [`Limit::Egress`] can be, in bytes: more than the largest packet that the
/// kernel cuts up later.
pub const EGRESS_MIN: u64 = 1 << 20;
/// The most that any limit can be.
pub const AMOUNT_MAX: u64 = 1 << 50;

/// How many bits of a [`Rate::cost`] stand behind the point.
const FRACTION: u32 = 10;

/// So much per time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Rate {
    /// The time in which an empty bucket is filled, in nanoseconds; 0 where there is no limit.
    pub window: u64,
    /// How long one unit takes to come in, in nanoseconds, with [`FRACTION`] bits behind the
    /// point.
    cost: u64,
}

impl Rate {
    /// `amount` units in `window` nanoseconds; amounts beyond [`AMOUNT_MAX`] and windows
    /// beyond [`WINDOW_MAX`] are cut to those. An amount of 0 lets nothing through.
    #[must_use]
    pub const fn new(amount: u64, window: u64) -> Self {
        let window = if window > WINDOW_MAX { WINDOW_MAX } else { window };
        let amount = if amount > AMOUNT_MAX { AMOUNT_MAX } else { amount };
        let cost = match (window << FRACTION).checked_div(amount) {
            // A bucket is never fuller than for what would fit into it.
            Some(0) => 1,
            Some(cost) => cost,
            None => (WINDOW_MAX + 1) << FRACTION,
        };
        Self { window, cost }
    }

    /// Takes from a bucket at a time in nanoseconds; what the bucket is then, or `None` where
    /// there is not enough in it. `units` are those of one packet or one deed: below 2^20.
    #[inline(always)]
    #[must_use]
    pub const fn take(&self, bucket: u64, now: u64, units: u64) -> Option<u64> {
        // Farther off than a whole window: left by another rate, which was changed since.
        let stale = bucket.wrapping_sub(now) > self.window;
        let from = if bucket < now || stale { now } else { bucket };
        // No overflow: of bytes one takes at the most a day divided by EGRESS_MIN, 2^37 with
        // the fraction; of everything else one is taken.
        let full = from + (units.wrapping_mul(self.cost) >> FRACTION);
        if full - now > self.window { None } else { Some(full) }
    }

    /// How many units are in a bucket.
    #[must_use]
    pub const fn left(&self, bucket: u64, now: u64) -> u64 {
        let missing = bucket.saturating_sub(now);
        match (self.window.saturating_sub(missing) << FRACTION).checked_div(self.cost) {
            Some(units) => units,
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_bucket_is_emptied_and_filled_again() {
        let rate = Rate::new(3, 60 * SECOND);
        let (mut bucket, now) = (0, 1000 * SECOND);
        for left in [2, 1, 0] {
            bucket = rate.take(bucket, now, 1).unwrap();
            assert_eq!(rate.left(bucket, now), left);
        }
        assert_eq!(rate.take(bucket, now, 1), None);
        assert_eq!(rate.take(bucket, now + 19 * SECOND, 1), None);
        assert!(rate.take(bucket, now + 20 * SECOND, 1).is_some());
        assert_eq!(rate.left(bucket, now + 600 * SECOND), 3);
    }

    #[test]
    fn a_bucket_of_another_rate_begins_anew() {
        let now = 1000 * SECOND;
        let slow = Rate::new(1, 3600 * SECOND);
        let bucket = slow.take(0, now, 1).unwrap();
        assert_eq!(slow.take(bucket, now, 1), None);
        assert!(Rate::new(5, SECOND).take(bucket, now, 1).is_some());
    }

    #[test]
    fn nothing_goes_through_a_limit_of_nothing() {
        assert_eq!(Rate::new(0, SECOND).take(0, SECOND, 1), None);
        assert_eq!(Rate::new(0, WINDOW_MAX).take(0, WINDOW_MAX, 1), None);
    }

    #[test]
    fn the_largest_packet_goes_through_the_least_limit() {
        let rate = Rate::new(EGRESS_MIN, WINDOW_MAX);
        assert!(rate.take(0, 5, 512 << 10).is_some());
    }

    proptest! {
        /// In no window does more than twice the amount go through; and while something is
        /// asked for all the time, no less than the amount, but for one unit.
        #[test]
        fn so_much_and_no_more(
            amount in 1u64..5000,
            window in 1u64..1000,
            asks in proptest::collection::vec((0u64..20, 1u64..9), 1..400),
        ) {
            let window = window * 1_000_000;
            let rate = Rate::new(amount, window);
            let (mut bucket, mut now) = (0, 7 * SECOND);
            let mut taken: Vec<(u64, u64)> = Vec::new();
            for (pause, units) in asks {
                now += pause * 1_000_000;
                if let Some(next) = rate.take(bucket, now, units) {
                    prop_assert!(next >= bucket);
                    bucket = next;
                    taken.push((now, units));
                }
                let sum: u64 =
                    taken.iter().filter(|(at, _)| at + window > now).map(|(_, units)| units).sum();
                // What is behind the point is cut off for each.
                prop_assert!(sum <= 2 * amount + 1, "{sum} of {amount}");
            }
            let first: u64 = taken.iter().filter(|(at, _)| *at == 7 * SECOND).map(|(_, u)| u).sum();
            prop_assert!(first <= amount);
        }
    }
}
