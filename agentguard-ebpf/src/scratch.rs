//! Memory for records that are longer than the 512 bytes of a program's stack.
//!
//! A hook stays on its CPU but can be preempted there by another task that enters
//! the same hook, so per-CPU memory alone is not private: each CPU has a few
//! pieces, and a hook takes one by an atomic exchange and gives it back.

use agentguard_common::{dns, event, name, resolve};

use crate::atomic;
use crate::maps::{DESKS, SCRATCH};

/// Pieces a CPU has. A hook that finds none free counts its record as lost.
pub(crate) const SLOTS: u32 = 4;
/// The bytes of a piece, see `hooks/bprm_committed_creds.rs` for the sum.
pub(crate) const BYTES: usize = 11_392;

/// One piece.
#[repr(C, align(8))]
pub(crate) struct Scratch {
    /// Never written through: on kernels up to 6.1 a faulting string read can
    /// write one byte before its destination.
    guard: u64,
    /// The memory.
    pub(crate) bytes: [u8; BYTES],
    busy: u64,
}

impl Scratch {
    /// Takes a free piece of this CPU.
    #[inline(always)]
    pub(crate) fn take() -> Option<*mut Self> {
        for slot in 0..SLOTS {
            let piece = SCRATCH.get_ptr_mut(slot)?;
            // SAFETY: the pointer is to a live map value.
            if unsafe { atomic::swap(&raw mut (*piece).busy, 1) } == 0 {
                return Some(piece);
            }
        }
        None
    }

    /// Gives a piece back.
    ///
    /// # Safety
    ///
    /// `piece` must come from [`Self::take`] and not be used afterwards.
    #[inline(always)]
    pub(crate) unsafe fn give(piece: *mut Self) {
        // SAFETY: by the contract above.
        unsafe { atomic::swap(&raw mut (*piece).busy, 0) };
    }
}

/// Where a message of the domain name system is read, and what is written about it.
#[repr(C, align(8))]
pub(crate) struct Desk {
    /// The message.
    pub(crate) bytes: [u8; dns::BYTES],
    /// The name that it asks for.
    pub(crate) key: name::Key,
    /// What the message asks for.
    pub(crate) question: dns::Question,
    /// The question, while it waits for its answer.
    pub(crate) asked: resolve::Asked,
    /// The walk through it, while it is read.
    pub(crate) walk: dns::Walk,
    /// What the last step of the walk came upon, a [`dns::Step`].
    pub(crate) step: u32,
    /// How many letters of a name have been put into the key.
    pub(crate) spelled: u32,
    /// 1 where an address was not to be learned.
    pub(crate) rebinding: u32,
    /// Which of its CPU's it is, for [`Desk::at`].
    pub(crate) number: u32,
    /// Where in its packet the next question is.
    pub(crate) at: u32,
    /// How many bytes there are from there on.
    pub(crate) left: u32,
    /// 1 once a question was refused.
    pub(crate) refused: u32,
    /// The record about it.
    pub(crate) record: event::Dns,
    busy: u64,
}

impl Desk {
    /// Takes a free one of this CPU; as [`Scratch::take`].
    #[inline(always)]
    pub(crate) fn take() -> Option<*mut Self> {
        for slot in 0..SLOTS {
            let desk = DESKS.get_ptr_mut(slot)?;
            // SAFETY: the pointer is to a live map value.
            if unsafe { atomic::swap(&raw mut (*desk).busy, 1) } == 0 {
                // SAFETY: as above, and nobody else uses it now.
                unsafe { (*desk).number = slot };
                return Some(desk);
            }
        }
        None
    }

    /// The one with a number, for functions that are handed numbers alone.
    ///
    /// # Safety
    ///
    /// It must have been taken, and nothing else be done to it meanwhile.
    #[inline(always)]
    pub(crate) unsafe fn at<'a>(number: u32) -> Option<&'a mut Self> {
        // SAFETY: a live map value, and the rest by the contract above.
        unsafe { DESKS.get_ptr_mut(number)?.as_mut() }
    }

    /// Gives one back.
    ///
    /// # Safety
    ///
    /// As for [`Scratch::give`].
    #[inline(always)]
    pub(crate) unsafe fn give(desk: *mut Self) {
        // SAFETY: by the contract above.
        unsafe { atomic::swap(&raw mut (*desk).busy, 0) };
    }
}
