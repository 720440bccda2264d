//! The names of sessions, as commands and logs have them.

/// A session's name: its number in base 36.
pub(crate) fn name(mut number: u64) -> String {
    let mut digits = Vec::new();
    while number > 0 {
        digits.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize]);
        number /= 36;
    }
    digits.iter().rev().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbers_in_base_36() {
        assert_eq!(name(35), "z");
        assert_eq!(name(36), "10");
        assert_eq!(
            u64::from_str_radix(&name(1_763_841_600_000_000), 36),
            Ok(1_763_841_600_000_000)
        );
    }
}
