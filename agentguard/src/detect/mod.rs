//! Findings: what is noticed in what a session does. Each detector is a small machine that
//! takes one event after the other and sometimes finds something, with the events that show
//! it. It knows no clock but that of the events, asks nobody, and does nothing: what follows
//! from a finding is up to `respond:`. What each looks for, and from when on, is told in
//! `docs/findings.md`.

mod denials;
mod names;
mod paths;
mod processes;
mod programs;
mod scale;
mod secrets;
mod seen;
#[cfg(test)]
mod tests;
mod volume;
mod window;

use std::collections::BTreeMap;

pub use seen::Seen;
pub use volume::{History, Peaks};

use crate::event::Severity;
use crate::policy::{Confidence, DetectSection, Finding};

/// How long it is until the same finding is told again, in milliseconds, unless it has become
/// surer meanwhile.
const AGAIN: u64 = 10 * 60 * 1000;
/// By how much surer, in hundredths.
const SURER: u8 = 15;
/// How many events a finding names.
const EVIDENCE: usize = 16;

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What.
    pub finding: Finding,
    /// How sure that is.
    pub confidence: Confidence,
    /// The ids of the events that show it, the oldest first; never empty.
    pub evidence: Vec<String>,
    /// What was seen, in a few words.
    pub reason: String,
    /// Whether it was not found before, or is much surer now.
    pub new: bool,
}

/// Looks for one or a few kinds of findings.
trait Detector {
    /// Takes an event. What is found need not be new.
    fn see(&mut self, event: &Seen<'_>, found: &mut Vec<Found>);
}

/// All detectors for one session.
pub struct Detect {
    section: DetectSection,
    detectors: Vec<Box<dyn Detector>>,
    volume: Option<volume::Volume>,
    told: BTreeMap<Finding, (u64, Confidence)>,
}

impl Detect {
    /// For a session, by what its policy says, and what its agent did in earlier sessions.
    #[must_use]
    pub fn new(section: &DetectSection, history: &History) -> Self {
        let of = |finding, default| section.threshold_of(finding, default);
        let volume = section
            .is_on(Finding::Volume)
            .then(|| volume::Volume::new(history.clone(), of(Finding::Volume, volume::FACTOR)));
        let detectors: Vec<Box<dyn Detector>> = vec![
            Box::new(denials::Repeated::new(of(Finding::RepeatedDenials, denials::REPEATED))),
            Box::new(denials::Probing::new(of(Finding::Probing, denials::PROBED))),
            Box::new(denials::Scanning::new(of(Finding::Scanning, denials::SCANNED))),
            Box::new(secrets::SecretEgress::default()),
            Box::new(names::Tunnelling::new(of(Finding::Tunnelling, names::NAMES))),
            Box::new(paths::Persistence),
            Box::new(paths::Escape::default()),
            Box::new(paths::SelfProtection),
            Box::new(programs::Privilege::default()),
            Box::new(programs::Tracing),
            Box::new(programs::Mining::default()),
            Box::new(programs::MemoryExec),
            Box::new(processes::ForkStorm::new(of(Finding::ForkStorm, processes::ALIVE))),
            Box::new(processes::Loop::new(of(Finding::Loop, processes::FAILURES))),
        ];
        Self { section: section.clone(), detectors, volume, told: BTreeMap::new() }
    }

    /// Takes an event, and says what is found: all that is sure enough, new or not.
    pub fn see(&mut self, event: &Seen<'_>) -> Vec<Found> {
        let mut found = Vec::new();
        for detector in &mut self.detectors {
            detector.see(event, &mut found);
        }
        if let Some(volume) = &mut self.volume {
            volume.see(event, &mut found);
        }
        found.retain(|found| self.counts(found));
        for found in &mut found {
            let skip = found.evidence.len().saturating_sub(EVIDENCE);
            found.evidence.drain(..skip);
            found.new = self.is_new(found, event.at);
        }
        found
    }

    /// The busiest minutes of the session, to be put with those of earlier ones.
    #[must_use]
    pub fn peaks(&self) -> Option<Peaks> {
        self.volume.as_ref().map(volume::Volume::peaks)
    }

    fn counts(&self, found: &Found) -> bool {
        let Found { finding, confidence, .. } = found;
        self.section.is_on(*finding) && *confidence >= self.section.floor_of(*finding)
    }

    fn is_new(&mut self, found: &Found, at: u64) -> bool {
        let Found { finding, confidence, .. } = found;
        let surer = Confidence::of(confidence.hundredths().saturating_sub(SURER));
        let known = self
            .told
            .get(finding)
            .is_some_and(|(then, before)| at.saturating_sub(*then) < AGAIN && *before > surer);
        if !known {
            self.told.insert(*finding, (at, *confidence));
        }
        !known
    }
}

/// How bad a finding is, by what it is and how sure it is.
#[must_use]
pub fn severity(finding: Finding, confidence: Confidence) -> Severity {
    let worst = match finding {
        Finding::SecretEgress | Finding::Escape | Finding::SelfProtection | Finding::Mining => {
            Severity::Critical
        }
        Finding::Tunnelling
        | Finding::Persistence
        | Finding::Privilege
        | Finding::Tracing
        | Finding::MemoryExec
        | Finding::Probing
        | Finding::Scanning
        | Finding::ForkStorm => Severity::High,
        Finding::Volume | Finding::RepeatedDenials | Finding::Loop => Severity::Medium,
    };
    match confidence.hundredths() {
        80.. => worst,
        50.. => match worst {
            Severity::Critical => Severity::High,
            Severity::High => Severity::Medium,
            _ => Severity::Low,
        },
        _ => Severity::Info,
    }
}
