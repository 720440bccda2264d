//! The chain: how a line of the audit log is made, and how one is read.
//!
//! ```text
//! {"seq":7,"prev":"HASH","time":"…","kind":"event","entry":{…},"hash":"HASH"}
//! ```
//!
//! `hash` is the SHA-256 of the line's own bytes before `,"hash"`. `prev`, the hash of the
//! line before, is among those bytes, so each hash covers all lines so far. The bytes of
//! the file are what counts: no form has to be agreed on, and no parser comes in between.

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::hex;

/// What stands between a line's content and its hash.
const BEFORE_HASH: &str = ",\"hash\":\"";
/// What the line ends with, after its hash.
const END: &str = "\"}";
/// Digits of a hash.
const DIGITS: usize = 64;

/// A line's place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number; the first line is 1.
    pub seq: u64,
    /// Its hash, in hexadecimal digits.
    pub hash: String,
}

/// Sorts of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// A daemon began to write: which log and key these are.
    Opened,
    /// The first line of a file that goes on with an earlier one.
    Continued,
    /// An event, as the other logs have it.
    Event,
    /// A signature over all lines so far.
    Checkpoint,
    /// The end of the file could not be read, and was cut off.
    Mended,
    /// Entries could not be written.
    Lost,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Continued => "continued",
            Self::Event => "event",
            Self::Checkpoint => "checkpoint",
            Self::Mended => "mended",
            Self::Lost => "lost",
        }
    }
}

impl Head {
    /// Before the first line.
    pub(super) fn before_all() -> Self {
        Self { seq: 0, hash: "0".repeat(DIGITS) }
    }

    /// The beginning of the line that comes next, up to the value of `entry`.
    pub(super) fn begin(&self, time: &str, kind: Kind) -> String {
        let (seq, prev, kind) = (self.seq.saturating_add(1), &self.hash, kind.name());
        format!(r#"{{"seq":{seq},"prev":"{prev}","time":"{time}","kind":"{kind}","entry":"#)
    }

    /// The line with that beginning, complete with its end, and its place.
    pub(super) fn finish(&self, mut line: String) -> (String, Self) {
        let hash = hex(&Sha256::digest(line.as_bytes()));
        line.push_str(BEFORE_HASH);
        line.push_str(&hash);
        line.push_str(END);
        line.push('\n');
        (line, Self { seq: self.seq.saturating_add(1), hash })
    }

    /// The next line with an entry that is JSON already, and its place.
    pub(super) fn line(&self, time: &str, kind: Kind, entry: &str) -> (String, Self) {
        let mut line = self.begin(time, kind);
        line.push_str(entry);
        self.finish(line)
    }
}

/// A line that was read.
pub(super) struct Line<'l> {
    pub(super) place: Head,
    pub(super) prev: String,
    pub(super) kind: Kind,
    pub(super) entry: &'l str,
    /// The bytes that the hash is of.
    pub(super) content: &'l str,
}

/// Why a line is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// It does not have the form of a line.
    Form,
    /// Its content is not what its hash was made of.
    Hash,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members<'l> {
    seq: u64,
    prev: String,
    #[serde(rename = "time")]
    _time: String,
    kind: Kind,
    #[serde(borrow)]
    entry: &'l RawValue,
    #[serde(rename = "hash")]
    _hash: String,
}

impl<'l> Line<'l> {
    /// Reads a line, without its end.
    pub(super) fn read(bytes: &'l [u8]) -> Result<Self, Bad> {
        let text = std::str::from_utf8(bytes).map_err(|_| Bad::Form)?;
        let (content, hash) = split(text).ok_or(Bad::Form)?;
        let members: Members<'_> = serde_json::from_str(text).map_err(|_| Bad::Form)?;
        if hex(&Sha256::digest(content.as_bytes())) != hash {
            return Err(Bad::Hash);
        }
        Ok(Self {
            place: Head { seq: members.seq, hash: hash.to_owned() },
            prev: members.prev,
            kind: members.kind,
            entry: members.entry.get(),
            content,
        })
    }
}

/// The content and the hash of a line.
fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_suffix(END)?;
    let (rest, hash) = text.split_at_checked(text.len().checked_sub(DIGITS)?)?;
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let content = rest.strip_suffix(BEFORE_HASH)?;
    hash.bytes().all(digit).then_some((content, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_made() {
        let (line, place) = Head::before_all().line("t", Kind::Event, r#"{"a":1}"#);
        let read = Line::read(line.trim_end().as_bytes()).ok().unwrap();
        assert_eq!((&read.place, read.kind, read.entry), (&place, Kind::Event, r#"{"a":1}"#));
        assert_eq!(read.prev, Head::before_all().hash);
        let (next, second) = place.line("t", Kind::Lost, "{}");
        let read = Line::read(next.trim_end().as_bytes()).ok().unwrap();
        assert_eq!((read.prev, read.place), (place.hash, second));
    }

    #[test]
    fn every_changed_byte_of_a_line_shows() {
        let (line, _) = Head::before_all().line("t", Kind::Event, r#"{"a":1}"#);
        let line = line.trim_end().as_bytes();
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut changed = line.to_owned();
                changed[at] ^= 1 << bit;
                assert!(Line::read(&changed).is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn the_hash_is_the_one_that_other_tools_compute() {
        let (line, place) = Head::before_all().line("t", Kind::Lost, "{}");
        let content = line.split(",\"hash\"").next().unwrap();
        assert_eq!(place.hash, hex(&Sha256::digest(content)));
    }
}
