//! Times: what the kernel's clock says, as events have it.

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const RFC3339: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z");

/// A time as events have it.
pub(super) fn written(time: OffsetDateTime) -> String {
    time.format(RFC3339).unwrap_or_default()
}

/// The time of day of a time since boot.
pub(super) fn wall_clock(boot: u64) -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    let ago = i128::from(now_since_boot()) - i128::from(boot);
    let ago = i64::try_from(ago).unwrap_or(0);
    now.checked_sub(time::Duration::nanoseconds(ago)).unwrap_or(now)
}

/// The time of day as events have it.
#[must_use]
pub fn timestamp() -> String {
    written(OffsetDateTime::now_utc())
}

/// Nanoseconds since 1970.
#[must_use]
pub fn now() -> u64 {
    u64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos()).unwrap_or(0)
}

/// Nanoseconds since boot, suspension included, as records have them.
#[must_use]
pub fn now_since_boot() -> u64 {
    let Ok(time) = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME) else { return 0 };
    let nanoseconds = time.tv_sec().saturating_mul(1_000_000_000).saturating_add(time.tv_nsec());
    u64::try_from(nanoseconds).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_since_boot_becomes_the_time_of_day() {
        let boot = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).unwrap();
        let boot = u64::try_from(boot.tv_sec() * 1_000_000_000 + boot.tv_nsec()).unwrap();
        let off = (wall_clock(boot) - OffsetDateTime::now_utc()).abs();
        assert!(off < time::Duration::milliseconds(100), "{off}");
    }
}
