//! What the rules say of a file, as one number: where a file has several paths, or several
//! rights are needed, what counts is found by comparing numbers, and the kernel's verifier
//! has no cases to tell apart.

use crate::path::Right;
use crate::verdict::{RULE_NONE, Reason, Ruling, Verdict};

/// A ruling. From the highest bits on: whether it is more than a section's default, the
/// verdict, the reason, the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said(pub u64);

const SPOKEN: u64 = 1 << 48;
const VERDICT: u32 = 40;
const REASON: u32 = 32;

impl Said {
    /// Nothing speaks against it.
    pub const NOTHING: Self = Self((Reason::Default as u64) << REASON);

    /// What a right says.
    #[inline(always)]
    #[must_use]
    pub const fn of(right: Right) -> Self {
        let rule = right.0 & Right::RULE_MAX;
        let verdict = (right.0 >> 24) as u64;
        if rule == RULE_NONE {
            return Self(verdict << VERDICT | (Reason::Default as u64) << REASON);
        }
        Self(SPOKEN | verdict << VERDICT | (Reason::Rule as u64) << REASON | rule as u64)
    }

    /// A refusal that no rule asked for.
    #[inline(always)]
    #[must_use]
    pub const fn closed(reason: Reason) -> Self {
        Self(SPOKEN | (Verdict::Deny as u64) << VERDICT | (reason as u64) << REASON)
    }

    /// A refusal that follows from a rule, or from a default.
    #[inline(always)]
    #[must_use]
    pub const fn closed_by(reason: Reason, right: Right) -> Self {
        Self(Self::closed(reason).0 | (right.0 & Right::RULE_MAX) as u64)
    }

    /// What holds where both are needed: a refusal before a permission, and of two refusals
    /// the one that a rule asks for.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    const fn rank(self) -> u64 {
        (!self.passes() as u64) << 63 | self.0 >> VERDICT
    }

    /// What holds of two paths of one file: what a rule says comes before a default, and then
    /// the stricter.
    #[inline(always)]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        if other.0 >> VERDICT > self.0 >> VERDICT { other } else { self }
    }

    /// Whether the deed goes on.
    #[inline(always)]
    #[must_use]
    pub const fn passes(self) -> bool {
        (self.0 >> VERDICT & 0xff) < Verdict::Ask as u64
    }

    /// Whether somebody is to be asked.
    #[inline(always)]
    #[must_use]
    pub const fn asks(self) -> bool {
        self.verdict() == Verdict::Ask as u8
    }

    /// What became of that.
    #[inline(always)]
    #[must_use]
    pub const fn answered(self, held: crate::hold::Held) -> Self {
        let verdict = if held.passes() { Verdict::Allow } else { Verdict::Deny };
        let reason = held.reason() as u64;
        let rule = self.rule() as u64;
        Self(SPOKEN | (verdict as u64) << VERDICT | reason << REASON | rule)
    }

    /// The number of its [`Reason`].
    #[inline(always)]
    #[must_use]
    pub const fn reason(self) -> u8 {
        (self.0 >> REASON & 0xff) as u8
    }

    /// The number of its [`Verdict`].
    #[inline(always)]
    #[must_use]
    pub const fn verdict(self) -> u8 {
        (self.0 >> VERDICT & 0xff) as u8
    }

    /// The number of its rule.
    #[inline(always)]
    #[must_use]
    pub const fn rule(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }

    /// As others have it; closed where it is broken.
    #[must_use]
    pub fn ruling(self) -> Ruling {
        match (Verdict::from_u8(self.verdict()), Reason::from_u8(self.reason())) {
            (Some(verdict), Some(reason)) => Ruling { verdict, reason, rule: self.rule() },
            _ => Ruling::closed(Reason::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;

    const ALLOW: Right = Right::new(Verdict::Allow, 7);
    const DENY: Right = Right::new(Verdict::Deny, 9);

    #[test]
    fn a_rule_comes_before_a_default_and_the_stricter_first() {
        let default = Said::of(Right::new(Verdict::Deny, 0));
        let closed = Said::closed(Reason::Limit);
        for (one, other, expected) in [
            (Said::of(ALLOW), Said::of(DENY), Said::of(DENY)),
            (Said::of(ALLOW), default, Said::of(ALLOW)),
            (Said::NOTHING, default, default),
            (Said::of(ALLOW), closed, closed),
            (Said::NOTHING, Said::of(ALLOW), Said::of(ALLOW)),
        ] {
            assert_eq!(one.and(other), expected);
            assert_eq!(other.and(one), expected);
        }
    }

    #[test]
    fn where_both_are_needed_one_refusal_is_enough() {
        let default = Said::of(Right::new(Verdict::Deny, 0));
        for (one, other, expected) in [
            (Said::of(ALLOW), default, default),
            (Said::NOTHING, Said::of(ALLOW), Said::of(ALLOW)),
            (default, Said::of(DENY), Said::of(DENY)),
        ] {
            assert_eq!(one.with(other), expected);
            assert_eq!(other.with(one), expected);
        }
    }

    proptest! {
        #[test]
        fn it_says_what_the_right_says(number in any::<u32>()) {
            let right = Right(number);
            let said = Said::of(right);
            match Verdict::from_u8((number >> 24) as u8) {
                Some(verdict) => {
                    prop_assert_eq!(said.ruling(), right.ruling());
                    prop_assert_eq!(said.passes(), verdict.passes());
                }
                // A byte that is no verdict lets nothing through.
                None => prop_assert!(!said.passes()),
            }
        }
    }
}
