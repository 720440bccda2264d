//! Atomic operations on map values. `core` has none for BPF targets (they are
//! declared as lacking compare-and-swap), the instructions exist since Linux 5.12.
//! On other targets, where this crate is only linted, `core`'s serve.

#[cfg(target_arch = "bpf")]
use core::arch::asm;
#[cfg(not(target_arch = "bpf"))]
use core::sync::atomic::{AtomicU64, Ordering};

/// Adds, and returns what was there before. Wraps.
///
/// # Safety
///
/// `at` must point into a live map value, aligned.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) unsafe fn fetch_add(at: *mut u64, number: u64) -> u64 {
    let mut value = number;
    // SAFETY: by the contract above; nothing but the value is touched.
    unsafe {
        asm!(
            "{value} = atomic_fetch_add((u64 *)({at} + 0), {value})",
            at = in(reg) at,
            value = inout(reg) value,
            options(nostack),
        );
    }
    value
}

/// Stores, and returns what was there before.
///
/// # Safety
///
/// As for [`fetch_add`].
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) unsafe fn swap(at: *mut u64, number: u64) -> u64 {
    let mut value = number;
    // SAFETY: by the contract above; nothing but the value is touched.
    unsafe {
        asm!(
            "{value} = xchg_64({at} + 0, {value})",
            at = in(reg) at,
            value = inout(reg) value,
            options(nostack),
        );
    }
    value
}

/// Stores `new` if `old` is there, and returns what was there before.
///
/// # Safety
///
/// As for [`fetch_add`].
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) unsafe fn exchange(at: *mut u64, old: u64, new: u64) -> u64 {
    let mut value = old;
    // SAFETY: by the contract above; nothing but the value is touched. The instruction
    // compares with this register and no other.
    unsafe {
        asm!(
            "r0 = cmpxchg_64({at} + 0, r0, {new})",
            at = in(reg) at,
            new = in(reg) new,
            inout("r0") value,
            options(nostack),
        );
    }
    value
}

/// See the other one.
///
/// # Safety
///
/// As there.
#[cfg(not(target_arch = "bpf"))]
pub(crate) unsafe fn exchange(at: *mut u64, old: u64, new: u64) -> u64 {
    // SAFETY: by the contract above.
    let place = unsafe { AtomicU64::from_ptr(at) };
    match place.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(before) | Err(before) => before,
    }
}

/// See the other one.
///
/// # Safety
///
/// As there.
#[cfg(not(target_arch = "bpf"))]
pub(crate) unsafe fn fetch_add(at: *mut u64, number: u64) -> u64 {
    // SAFETY: by the contract above.
    unsafe { AtomicU64::from_ptr(at) }.fetch_add(number, Ordering::Relaxed)
}

/// See the other one.
///
/// # Safety
///
/// As there.
#[cfg(not(target_arch = "bpf"))]
pub(crate) unsafe fn swap(at: *mut u64, number: u64) -> u64 {
    // SAFETY: by the contract above.
    unsafe { AtomicU64::from_ptr(at) }.swap(number, Ordering::AcqRel)
}
