//! More and more processes, and commands that fail over and over.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::scale::grows;
use super::seen::base_name;
use super::window::Events;
use super::{Detector, Found, Seen};
use crate::policy::{Confidence, Finding};

/// How many processes of a session at once are a storm.
pub(super) const ALIVE: u32 = 400;
/// How often the same command has to fail.
pub(super) const FAILURES: u32 = 20;

/// How many processes in ten seconds are a storm, in times of those at once.
const RATE: u32 = 10;
const SECONDS: u64 = 1000;
const MINUTE: u64 = 60 * SECONDS;
/// How many commands and processes are remembered.
const COMMANDS: usize = 1024;
const RUNNING: usize = 8192;

/// More and more processes: 400 at once, or 4,000 in ten seconds.
pub(super) struct ForkStorm {
    threshold: u32,
    alive: u32,
    last: Events,
    /// When the ten seconds began, and how many were made since.
    began: u64,
    made: u32,
}

impl ForkStorm {
    pub(super) const fn new(threshold: u32) -> Self {
        Self { threshold, alive: 0, last: Events::new(MINUTE, 16), began: 0, made: 0 }
    }
}

impl Detector for ForkStorm {
    fn see(&mut self, event: &Seen<'_>, found: &mut Vec<Found>) {
        match event.action {
            "fork" if !event.denied() => {}
            "exit" => {
                self.alive = self.alive.saturating_sub(1);
                return;
            }
            _ => return,
        }
        self.alive += 1;
        if event.at.saturating_sub(self.began) >= 10 * SECONDS {
            (self.began, self.made) = (event.at, 0);
        }
        self.made += 1;
        let rate = self.threshold.saturating_mul(RATE);
        if self.alive < self.threshold && self.made < rate {
            // Only those at the brink are worth remembering.
            if self.alive + 16 > self.threshold || self.made + 16 > rate {
                self.last.add(event.id, event.at);
            }
            return;
        }
        self.last.add(event.id, event.at);
        let (confidence, reason) = if self.alive >= self.threshold {
            let reason = format!("{} processes at once", self.alive);
            (grows(70, self.alive, self.threshold), reason)
        } else {
            (grows(60, self.made, rate), format!("{} processes in ten seconds", self.made))
        };
        found.push(Found {
            finding: Finding::ForkStorm,
            new: false,
            confidence,
            evidence: self.last.evidence(),
            reason,
        });
    }
}

/// The same command fails over and over, without succeeding in between: 20 times in five
/// minutes from one to the next.
pub(super) struct Loop {
    threshold: u32,
    running: HashMap<u32, (u64, String)>,
    failed: HashMap<u64, Failed>,
}

struct Failed {
    events: Events,
    count: u32,
    command: String,
}

impl Loop {
    pub(super) fn new(threshold: u32) -> Self {
        Self { threshold, running: HashMap::new(), failed: HashMap::new() }
    }

    fn failed(&mut self, command: u64, name: String, event: &Seen<'_>) -> Option<Found> {
        if self.failed.len() >= COMMANDS && !self.failed.contains_key(&command) {
            // What failed longest ago is no loop.
            let oldest = self.failed.iter().min_by_key(|(_, failed)| failed.events.last());
            let oldest = oldest.map(|(key, _)| *key);
            oldest.map(|key| self.failed.remove(&key));
        }
        let new = || Failed { events: Events::new(5 * MINUTE, 16), count: 0, command: name };
        let failed = self.failed.entry(command).or_insert_with(new);
        if event.at.saturating_sub(failed.events.last()) >= 5 * MINUTE {
            failed.count = 0;
        }
        failed.events.add(event.id, event.at);
        failed.count += 1;
        (failed.count >= self.threshold).then(|| Found {
            finding: Finding::Loop,
            new: false,
            confidence: Confidence::of(slowly(failed.count, self.threshold)),
            evidence: failed.events.evidence(),
            reason: format!(
                "{} failed {} times, one after the other",
                failed.command, failed.count
            ),
        })
    }
}

/// Scripts wait for things by trying: it takes many more failures to be sure.
fn slowly(count: u32, threshold: u32) -> u8 {
    match count / threshold.max(1) {
        0..=1 => 45,
        2..=4 => 60,
        5..=9 => 75,
        _ => 90,
    }
}

impl Detector for Loop {
    fn see(&mut self, event: &Seen<'_>, found: &mut Vec<Found>) {
        match event.action {
            "exec" if !event.denied() => {
                if self.running.len() >= RUNNING {
                    // Ends that were not told of. Those that run are few.
                    self.running.clear();
                }
                let mut hash = DefaultHasher::new();
                (event.resource, event.args, event.cwd).hash(&mut hash);
                let name = base_name(event.resource).to_owned();
                self.running.insert(event.pid, (hash.finish(), name));
            }
            "exit" => {
                let Some((command, name)) = self.running.remove(&event.pid) else { return };
                if event.exit_code == Some(0) {
                    self.failed.remove(&command);
                } else {
                    found.extend(self.failed(command, name, event));
                }
            }
            _ => {}
        }
    }
}
