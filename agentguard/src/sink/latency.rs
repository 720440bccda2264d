//! How long things take, as a histogram that any thread may add to without waiting.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper ends of the buckets, in nanoseconds: 10 µs to 60 s. What takes longer is
/// only in the total.
pub const BOUNDS: [u64; 12] = [
    10_000,
    50_000,
    250_000,
    1_000_000,
    5_000_000,
    25_000_000,
    100_000_000,
    500_000_000,
    2_500_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// A histogram.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

/// What was counted at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// How many took at most as long as the bound in [`BOUNDS`] at the same place.
    pub at_most: [u64; BOUNDS.len()],
    /// How many there were.
    pub count: u64,
    /// How long all of them took together, in nanoseconds.
    pub nanoseconds: u64,
}

impl Reading {
    /// Both together.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        self.at_most.iter_mut().zip(other.at_most).for_each(|(sum, more)| *sum += more);
        self.count += other.count;
        self.nanoseconds = self.nanoseconds.saturating_add(other.nanoseconds);
        self
    }
}

impl Latency {
    /// Adds one.
    pub fn observe(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|bound| *bound < nanoseconds);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Relaxed);
        }
        self.nanoseconds.fetch_add(nanoseconds, Relaxed);
    }

    /// What was counted so far.
    #[must_use]
    pub fn read(&self) -> Reading {
        let mut count = 0;
        let mut at_most = [0; BOUNDS.len()];
        for (at, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Relaxed);
            if let Some(sum) = at_most.get_mut(at) {
                *sum = count;
            }
        }
        Reading { at_most, count, nanoseconds: self.nanoseconds.load(Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_its_bucket_and_in_all_above() {
        let latency = Latency::default();
        for nanoseconds in [0, 10_000, 10_001, 60_000_000_000, 60_000_000_001] {
            latency.observe(Duration::from_nanos(nanoseconds));
        }
        let read = latency.read();
        assert_eq!((read.at_most[0], read.at_most[1]), (2, 3));
        assert_eq!((read.at_most[11], read.count), (4, 5));
        assert_eq!(read.nanoseconds, 120_000_020_002);
    }

    proptest::proptest! {
        #[test]
        fn buckets_never_fall(times in proptest::collection::vec(0_u64..100_000_000_000, 0..50)) {
            let latency = Latency::default();
            times.iter().for_each(|time| latency.observe(Duration::from_nanos(*time)));
            let read = latency.read();
            proptest::prop_assert!(read.at_most.is_sorted());
            for (bound, at_most) in BOUNDS.iter().zip(read.at_most) {
                let expected = times.iter().filter(|time| *time <= bound).count();
                proptest::prop_assert_eq!(usize::try_from(at_most).unwrap(), expected);
            }
            proptest::prop_assert_eq!(usize::try_from(read.count).unwrap(), times.len());
        }
    }
}
