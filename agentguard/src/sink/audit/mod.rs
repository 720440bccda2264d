//! The audit log: decisions, approvals, changes of policies and lifecycle, in a file that
//! shows whether anybody changed it.
//!
//! Each line carries the hash of the one before ([`chain`]); checkpoints are signed
//! ([`key`]); what a crash left is cut off and told of ([`mend`]); [`verify`] checks all of
//! it. Enforcement does not hang on it: an entry that cannot be written is counted, and
//! the count becomes an entry as soon as writing works again.

mod chain;
mod check;
#[cfg(test)]
mod crash_tests;
mod key;
mod medium;
mod mend;
mod start;
mod sync;
#[cfg(test)]
mod tests;
mod verify;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

pub use chain::Head;
pub use check::{Checker, Finding, Note, Problem, Report};
pub use key::{PublicKey, public_path};
pub use verify::{Sources, verify};

use crate::config::AuditConfig;
use crate::event::{Class, Event, Outcome, timestamp};
use chain::Kind;
use key::Key;
use medium::Medium;
use sync::{Job, Syncer};

/// After a failed attempt to put the file aside, it may grow by so much until the next.
const RETRY: u64 = 1 << 20;

/// How the audit log is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// The key that signs.
    pub key: PathBuf,
    /// Whether decisions that allow something are entries.
    pub allowed: bool,
    /// Entries between two checkpoints, at most.
    pub entries: u32,
    /// Time between two checkpoints, at most, where there are entries.
    pub every: Duration,
    /// Size at which the file is put aside, in bytes.
    pub rotate_at: u64,
    /// How many files that were put aside are kept; `None` for all.
    pub keep: Option<usize>,
}

impl Options {
    /// As the configuration has it; `None` where there is to be no audit log. `log` is the
    /// log of events.
    #[must_use]
    pub fn of(config: &AuditConfig, log: &Path) -> Option<Self> {
        config.enabled.then(|| Self {
            path: config.path(log),
            key: config.key.clone(),
            allowed: config.allowed,
            entries: config.checkpoint.entries.get(),
            every: config.checkpoint.every.0,
            rotate_at: config.rotate_at.0,
            keep: config.keep.map(|keep| usize::try_from(keep).unwrap_or(usize::MAX)),
        })
    }
}

/// The audit log, open for writing.
pub struct Audit {
    options: Options,
    key: Key,
    file: Box<dyn Medium>,
    /// Which file that is: its device and number.
    identity: (u64, u64),
    /// The last line that is whole.
    head: Head,
    /// How long the file is up to there, in bytes.
    len: u64,
    /// Whether more than that stands in it, as a write stopped half-way.
    torn: bool,
    /// What has to be written before anything else.
    first: VecDeque<(Kind, String)>,
    /// Entries since the last checkpoint.
    unsigned: u32,
    /// When the last checkpoint was made.
    signed: Instant,
    syncer: Syncer,
    /// Whether the last checkpoint still has to be put on the disk.
    unsynced: bool,
    /// Entries that could not be written, and that no entry tells of yet.
    lost: u64,
    /// The id of the last record that an earlier daemon wrote.
    known: Option<String>,
    rotate_at: u64,
}

impl Audit {
    /// Whether an event belongs here: what was refused or would have been, lifecycle
    /// and findings.
    #[must_use]
    pub fn wants(&self, event: &Event) -> bool {
        match event.kind {
            Class::Decision => self.options.allowed || event.outcome != Outcome::Allowed,
            Class::Lifecycle | Class::Finding => true,
            Class::Activity => false,
        }
    }

    /// Writes an event, whose line is given; false when it was lost.
    pub fn event(&mut self, event: &Event, line: &str) -> bool {
        // An earlier daemon was killed after it wrote this, and before it took it out of
        // the ring buffer.
        if self.known.as_ref() == Some(&event.id) {
            return true;
        }
        let written = self.prepare() && self.write(Kind::Event, line);
        if !written {
            self.lost += 1;
            return false;
        }
        if self.unsigned >= self.options.entries {
            self.checkpoint("entries");
        }
        self.rotate_if_due();
        true
    }

    /// What is due after a while: to be called every second or so.
    pub fn tick(&mut self) {
        if !self.prepare() {
            return;
        }
        if self.unsigned > 0 && self.signed.elapsed() >= self.options.every {
            self.checkpoint("time");
        }
        // Only right behind a checkpoint: what is noted is one.
        if self.unsynced && self.unsigned == 0 {
            self.unsynced = !self.syncer.hand_over(self.job());
        }
        self.rotate_if_due();
    }

    /// The last checkpoint, when the daemon stops.
    pub fn stop(&mut self) {
        if self.prepare() {
            self.checkpoint("stop");
        }
    }

    /// Entries that could not be written, and that no entry tells of yet.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Writes what has to come first, and what was lost. False when that fails.
    fn prepare(&mut self) -> bool {
        while let Some((kind, entry)) = self.first.front().cloned() {
            if !self.write(kind, &entry) {
                return false;
            }
            self.first.pop_front();
        }
        if self.lost > 0 {
            if !self.write(Kind::Lost, &json!({ "entries": self.lost }).to_string()) {
                return false;
            }
            tracing::warn!(
                entries = self.lost,
                "the audit log is written again; entries were lost"
            );
            self.lost = 0;
        }
        true
    }

    fn write(&mut self, kind: Kind, entry: &str) -> bool {
        let (line, head) = self.head.line(&timestamp(), kind, entry);
        self.append(&line, head)
    }

    /// Signs all lines so far. Where it fails, the next entry or the next second tries
    /// again.
    fn checkpoint(&mut self, why: &str) {
        let mut line = self.head.begin(&timestamp(), Kind::Checkpoint);
        let key = self.key.public().text();
        line.push_str(&format!(r#"{{"key":"{key}","why":"{why}""#));
        let signature = self.key.sign(&line);
        line.push_str(check::BEFORE_SIGNATURE);
        line.push_str(&signature);
        line.push_str("\"}");
        let (line, head) = self.head.finish(line);
        if !self.append(&line, head) {
            return;
        }
        (self.unsigned, self.signed) = (0, Instant::now());
        let job = self.job();
        // The disk is waited for only where nothing comes after that would do it.
        self.unsynced = match why {
            "rotate" | "stop" => {
                self.syncer.wait_for(job);
                false
            }
            _ => !self.syncer.hand_over(job),
        };
    }

    /// What puts the last checkpoint on the disk.
    fn job(&self) -> Job {
        let Options { key, path, .. } = self.options.clone();
        Job { file: self.file.handle(), key, path, head: self.head.clone() }
    }

    /// Appends a line, or leaves the file as it was.
    fn append(&mut self, line: &str, head: Head) -> bool {
        if self.torn && self.file.cut(self.len).is_err() {
            return false;
        }
        self.torn = false;
        match self.file.append(line.as_bytes()) {
            Ok(()) => {
                self.len += u64::try_from(line.len()).unwrap_or(0);
                self.head = head;
                self.unsigned = self.unsigned.saturating_add(1);
                true
            }
            Err(error) => {
                if self.lost == 0 {
                    let path = self.options.path.display();
                    tracing::error!(%error, %path, "the audit log cannot be written");
                }
                self.torn = self.file.cut(self.len).is_err();
                false
            }
        }
    }

    fn rotate_if_due(&mut self) {
        if self.len < self.rotate_at {
            return;
        }
        self.checkpoint("rotate");
        if let Err(error) = self.rotate() {
            tracing::error!(%error, "the audit log cannot be put aside; it grows on");
            self.rotate_at = self.len.saturating_add(RETRY);
        }
    }
}
