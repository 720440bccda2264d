//! Lengths of time and amounts of bytes, as people write them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, Error as _};

/// A length of time: `30s`, `5m`, `1h`, `2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
pub struct Span(#[schemars(with = "String")] pub Duration);

/// An amount of bytes: `512KiB`, `64MiB`, `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
pub struct Bytes(#[schemars(with = "String")] pub u64);

impl Span {
    /// In milliseconds.
    #[must_use]
    pub fn millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map(Self).map_err(|_| {
            D::Error::custom(
                "no length of time\n  = write a number and a unit, like 30s, 5m, 1h or 2d",
            )
        })
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse::<bytesize::ByteSize>().map(|size| Self(size.as_u64())).map_err(|_| {
            D::Error::custom(
                "no amount of bytes\n  = write a number and a unit, like 512KiB, 64MiB or 1GiB",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str) -> Result<Span, serde_saphyr::Error> {
        serde_saphyr::from_str(text)
    }

    fn bytes(text: &str) -> Result<Bytes, serde_saphyr::Error> {
        serde_saphyr::from_str(text)
    }

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for (text, seconds) in [("30s", 30), ("5m", 300), ("1h 30m", 5400), ("2d", 172_800)] {
            assert_eq!(span(text).unwrap(), Span(Duration::from_secs(seconds)), "{text}");
        }
        for (text, size) in [("512KiB", 512 << 10), ("64 MiB", 64 << 20), ("1GiB", 1 << 30)] {
            assert_eq!(bytes(text).unwrap(), Bytes(size), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_with_an_example() {
        for text in ["soon", "-1s", "", "5 parsecs"] {
            assert!(span(text).is_err(), "{text}");
        }
        assert!(span("soon").unwrap_err().to_string().contains("30s"));
        assert!(bytes("much").unwrap_err().to_string().contains("64MiB"));
    }
}
