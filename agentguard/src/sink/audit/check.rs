//! Checks a chain line by line, and says of each place where it does not hold what is
//! wrong there.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::chain::{Bad, Head, Kind, Line};
use super::key::PublicKey;

/// What stands between what a checkpoint's signature is of, and the signature.
pub(super) const BEFORE_SIGNATURE: &str = ",\"signature\":\"";

/// A place where the chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: u64,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong at a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is no line of an audit log.
    Form,
    /// It was changed: its content is not what its hash was made of.
    Changed,
    /// Lines before it are missing.
    Missing {
        /// The first of them, by number.
        from: u64,
        /// The last.
        to: u64,
    },
    /// It stands where it does not belong: it was added, repeated or moved here.
    Misplaced {
        /// Its number.
        seq: u64,
        /// The number of the line that belongs here.
        expected: u64,
    },
    /// It has the right number and does not follow the line before: one of both was
    /// replaced.
    Unlinked,
    /// It is a checkpoint with a signature that is not of these lines.
    Signature,
    /// It is a checkpoint of a key that was not given.
    UnknownKey {
        /// The key, in hexadecimal digits.
        key: String,
    },
    /// It has no end: the write was cut short here.
    Torn,
    /// The log ends here, and its last checkpoint was later.
    CutOff {
        /// The number of that checkpoint.
        last: u64,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.line)?;
        match &self.problem {
            Problem::Form => write!(f, "no line of an audit log: changed or added"),
            Problem::Changed => write!(f, "changed: the content does not fit the line's hash"),
            Problem::Missing { from, to } if from == to => {
                write!(f, "removed: entry {from} is missing before this line")
            }
            Problem::Missing { from, to } => {
                write!(f, "removed: entries {from} to {to} are missing before this line")
            }
            Problem::Misplaced { seq, expected } => {
                write!(f, "added, repeated or moved: entry {seq} stands where {expected} belongs")
            }
            Problem::Unlinked => {
                write!(f, "replaced: this line does not follow the one before it")
            }
            Problem::Signature => {
                write!(f, "bad signature: the checkpoint is not of these lines")
            }
            Problem::UnknownKey { key } => {
                write!(f, "unknown key: the checkpoint was signed by {key}")
            }
            Problem::Torn => write!(f, "torn: the last line has no end"),
            Problem::CutOff { last } => {
                write!(f, "cut off: the log ends here, and its checkpoint {last} is gone")
            }
        }
    }
}

/// What the log itself tells of what it lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: u64,
    /// What it says.
    pub says: String,
}

/// What was found out about a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Lines that were read.
    pub lines: u64,
    /// The number of the first entry; more than 1 where earlier files were not given.
    pub first: u64,
    /// The last entry.
    pub last: Option<Head>,
    /// Checkpoints whose signature holds.
    pub checkpoints: u64,
    /// Entries after the last of these: hashed, and not signed yet.
    pub unsigned: u64,
    /// Whether the last entry is the checkpoint of a daemon that stopped.
    pub stopped: bool,
    /// What the log tells of what it lacks: entries that could not be written, ends that
    /// a crash left.
    pub notes: Vec<Note>,
    /// Whether keys were given, and not taken from the log itself.
    pub trusted: bool,
    /// Where it does not hold.
    pub findings: Vec<Finding>,
}

/// Checks lines in their order.
pub struct Checker {
    /// Keys from outside.
    given: Vec<PublicKey>,
    /// Keys that the log names.
    named: BTreeSet<String>,
    /// The last line; `None` before the first.
    head: Option<Head>,
    /// Whether the next line may follow anything, as the last could not be read.
    adrift: bool,
    at: (PathBuf, u64),
    /// The last checkpoint, as it was noted elsewhere.
    kept: Option<Head>,
    report: Report,
}

#[derive(Deserialize)]
struct Opened {
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkpoint {
    key: String,
    why: String,
    signature: String,
}

impl Checker {
    /// With the keys that are trusted; with none, those that the log names are used, which
    /// shows that the log is whole and not who wrote it. `kept` is its last checkpoint, as
    /// it was noted elsewhere.
    #[must_use]
    pub fn new(keys: Vec<PublicKey>, kept: Option<Head>) -> Self {
        let report = Report { trusted: !keys.is_empty(), ..Report::default() };
        let at = (PathBuf::new(), 0);
        Self { given: keys, named: BTreeSet::new(), head: None, adrift: false, at, kept, report }
    }

    /// Checks the next line, which is given without its end.
    pub fn line(&mut self, file: &Path, number: u64, bytes: &[u8]) {
        self.at = (file.to_owned(), number);
        self.report.lines += 1;
        self.report.stopped = false;
        let line = match Line::read(bytes) {
            Ok(line) => line,
            Err(bad) => {
                let problem = if bad == Bad::Hash { Problem::Changed } else { Problem::Form };
                self.found(problem);
                // What it was is not known; it may have been one of ours.
                self.adrift = true;
                return;
            }
        };
        self.place(&line);
        self.adrift = false;
        if self.kept.as_ref().is_some_and(|kept| kept.seq == line.place.seq && *kept != line.place)
        {
            self.found(Problem::Unlinked);
        }
        self.report.unsigned += 1;
        self.entry(&line);
        self.head = Some(line.place);
    }

    /// A last line without an end.
    pub fn torn(&mut self, file: &Path, number: u64) {
        self.at = (file.to_owned(), number);
        self.report.stopped = false;
        self.found(Problem::Torn);
    }

    /// The result.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let last = self.head.as_ref().map_or(0, |head| head.seq);
        if let Some(kept) = self.kept.as_ref().map(|kept| kept.seq).filter(|kept| *kept > last) {
            self.found(Problem::CutOff { last: kept });
        }
        self.report.last = self.head;
        self.report
    }

    fn found(&mut self, problem: Problem) {
        let (file, line) = self.at.clone();
        self.report.findings.push(Finding { file, line, problem });
    }

    /// Whether a line follows the one before it.
    fn place(&mut self, line: &Line<'_>) {
        let seq = line.place.seq;
        let Some(head) = self.head.clone() else {
            self.report.first = seq;
            // A log begins with its first entry; a file of it, with a line that says so.
            let begins = seq == 1 && line.prev == Head::before_all().hash;
            if !begins && line.kind != Kind::Continued && !self.adrift {
                self.found(Problem::Missing { from: 1, to: seq.saturating_sub(1).max(1) });
            }
            return;
        };
        let expected = head.seq.saturating_add(1);
        if self.adrift {
            // One line at least stood between.
            if seq < expected {
                self.found(Problem::Misplaced { seq, expected });
            }
        } else if seq < expected {
            self.found(Problem::Misplaced { seq, expected });
        } else if seq > expected {
            self.found(Problem::Missing { from: expected, to: seq - 1 });
        } else if line.prev != head.hash {
            self.found(Problem::Unlinked);
        }
    }

    fn entry(&mut self, line: &Line<'_>) {
        match line.kind {
            Kind::Opened => match serde_json::from_str::<Opened>(line.entry) {
                Ok(opened) => drop(self.named.insert(opened.key)),
                Err(_) => self.found(Problem::Form),
            },
            Kind::Checkpoint => self.checkpoint(line),
            Kind::Lost => self.note("entries could not be written", line.entry),
            Kind::Mended => self.note("what stood here could not be read", line.entry),
            Kind::Continued | Kind::Event => {}
        }
    }

    fn note(&mut self, says: &str, entry: &str) {
        let (file, line) = self.at.clone();
        self.report.notes.push(Note { file, line, says: format!("{says}: {entry}") });
    }

    fn checkpoint(&mut self, line: &Line<'_>) {
        let signed = line.content.rsplit_once(BEFORE_SIGNATURE).map(|(signed, _)| signed);
        let (Ok(checkpoint), Some(signed)) =
            (serde_json::from_str::<Checkpoint>(line.entry), signed)
        else {
            return self.found(Problem::Form);
        };
        let key = PublicKey::parse(&checkpoint.key);
        let known = key.as_ref().is_some_and(|key| match self.given.is_empty() {
            true => self.named.contains(&checkpoint.key) || self.report.first > 1,
            false => self.given.contains(key),
        });
        if !known {
            return self.found(Problem::UnknownKey { key: checkpoint.key });
        }
        if !key.is_some_and(|key| key.signed(signed, &checkpoint.signature)) {
            return self.found(Problem::Signature);
        }
        self.report.checkpoints += 1;
        self.report.unsigned = 0;
        self.report.stopped = checkpoint.why == "stop";
    }
}
