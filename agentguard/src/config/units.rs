//! Values with a unit: sizes (`64MiB`) and times (`7d`, `90s`).

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// A size in bytes, written with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// A length of time, written with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(pub Duration);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let size = ByteSize::from_str(&text).ok().filter(|size| size.as_u64() > 0);
        let wrong = || D::Error::custom("no size\n  = write a number and a unit, such as 64MiB");
        size.map(|size| Self(size.as_u64())).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let period = humantime::parse_duration(&text).ok().filter(|period| !period.is_zero());
        let wrong = || {
            D::Error::custom("no length of time\n  = write a number and a unit, such as 90s or 7d")
        };
        period.map(Self).ok_or_else(wrong)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "A size with its unit.", "examples": ["64MiB"] })
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "A length of time with its unit.", "examples": ["90s", "7d"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(text: &str) -> Option<u64> {
        serde_json::from_value::<Size>(text.into()).ok().map(|size| size.0)
    }

    fn period(text: &str) -> Option<u64> {
        serde_json::from_value::<Period>(text.into()).ok().map(|period| period.0.as_secs())
    }

    #[test]
    fn units_are_read() {
        assert_eq!(size("64MiB"), Some(64 << 20));
        assert_eq!(size("1 GB"), Some(1_000_000_000));
        assert_eq!(period("7d"), Some(7 * 86_400));
        assert_eq!(period("1h 30m"), Some(5_400));
        for bad in ["", "x", "-1MiB", "0MiB", "64 parsecs"] {
            assert_eq!(size(bad), None, "{bad}");
        }
        for bad in ["", "7", "-1s", "0s", "1 fortnight"] {
            assert_eq!(period(bad), None, "{bad}");
        }
    }
}
