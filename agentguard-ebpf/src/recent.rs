//! What was told a short while ago, so that it is not told again.

use agentguard_common::file::Told;
use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;

use crate::maps::RECENT;

/// What happens again within so many nanoseconds is not told again.
const WINDOW: u64 = 2_000_000_000;

/// Whether the same was told a short while ago; if not, it is from now on.
#[inline(always)]
pub(crate) fn was_told(key: &Told) -> bool {
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    // SAFETY: a number, copied at once.
    if unsafe { RECENT.get(key) }.is_some_and(|then| now.wrapping_sub(*then) < WINDOW) {
        return true;
    }
    // Without room for it, it is told again.
    let _ = RECENT.insert(key, now, 0);
    false
}
