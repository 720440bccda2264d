//! Amounts as policies and commands write them: `4GiB`, `200%`, `512`, `50MiB/s`.

use super::error::Problem;
use super::network::Refusal;
use super::report::quoted;

/// The units of sizes, the longest first.
const UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
/// Units of powers of ten, which memory is not counted in, and what is meant.
const DECIMAL: [(&str, &str); 7] = [
    ("TB", "TiB"),
    ("GB", "GiB"),
    ("MB", "MiB"),
    ("KB", "KiB"),
    ("kB", "KiB"),
    ("G", "GiB"),
    ("M", "MiB"),
];

/// Reads a number of bytes between two bounds.
pub(super) fn size(key: &'static str, text: &str, least: u64, most: u64) -> Result<u64, Refusal> {
    let bad = |why, mend: String| bad(key, text, why, mend);
    let decimal = DECIMAL.iter().find(|(unit, _)| text.ends_with(unit));
    if let Some((unit, meant)) = decimal {
        let number = text.strip_suffix(unit).unwrap_or_default();
        return Err(bad("is no size", format!("write {number}{meant}")));
    }
    let unit = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
    let Some((number, bytes)) = unit else {
        let mend = "write a whole number and KiB, MiB, GiB or TiB, such as 4GiB";
        return Err(bad("is no size", mend.into()));
    };
    let total = whole(number).and_then(|number| number.checked_mul(bytes));
    match total {
        _ if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(bad("is no size", "write a whole number and its unit, such as 1536MiB".into()))
        }
        Some(total) if total < least => {
            Err(bad("is too little", format!("write {} or more", size_text(least))))
        }
        Some(total) if total <= most => Ok(total),
        _ => Err(bad("is too much", format!("write {} or less", size_text(most)))),
    }
}

/// Reads a number of bytes per second: a size and `/s`.
pub(super) fn rate(key: &'static str, text: &str, least: u64, most: u64) -> Result<u64, Refusal> {
    match text.strip_suffix("/s") {
        Some(amount) => {
            let per_second = |(_, mend): Refusal| {
                bad(key, text, "is no rate that it takes", format!("{mend}, and /s behind it"))
            };
            size(key, amount, least, most).map_err(per_second)
        }
        None => Err(bad(key, text, "is no rate", "write a size and /s, such as 50MiB/s".into())),
    }
}

/// Reads a share of CPUs: 100% is one of them.
pub(super) fn percent(key: &'static str, text: &str, most: u32) -> Result<u32, Refusal> {
    let number = text.strip_suffix('%').and_then(whole).and_then(|number| number.try_into().ok());
    match number {
        Some(number @ 1..) if number <= most => Ok(number),
        Some(_) => Err(bad(key, text, "is out of range", format!("write 1% to {most}%"))),
        None => {
            let mend = "write a percentage of one CPU: 50% is half of one, 200% is two";
            Err(bad(key, text, "is no share of CPUs", mend.into()))
        }
    }
}

/// Reads a whole number between two bounds.
pub(super) fn count(key: &'static str, text: &str, least: u32, most: u32) -> Result<u32, Refusal> {
    let number = whole(text).and_then(|number| u32::try_from(number).ok());
    match number {
        Some(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(bad(key, text, "is no number that it takes", format!("write {least} to {most}"))),
    }
}

/// A number of bytes as policies have it: in the largest unit that it is a whole number of.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    let whole = UNITS.iter().find(|(_, unit)| bytes != 0 && bytes.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
}

pub(super) fn whole(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn bad(key: &'static str, text: &str, why: &'static str, mend: String) -> Refusal {
    (Problem::BadAmount { key, text: quoted(text), why }, mend)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: u64 = 1 << 50;

    #[test]
    fn amounts_that_are_none() {
        let said = |result: Result<u64, Refusal>| {
            let (problem, mend) = result.unwrap_err();
            format!("{problem} = {mend}")
        };
        for (text, told) in [
            ("4GB", "is no size = write 4GiB"),
            ("4G", "is no size = write 4GiB"),
            ("4096", "is no size = write a whole number and KiB"),
            ("1.5GiB", "is no size = write a whole number and its unit"),
            ("-1GiB", "is no size"),
            ("GiB", "is no size"),
            ("0GiB", "is too little = write 1MiB or more"),
            ("99999999999999999999GiB", "is too much"),
            ("4097TiB", "is too much = write 1024TiB or less"),
        ] {
            assert!(said(size("memory", text, 1 << 20, MOST)).contains(told), "{text}");
        }
        assert!(said(rate("io", "50MiB", 1, MOST)).contains("50MiB/s"));
        assert!(said(rate("io", "50MB/s", 1, MOST)).contains("write 50MiB, and /s behind it"));
        for text in ["", "%", "200", "0%", "999999999%", "-5%"] {
            assert!(percent("cpu", text, 100_000).is_err(), "{text}");
        }
        for text in ["", "0", "many", "9999999999", "1.0"] {
            assert!(count("pids", text, 1, 1 << 22).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn sizes_are_read_as_they_are_written(bytes in 1u64..MOST) {
            prop_assert_eq!(size("memory", &size_text(bytes), 1, MOST).unwrap(), bytes);
        }

        #[test]
        fn no_text_panics(text in ".{0,20}") {
            let _ = size("memory", &text, 1, MOST);
            let _ = rate("io", &text, 1, MOST);
            let _ = percent("cpu", &text, 100);
            let _ = count("pids", &text, 1, 9);
        }
    }
}
