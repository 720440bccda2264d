//! Segments in any order, rulings, and names.

use proptest::prelude::*;

use super::*;

const STRICT: u8 = dns::CHECKED | dns::TLS_STRICT;

#[test]
fn segments_bring_what_was_not_read() {
    let mut watch = Watch::zeroed();
    watch.begin(u32::MAX - 1);
    assert_eq!(watch.brings(u32::MAX - 1, 10), Brings::Behind(0));
    watch.feed(10);
    assert_eq!(watch.next, 8);
    assert_eq!(watch.brings(u32::MAX - 1, 10), Brings::Nothing);
    assert_eq!(watch.brings(3, 10), Brings::Behind(5));
    assert_eq!(watch.brings(8, 0), Brings::Nothing);
    assert_eq!(watch.brings(9, 1), Brings::Gap);
}

#[test]
fn what_shows_no_name_follows_the_switch() {
    let denied = |reason| Ruling { verdict: Verdict::Deny, reason, rule: RULE_NONE };
    let told = |reason| Ruling { verdict: Verdict::Audit, reason, rule: RULE_NONE };
    let no_name = Hello { name_len: 0, flags: flag::NO_NAME, end: 9 };
    for (outcome, reason) in [
        (Outcome::NotTls, Reason::NotTls),
        (Outcome::Malformed, Reason::Malformed),
        (Outcome::Done(no_name), Reason::NoSni),
    ] {
        assert_eq!(next(outcome, false, 443, STRICT), Next::Ruled(denied(reason)));
        assert_eq!(next(outcome, false, 443, dns::CHECKED), Next::Ruled(told(reason)));
    }
    // Other protocols have other ports.
    assert_eq!(next(Outcome::NotTls, false, 22, STRICT), Next::Clear);
    // Behind a hello comes something else, as a rule.
    assert_eq!(next(Outcome::NotTls, true, 443, STRICT), Next::Clear);
    assert_eq!(next(Outcome::Malformed, true, 443, STRICT), Next::Ruled(denied(Reason::Malformed)));
    assert_eq!(next(Outcome::NeedMore, false, 443, STRICT), Next::More);
}

#[test]
fn a_name_that_is_not_allowed_is_refused_whatever_the_switch_says() {
    let allow = Answer::raw(Verdict::Allow as u8, Reason::Rule, 4);
    let deny = Answer::raw(Verdict::Deny as u8, Reason::Default, 0);
    for bits in [dns::CHECKED, STRICT] {
        for flags in [0, flag::ECH, flag::EARLY_DATA] {
            assert_eq!(named(deny, flags, bits).reason, Reason::Sni);
            assert!(!named(deny, flags, bits).verdict.passes());
        }
        assert_eq!(named(allow, flag::FRAGMENTED, bits), allow.or_closed());
        for hidden in [flag::ECH, flag::EARLY_DATA] {
            let ruling = named(allow, hidden, bits);
            assert_eq!((ruling.reason, ruling.verdict.passes()), (Reason::Hidden, bits != STRICT));
        }
        assert!(!named(Answer::NONE, 0, bits).verdict.passes());
    }
}

proptest! {
    /// However a stream is cut and sent again, every byte is read once and in order.
    #[test]
    fn every_byte_is_read_once(
        first in any::<u32>(),
        total in 1u32..3000,
        sends in proptest::collection::vec((0u32..3200, 0u32..900), 0..60),
    ) {
        let mut watch = Watch::zeroed();
        watch.begin(first);
        for (at, len) in sends {
            let len = len.min(total.saturating_sub(at));
            let read = watch.fed;
            match watch.brings(first.wrapping_add(at), len) {
                Brings::Gap => prop_assert!(at > read),
                Brings::Nothing => prop_assert!(at + len <= read || len == 0),
                Brings::Behind(skip) => {
                    prop_assert_eq!(at + skip, read);
                    watch.feed(len - skip);
                    prop_assert_eq!(watch.fed, at + len);
                }
            }
            prop_assert_eq!(watch.next, first.wrapping_add(watch.fed));
        }
    }
}
