//! Rulings remembered: the same destinations are asked for again and again, and
//! one look-up is cheaper than the search.
//!
//! A remembered ruling can never be stale: its key holds the tag of the policy,
//! which is taken from the hash of the file, so another policy, or another version
//! of one, has other keys.

use bytemuck::{Pod, Zeroable};

use crate::Verdict;
use crate::net::{Address, Destination, Protocols};
use crate::verdict::{Reason, Ruling};

/// How many rulings are remembered on a host; the least used make room.
pub const MAX_ANSWERS: u32 = 16_384;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct Question {
    policy: u64,
    address: Address,
    port: u16,
    protocol: u8,
    reserved: [u8; 5],
}

impl Question {
    /// The question whether the policy with this tag lets something through.
    #[inline(always)]
    #[must_use]
    pub const fn new(policy: u64, to: Destination, protocol: Protocols) -> Self {
        Self { policy, address: to.address, port: to.port, protocol: protocol.0, reserved: [0; 5] }
    }
}

/// What the ruling was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Answer {
    rule: u32,
    verdict: u8,
    reason: u8,
    reserved: u16,
}

impl Answer {
    /// What is to be remembered of a ruling: nothing of one that came of a broken
    /// table, which may be mended.
    #[inline(always)]
    #[must_use]
    pub const fn of(ruling: Ruling) -> Option<Self> {
        match ruling.reason {
            Reason::Rule | Reason::Default => Some(Self {
                rule: ruling.rule,
                verdict: ruling.verdict as u8,
                reason: ruling.reason as u8,
                reserved: 0,
            }),
            _ => None,
        }
    }

    /// The ruling; `None` for bytes that are none.
    #[inline(always)]
    #[must_use]
    pub const fn ruling(&self) -> Option<Ruling> {
        let reason = match self.reason {
            0 => Reason::Rule,
            1 => Reason::Default,
            _ => return None,
        };
        match Verdict::from_u8(self.verdict) {
            Some(verdict) => Some(Ruling { verdict, reason, rule: self.rule }),
            None => None,
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
            for (reason, kept) in [
                (Reason::Rule, true),
                (Reason::Default, true),
                (Reason::NoPolicy, false),
                (Reason::Malformed, false),
            ] {
                let ruling = Ruling { verdict, reason, rule: 7 };
                let back = Answer::of(ruling).and_then(|answer| answer.ruling());
                assert_eq!(back, kept.then_some(ruling));
            }
        }
    }

    #[test]
    fn every_part_of_a_question_counts() {
        let to = Destination { address: Address::v4(1), port: 2 };
        let question = Question::new(3, to, Protocols::TCP);
        let other = Destination { address: Address::v4(9), ..to };
        assert_ne!(question, Question::new(4, to, Protocols::TCP));
        assert_ne!(question, Question::new(3, other, Protocols::TCP));
        assert_ne!(question, Question::new(3, Destination { port: 9, ..to }, Protocols::TCP));
        assert_ne!(question, Question::new(3, to, Protocols::UDP));
    }
}
