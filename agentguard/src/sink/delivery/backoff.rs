//! How long to wait before the next try: longer each time, and never the same for two
//! senders, so that they do not all come back at once.

use std::time::Duration;

/// Before the second try.
const FIRST: Duration = Duration::from_secs(1);
/// At most so long, also where the receiver asks for more.
pub(crate) const LONGEST: Duration = Duration::from_secs(300);

/// How long to wait after that many failed tries (1 for the first), with a number
/// between 0 and 1 for chance. A receiver that said when to come back is listened to.
pub(crate) fn delay(failed: u32, asked: Option<Duration>, chance: f64) -> Duration {
    let doubled = 1_u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX);
    let longest = FIRST.saturating_mul(doubled).min(LONGEST);
    let half = longest / 2;
    let delay = half + half.mul_f64(chance.clamp(0.0, 1.0));
    asked.map_or(delay, |asked| asked.min(LONGEST).max(delay))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_doubles_up_to_the_longest() {
        let longest = [1, 2, 3, 9, 10, 64].map(|failed| delay(failed, None, 1.0).as_secs());
        assert_eq!(longest, [1, 2, 4, 256, 300, 300]);
        assert_eq!(delay(3, None, 0.0), Duration::from_secs(2));
    }

    #[test]
    fn a_receiver_that_says_when_is_listened_to_within_reason() {
        assert_eq!(delay(1, Some(Duration::from_secs(30)), 0.5), Duration::from_secs(30));
        assert_eq!(delay(1, Some(Duration::from_secs(86_400)), 0.5), LONGEST);
        assert_eq!(delay(9, Some(Duration::ZERO), 1.0), Duration::from_secs(256));
    }

    proptest! {
        #[test]
        fn it_is_always_within_half_and_whole(failed in 1_u32.., chance in 0.0..=1.0_f64) {
            let (least, most) = (delay(failed, None, 0.0), delay(failed, None, 1.0));
            let found = delay(failed, None, chance);
            prop_assert!(least <= found && found <= most && most <= LONGEST && least * 2 >= most);
        }
    }
}
