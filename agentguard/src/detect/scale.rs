//! From how much there is to how sure it is.

use crate::policy::Confidence;

/// As sure as that, at the most, by numbers alone.
const MOST: u32 = 95;

/// `base` hundredths at the threshold, and more with every time more of it: half of what is
/// left to 95 at twice the threshold, all of it at four times.
pub(super) fn grows(base: u8, count: u32, threshold: u32) -> Confidence {
    let base = u32::from(base);
    let left = MOST.saturating_sub(base);
    let over = count.saturating_mul(100) / threshold.max(1);
    let share = match over {
        0..100 => 0,
        // Between 1 and 2 times, and between 2 and 4 times, it grows evenly.
        100..200 => (over - 100) / 2,
        200..400 => 50 + (over - 200) / 4,
        _ => 100,
    };
    Confidence::of(u8::try_from(base + left * share / 100).unwrap_or(100))
}

/// How sure several signs make that do not depend on one another: each leaves only its part
/// of the doubt.
pub(super) fn together(signs: impl IntoIterator<Item = u8>) -> Confidence {
    let doubt = signs
        .into_iter()
        .fold(10_000u32, |doubt, sign| doubt * (100 - u32::from(sign.min(100))) / 100);
    // Some doubt is always left.
    Confidence::of(u8::try_from(100 - doubt.div_ceil(100).max(1)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_from_the_base_to_the_most() {
        let at = |count| grows(60, count, 20).hundredths();
        assert_eq!([at(20), at(30), at(40), at(60), at(80), at(8000)], [60, 68, 77, 86, 95, 95]);
        let mut before = 0;
        for count in 20..200 {
            assert!(at(count) >= before, "never less for more");
            before = at(count);
        }
    }

    #[test]
    fn signs_add_up_and_never_to_certainty() {
        assert_eq!(together([50]).hundredths(), 50);
        assert_eq!(together([50, 50]).hundredths(), 75);
        assert_eq!(together([]).hundredths(), 0);
        assert!(together([90; 9]).hundredths() < 100);
    }
}
