//! Numbers that the kernel's verifier is to know nothing about.
//!
//! It walks on from every way that a search can end, for as long as it knows that they
//! ended differently. Where only the outcome counts, it is made to forget the rest, and
//! walks on once.

#[cfg(target_arch = "bpf")]
use core::arch::asm;

use agentguard_common::net::Address;

/// The same address.
#[inline(always)]
pub(crate) fn address(address: Address, noise: u64) -> Address {
    Address { high: number(address.high, noise), low: number(address.low, noise) }
}

/// The same number, of which the verifier knows no more than of `noise`, which should
/// come from a map.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) fn number(value: u64, noise: u64) -> u64 {
    let mut value = value;
    // SAFETY: arithmetic on registers, which cancels out.
    unsafe {
        asm!(
            "{value} ^= {noise}",
            "{value} ^= {noise}",
            value = inout(reg) value,
            noise = in(reg) noise,
            options(nomem, nostack),
        );
    }
    value
}

/// See the other one.
#[cfg(not(target_arch = "bpf"))]
pub(crate) const fn number(value: u64, _: u64) -> u64 {
    value
}
