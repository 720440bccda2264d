//! Limits per time, which the kernel keeps: `200MiB/h`, `120/min`.

use std::fmt;

use agentguard_common::limit::{AMOUNT_MAX, EGRESS_MIN, LIMITS, Limit, Rate};
use serde::{Deserialize, Serialize};

use super::super::amount::{size, size_text, whole};
use super::super::error::Problem;
use super::super::network::Refusal;
use super::super::report::quoted;

/// The times that amounts can be for, and how many seconds each has. The longest names first.
const WINDOWS: [(&str, u32); 7] = [
    ("second", 1),
    ("minute", 60),
    ("hour", 3600),
    ("day", 86_400),
    ("min", 60),
    ("s", 1),
    ("h", 3600),
];
const NANOSECONDS: u64 = 1_000_000_000;

/// So much per time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// Bytes for `egress`, else a number.
    pub amount: u64,
    /// In how many seconds.
    pub seconds: u32,
}

/// Those of a policy, in the order of [`LIMITS`]; what is missing is not limited.
pub type Paces = [Option<Pace>; LIMITS.len()];

impl Pace {
    /// Reads an amount, a slash and a time.
    pub(super) fn parse(limit: Limit, text: &str) -> Result<Self, Refusal> {
        let key = limit.as_str();
        let bad =
            |why, mend: String| Err((Problem::BadAmount { key, text: quoted(text), why }, mend));
        let example = if limit == Limit::Egress { "200MiB/h" } else { "120/min" };
        let Some((amount, window)) = text.split_once('/') else {
            return bad("is no amount per time", format!("write such as {example}"));
        };
        let known = |(name, _): &&(&str, u32)| *name == window || *name == "day" && window == "d";
        let Some((_, seconds)) = WINDOWS.iter().find(known) else {
            return bad("is for no time that it takes", "write /s, /min, /h or /d".into());
        };
        let amount = if limit == Limit::Egress {
            size(key, amount, EGRESS_MIN, AMOUNT_MAX)?
        } else {
            match whole(amount) {
                Some(number) if number <= AMOUNT_MAX => number,
                _ => return bad("is no number", format!("write such as {example}")),
            }
        };
        Ok(Self { amount, seconds: *seconds })
    }

    /// As policies write it.
    pub(super) fn written(self, limit: Limit) -> String {
        let amount = match limit {
            Limit::Egress => size_text(self.amount),
            _ => self.amount.to_string(),
        };
        format!("{amount}/{}", self.window())
    }

    const fn window(self) -> &'static str {
        match self.seconds {
            1 => "s",
            60 => "min",
            3600 => "h",
            _ => "d",
        }
    }
}

/// As the kernel keeps them.
#[must_use]
pub(super) fn rates(paces: &Paces) -> [Rate; LIMITS.len()] {
    paces.map(|pace| {
        pace.map_or_else(Rate::default, |pace| {
            Rate::new(pace.amount, u64::from(pace.seconds) * NANOSECONDS)
        })
    })
}

/// The limit with that key.
pub(super) fn limit_of(key: &str) -> Option<Limit> {
    LIMITS.into_iter().find(|limit| limit.as_str() == key)
}

/// What they mean, in words.
pub(super) fn explain(out: &mut impl fmt::Write, paces: &Paces) -> fmt::Result {
    for (limit, pace) in LIMITS.into_iter().zip(paces) {
        let Some(pace) = pace else { continue };
        let what = match limit {
            Limit::Egress => "Sent to other hosts",
            Limit::Connections => "Connections",
            Limit::Execs => "Programs executed",
            Limit::Writes => "Files opened to be written",
            Limit::Deletes => "Files and directories removed",
        };
        let written = pace.written(limit);
        writeln!(out, "  {what}: {written}. Beyond it, refused, until there is more.")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_per_time_are_read_and_written() {
        for (limit, text, amount, seconds) in [
            (Limit::Egress, "200MiB/h", 200 << 20, 3600),
            (Limit::Egress, "1GiB/d", 1 << 30, 86_400),
            (Limit::Connections, "120/min", 120, 60),
            (Limit::Execs, "5/s", 5, 1),
            (Limit::Deletes, "0/d", 0, 86_400),
        ] {
            let pace = Pace::parse(limit, text).unwrap();
            assert_eq!(pace, Pace { amount, seconds }, "{text}");
            assert_eq!(pace.written(limit), text);
        }
        let long = Pace::parse(Limit::Writes, "7/hour").unwrap();
        assert_eq!(long.written(Limit::Writes), "7/h");
    }

    #[test]
    fn what_is_no_amount_per_time_is_refused() {
        for (limit, text) in [
            (Limit::Egress, "200MiB"),
            (Limit::Egress, "200/h"),
            (Limit::Egress, "1KiB/h"),
            (Limit::Egress, "1MiB/week"),
            (Limit::Connections, "many/min"),
            (Limit::Connections, "-1/min"),
            (Limit::Connections, "1MiB/min"),
            (Limit::Connections, "/min"),
        ] {
            assert!(Pace::parse(limit, text).is_err(), "{text}");
        }
    }
}
