//! Limits on what a session may use of the host: memory, CPU, processes, disk, time and
//! open files. Read from `limits:` of a policy, or from the command line while a session
//! runs; enforced by [`crate::session`] in the session's cgroup.

mod document;
mod host;
mod pace;

use std::collections::BTreeMap;
use std::fmt;

use agentguard_common::limit::{LIMITS, Rate};
use serde::{Deserialize, Serialize};

pub(super) use document::LimitsDocument;
pub use host::NotHere;
pub use pace::{Pace, Paces};

use super::amount::{count, percent, rate, size, size_text};
use super::dns::{duration, short};
use super::error::Problem;
use super::network::Refusal;
use super::place::{Place, Sited};
use super::report::{Report, quoted};

/// Less memory than that no program starts in.
const LEAST_MEMORY: u64 = 4 << 20;
/// More than any host has.
const MOST: u64 = 1 << 50;
/// The least rate of reading and writing: slower, and a session can hardly end.
const LEAST_RATE: u64 = 64 << 10;
/// 1,000 CPUs.
const MOST_CPU: u32 = 100_000;
/// `PID_MAX_LIMIT` of the kernel on 64-bit machines.
const MOST_PIDS: u32 = 1 << 22;
/// The kernel's own bound on open files of a process (`fs.nr_open`) is this by default.
const MOST_FILES: u32 = 1 << 20;
/// The word that takes a limit off.
const NONE: &str = "none";

/// What a session may use; what is missing is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory in bytes, swap included: none is swapped out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// CPU time per time, in percent of one CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// Tasks, threads included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// Bytes per second that are read from the workspace's disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_read: Option<u64>,
    /// Bytes per second that are written to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_write: Option<u64>,
    /// Seconds from its start to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<u32>,
    /// Open files of each process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u32>,
    /// What the kernel limits per time, in the order of [`agentguard_common::limit::LIMITS`].
    #[serde(skip_serializing_if = "no_pace")]
    pub paces: Paces,
}

fn no_pace(paces: &Paces) -> bool {
    paces.iter().all(Option::is_none)
}

/// The limits of a policy, and where each of them stands in its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsSection {
    /// The limits.
    pub limits: Limits,
    /// The place of each key that is there.
    pub places: BTreeMap<&'static str, Place>,
}

/// The keys, as the command line has them; in files, `read` and `write` stand below `io`.
const KEYS: [&str; 13] = [
    "memory",
    "cpu",
    "pids",
    "io",
    "io.read",
    "io.write",
    "runtime",
    "open_files",
    "egress",
    "connections",
    "execs",
    "writes",
    "deletes",
];

impl Limits {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What the kernel keeps, in the order of [`LIMITS`].
    #[must_use]
    pub fn rates(&self) -> [Rate; LIMITS.len()] {
        pace::rates(&self.paces)
    }

    /// Whether reading or writing is.
    #[must_use]
    pub const fn has_io(&self) -> bool {
        self.io_read.is_some() || self.io_write.is_some()
    }

    /// What these are under another policy: each that is as the old one says follows the new
    /// one, and each that somebody set otherwise stays.
    #[must_use]
    pub fn followed(&self, old: &Self, new: &Self) -> Self {
        fn one<T: PartialEq + Copy>(here: T, old: T, new: T) -> T {
            if here == old { new } else { here }
        }
        let mut paces = self.paces;
        let both = old.paces.iter().zip(&new.paces);
        for (pace, (old, new)) in paces.iter_mut().zip(both) {
            *pace = one(*pace, *old, *new);
        }
        // Once a process has a limit on its open files, nobody knows which it had before.
        let open_files = one(self.open_files, old.open_files, new.open_files);
        Self {
            memory: one(self.memory, old.memory, new.memory),
            cpu: one(self.cpu, old.cpu, new.cpu),
            pids: one(self.pids, old.pids, new.pids),
            io_read: one(self.io_read, old.io_read, new.io_read),
            io_write: one(self.io_write, old.io_write, new.io_write),
            runtime: one(self.runtime, old.runtime, new.runtime),
            open_files: open_files.or(self.open_files),
            paces,
        }
    }

    /// Sets one limit; `none` takes it off.
    ///
    /// # Errors
    ///
    /// Where that is no limit, or not an amount that it takes.
    pub(crate) fn set(&mut self, key: &str, text: &str) -> Result<(), Refusal> {
        let off = text == NONE;
        match key {
            "memory" => {
                self.memory = given(off, || size("memory", text, LEAST_MEMORY, MOST))?;
            }
            "cpu" => self.cpu = given(off, || percent("cpu", text, MOST_CPU))?,
            "pids" => self.pids = given(off, || count("pids", text, 1, MOST_PIDS))?,
            "io" => {
                self.io_read = given(off, || rate("io", text, LEAST_RATE, MOST))?;
                self.io_write = self.io_read;
            }
            "io.read" => self.io_read = given(off, || rate("read", text, LEAST_RATE, MOST))?,
            "io.write" => self.io_write = given(off, || rate("write", text, LEAST_RATE, MOST))?,
            "runtime" => self.runtime = given(off, || duration("runtime", text))?,
            "open_files" => {
                self.open_files = given(off, || count("open_files", text, 8, MOST_FILES))?;
            }
            _ if pace::limit_of(key).is_some() => self.set_pace(key, text, off)?,
            _ => {
                let problem = Problem::UnknownKey { key: quoted(key), section: "limits" };
                return Err((problem, format!("limits takes: {}", KEYS.join(", "))));
            }
        }
        Ok(())
    }

    fn set_pace(&mut self, key: &str, text: &str, off: bool) -> Result<(), Refusal> {
        for (limit, pace) in LIMITS.into_iter().zip(&mut self.paces) {
            if limit.as_str() == key {
                *pace = given(off, || Pace::parse(limit, text))?;
            }
        }
        Ok(())
    }

    /// Each limit that is set, as policies write it.
    #[must_use]
    pub fn written(&self) -> Vec<(&'static str, String)> {
        let rate = |bytes: u64| format!("{}/s", size_text(bytes));
        let all = [
            ("memory", self.memory.map(size_text)),
            ("cpu", self.cpu.map(|percent| format!("{percent}%"))),
            ("pids", self.pids.map(|count| count.to_string())),
            ("io.read", self.io_read.map(rate)),
            ("io.write", self.io_write.map(rate)),
            ("runtime", self.runtime.map(short)),
            ("open_files", self.open_files.map(|count| count.to_string())),
        ];
        let paces = LIMITS.into_iter().zip(self.paces);
        let paces =
            paces.map(|(limit, pace)| (limit.as_str(), pace.map(|pace| pace.written(limit))));
        all.into_iter().chain(paces).filter_map(|(key, text)| Some((key, text?))).collect()
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> =
            self.written().into_iter().map(|(key, text)| format!("{key}={text}")).collect();
        if all.is_empty() { f.write_str("none") } else { f.write_str(&all.join(" ")) }
    }
}

fn given<T>(off: bool, read: impl FnOnce() -> Result<T, Refusal>) -> Result<Option<T>, Refusal> {
    if off { Ok(None) } else { read().map(Some) }
}

impl LimitsSection {
    /// Finds the meaning of a section.
    pub(super) fn of(document: &LimitsDocument, report: &mut Report<'_>) -> Self {
        let mut section = Self::default();
        for (key, text) in document.given() {
            section.take(key, &text, report);
        }
        section
    }

    fn take(&mut self, key: &'static str, text: &Sited<String>, report: &mut Report<'_>) {
        let key_in_file = key.split('.').next().unwrap_or(key);
        self.places.entry(known(key_in_file)).or_insert(text.place);
        let set = match text.value.as_str() {
            // In a file, what is not limited is left out.
            NONE => {
                let problem = Problem::BadAmount { key, text: NONE.into(), why: "is no limit" };
                Err((problem, "leave the key out: what is missing is not limited".into()))
            }
            text => self.limits.set(key, text),
        };
        if let Err((problem, mend)) = set {
            report.at(text.place, problem, mend);
        }
    }
}

/// The static text of a key.
fn known(key: &str) -> &'static str {
    KEYS.into_iter().find(|known| *known == key).unwrap_or("limits")
}

/// What the limits mean, in words.
pub(super) fn explain(out: &mut String, limits: &Limits) -> fmt::Result {
    use fmt::Write as _;
    writeln!(out, "\nLimits")?;
    let mut say = |text: String| writeln!(out, "  {text}");
    if let Some(bytes) = limits.memory {
        say(format!(
            "Memory: {}. Beyond it, all of the session's processes end.",
            size_text(bytes)
        ))?;
    }
    if let Some(percent) = limits.cpu {
        say(format!("CPU: {percent}% of one CPU. Beyond it, its processes wait."))?;
    }
    if let Some(count) = limits.pids {
        say(format!("Processes and threads: {count}. Beyond it, no more can be made."))?;
    }
    for (word, rate) in [("read", limits.io_read), ("written", limits.io_write)] {
        if let Some(rate) = rate {
            let rate = size_text(rate);
            say(format!("Disk of the workspace: {rate} per second are {word}."))?;
        }
    }
    if let Some(seconds) = limits.runtime {
        say(format!("Time: {}, then the session is killed.", super::dns::in_words(seconds)))?;
    }
    if let Some(count) = limits.open_files {
        say(format!("Open files: {count} for each process."))?;
    }
    pace::explain(out, &limits.paces)
}

#[cfg(test)]
mod tests;
