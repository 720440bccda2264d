//! Rulings remembered: the same destinations are asked for again and again, and
//! one look-up is cheaper than the search.
//!
//! A remembered ruling can never be stale: with it stands the whole question, and in
//! that the tag of the policy, which is taken from the hash of the file, so another
//! policy, or another version of one, asks other questions.
//!
//! Each CPU has places of its own, and a question has one place among them, where the
//! next question for that place takes over. A kernel's hash would serve as well, and
//! takes twice as long.

use bytemuck::{Pod, Zeroable};

use crate::Verdict;
use crate::net::{Address, Destination, Protocols};
use crate::verdict::{Reason, Ruling};

/// How many rulings a CPU remembers at the most, a power of two.
pub const PLACES: u32 = 4096;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct Question {
    policy: u64,
    address: Address,
    /// Port and protocol.
    rest: u64,
}

impl Question {
    /// The question whether the policy with this tag lets something through.
    #[inline(always)]
    #[must_use]
    pub const fn new(policy: u64, to: Destination, protocol: Protocols) -> Self {
        let rest = (to.port as u64) << 8 | protocol.0 as u64;
        Self { policy, address: to.address, rest }
    }

    /// Something else than 0 where the two differ. In one number, because to the kernel's
    /// verifier each comparison is a fork in the road.
    #[inline(always)]
    #[must_use]
    pub const fn difference(&self, other: &Self) -> u64 {
        (self.policy ^ other.policy)
            | (self.address.high ^ other.address.high)
            | (self.address.low ^ other.address.low)
            | (self.rest ^ other.rest)
    }

    /// Its place, below [`PLACES`]. Who finds questions that share one makes his own
    /// connections slower.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "shifted below the number of places")]
    pub const fn place(&self) -> u32 {
        // Odd numbers without a pattern: the golden ratio's, and two primes of xxHash.
        let mixed = self.policy
            ^ self.address.high.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ self.address.low.wrapping_mul(0xc2b2_ae3d_27d4_eb4f)
            ^ self.rest.wrapping_mul(0x1656_67b1_9e37_79f9);
        let mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (u64::BITS - PLACES.trailing_zeros())) as u32
    }
}

/// A place: what was asked there, and what the ruling was.
///
/// A hook that reads or writes can be preempted on its CPU by one that writes. So `turn`
/// is odd while someone writes and another number afterwards, and who finds it changed
/// has read nothing; `busy` keeps writers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Place {
    /// Counted up before and after each writing.
    pub turn: u64,
    /// 1 while someone writes.
    pub busy: u64,
    /// What was asked.
    pub question: Question,
    /// What the ruling was.
    pub answer: Answer,
}

/// What the ruling was, in one number: the rule, and above it verdict and reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Answer(pub u64);

impl Answer {
    /// The number for no ruling.
    pub const NONE: Self = Self(u64::MAX);

    /// The number for a ruling.
    #[inline(always)]
    #[must_use]
    pub const fn of(ruling: Ruling) -> Self {
        Self::raw(ruling.verdict as u8, ruling.reason, ruling.rule)
    }

    /// The number for a verdict's byte, which may be none.
    #[inline(always)]
    #[must_use]
    pub const fn raw(verdict: u8, reason: Reason, rule: u32) -> Self {
        Self(rule as u64 | (verdict as u64) << 32 | (reason as u64) << 40)
    }

    /// The ruling, or for what is none a denial.
    #[inline(always)]
    #[must_use]
    pub const fn or_closed(self) -> Ruling {
        match self.ruling() {
            Some(ruling) => ruling,
            None => Ruling::closed(Reason::NoPolicy),
        }
    }

    /// Whether there is a ruling whose reason is that nothing spoke of it.
    #[inline(always)]
    #[must_use]
    pub const fn is_default(self) -> bool {
        self.0 >> 40 == Reason::Default as u64
    }

    /// Whether somebody is to be asked.
    #[inline(always)]
    #[must_use]
    pub const fn asks(self) -> bool {
        self.0 >> 32 & 0xff == Verdict::Ask as u64
    }

    /// Whether it is to be remembered: not what came of a broken table, which may be
    /// mended.
    #[inline(always)]
    #[must_use]
    pub const fn lasts(self) -> bool {
        let reason = self.0 >> 40;
        reason == Reason::Rule as u64 || reason == Reason::Default as u64
    }

    /// The ruling; `None` for a number that is none.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the parts of the number")]
    pub const fn ruling(self) -> Option<Ruling> {
        if self.0 >> 48 != 0 {
            return None;
        }
        let (verdict, reason) = ((self.0 >> 32) as u8, (self.0 >> 40) as u8);
        match (Verdict::from_u8(verdict), Reason::from_u8(reason)) {
            (Some(verdict), Some(reason)) => Some(Ruling { verdict, reason, rule: self.0 as u32 }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ruling_comes_back_as_it_was() {
        for verdict in [Verdict::Allow, Verdict::Audit, Verdict::Ask, Verdict::Deny, Verdict::Kill]
        {
            for (reason, lasts) in [
                (Reason::Rule, true),
                (Reason::Default, true),
                (Reason::NoPolicy, false),
                (Reason::Malformed, false),
            ] {
                let ruling = Ruling { verdict, reason, rule: u32::MAX };
                let answer = Answer::of(ruling);
                assert_eq!((answer.ruling(), answer.lasts()), (Some(ruling), lasts));
            }
        }
        for none in [5 << 32, 99 << 40, 1 << 48, u64::MAX] {
            assert_eq!(Answer(none).ruling(), None, "{none:x}");
        }
    }

    #[test]
    fn places_are_spread() {
        let mut taken = [false; PLACES as usize];
        for number in 0..PLACES {
            let to = Destination { address: Address::v4(0x0a00_0000 + number), port: 443 };
            taken[Question::new(7, to, Protocols::TCP).place() as usize] = true;
        }
        // 63 of 100 places, where they are taken at random.
        assert!(taken.iter().filter(|taken| **taken).count() > 2400);
    }

    #[test]
    fn every_part_of_a_question_counts() {
        let to = Destination { address: Address::v4(1), port: 2 };
        let question = Question::new(3, to, Protocols::TCP);
        let other = Destination { address: Address::v4(9), ..to };
        let differs = |other: Question| question.difference(&other) != 0;
        assert!(differs(Question::new(4, to, Protocols::TCP)));
        assert!(differs(Question::new(3, other, Protocols::TCP)));
        assert!(differs(Question::new(3, Destination { port: 9, ..to }, Protocols::TCP)));
        assert!(differs(Question::new(3, to, Protocols::UDP)));
        assert!(!differs(question));
    }
}
