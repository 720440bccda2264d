//! Numbers that the kernel's verifier is to know nothing about.
//!
//! It walks on from every way that a search can end, for as long as it knows that they
//! ended differently. Where only the outcome counts, it is made to forget the rest, and
//! walks on once.
//!
//! And numbers that the compiler is to know nothing about: it takes a check away that it
//! can show to be needless, though the verifier, which sees less, cannot do without.

#[cfg(target_arch = "bpf")]
use core::arch::asm;

use crate::net::Address;

/// The same address.
#[inline(always)]
#[must_use]
pub fn address(address: Address, noise: u64) -> Address {
    Address { high: number(address.high, noise), low: number(address.low, noise) }
}

/// The same number, of which the verifier knows no more than of `noise`, which should
/// come from a map.
#[cfg(target_arch = "bpf")]
#[inline(always)]
#[must_use]
pub fn number(value: u64, noise: u64) -> u64 {
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
#[must_use]
pub const fn number(value: u64, _: u64) -> u64 {
    value
}

/// The number, cut to a mask. To be used as an index where it is known to be below the mask
/// anyway.
#[cfg(target_arch = "bpf")]
#[inline(always)]
#[must_use]
pub fn cut(value: u32, mask: u32) -> usize {
    let mut value = u64::from(value);
    // SAFETY: does nothing. Not even that is not enough: the kernel wants an instruction for
    // every line of ours.
    unsafe { asm!("{value} = {value}", value = inout(reg) value, options(nomem, nostack)) };
    (value & u64::from(mask)) as usize
}

/// See the other one.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
#[must_use]
pub const fn cut(value: u32, mask: u32) -> usize {
    (value & mask) as usize
}
