//! What the daemon's own thread writes, before a record leaves its ring buffer: the audit
//! log, the log of events, and the file of full records. And the one place where secrets
//! are taken out: what leaves here is what every other sink gets.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::audit::{Audit, Options};
use super::sampler::{Kept, Sampler};
use super::{Health, Hub, Log, LogOptions};
use crate::config::{Owner, Settings};
use crate::error::Result;
use crate::event::{Class, Event};
use crate::redact::Redactor;

/// The sinks of the daemon's thread.
pub struct Journal {
    redactor: Redactor,
    audit: Option<Audit>,
    log: Log,
    stdout: Option<Log>,
    unredacted: Option<Log>,
    sampler: Sampler,
    /// Whether activity is logged.
    activity: bool,
    log_health: Arc<Health>,
    audit_health: Arc<Health>,
}

/// An event as it leaves the daemon.
pub struct Published {
    /// Without its secrets.
    pub event: Arc<Event>,
    /// The same as a line of JSON.
    pub line: String,
}

impl Journal {
    /// Opens the files. `log` is the log's, `-` for standard output.
    ///
    /// # Errors
    ///
    /// Where one cannot be written, or a pattern of the redaction is not valid.
    pub fn open(settings: &Settings, log: &Path, activity: bool, hub: &mut Hub) -> Result<Self> {
        let redactor = Redactor::new(&settings.redaction)?;
        let rotate = settings.log.rotate.clone();
        let plain = LogOptions { mode: None, owner: Owner::default(), rotate: rotate.clone() };
        let to_stdout = settings.log.stdout && log != Path::new("-");
        let stdout = to_stdout.then(|| Log::open(Path::new("-"), plain.clone())).transpose()?;
        let unredacted = settings.log.unredacted.as_ref().map(|full| {
            let options = LogOptions { mode: Some(full.mode), owner: full.owner.clone(), rotate };
            Log::open(&full.file, options)
        });
        let log_file = Log::open(log, plain)?;
        let audit = Options::of(&settings.audit, log).map(Audit::open).transpose()?;
        Ok(Self {
            redactor,
            audit,
            log: log_file,
            stdout,
            unredacted: unredacted.transpose()?,
            sampler: Sampler::new(&settings.log.sampling),
            activity,
            log_health: hub.health("log"),
            audit_health: hub.health("audit"),
        })
    }

    /// Whether anything is done here with an event of that sort.
    #[must_use]
    pub const fn wants(&self, kind: Class) -> bool {
        self.activity || !matches!(kind, Class::Activity)
    }

    /// Writes an event to where it belongs, and gives it back without its secrets.
    /// `command` is what its resource was made of, where that is a command.
    pub fn write(&mut self, event: &Arc<Event>, command: Option<&[String]>) -> Published {
        let clean = self.redactor.event(event, command);
        let clean = match clean {
            std::borrow::Cow::Borrowed(_) => Arc::clone(event),
            std::borrow::Cow::Owned(clean) => Arc::new(clean),
        };
        let line = clean.line();
        self.audit(&clean, &line);
        if self.wants(event.kind) {
            self.log(event, &clean, &line);
        }
        Published { event: clean, line }
    }

    fn audit(&mut self, event: &Event, line: &str) {
        let Some(audit) = self.audit.as_mut().filter(|audit| audit.wants(event)) else { return };
        let began = Instant::now();
        self.audit_health.add_offered(1);
        match audit.event(event, line) {
            true => self.audit_health.add_written(1),
            false => self.audit_health.add_lost(1),
        }
        self.audit_health.took(began.elapsed());
    }

    fn log(&mut self, event: &Event, clean: &Event, line: &str) {
        let began = Instant::now();
        self.log_health.add_offered(1);
        let rate = match self.sampler.keep(event, began) {
            Kept::All => None,
            Kept::Part(rate) => Some(rate),
            Kept::Not => return self.log_health.add_sampled(1),
        };
        let with_rate = |event: &Event| Event { sample_rate: rate, ..event.clone() }.line();
        let sampled = rate.is_some().then(|| with_rate(clean));
        let line = sampled.as_deref().unwrap_or(line);
        if let Some(full) = self.unredacted.as_mut().filter(|full| !full.has(&event.id)) {
            full.write(&with_rate(event));
        }
        let written = self.log.has(&event.id) || {
            if let Some(stdout) = &mut self.stdout {
                stdout.write(line);
            }
            self.log.write(line)
        };
        match written {
            true => self.log_health.add_written(1),
            false => self.log_health.add_lost(1),
        }
        self.log_health.took(began.elapsed());
    }

    /// What is due after a while: to be called every second or so.
    pub fn tick(&mut self) {
        if let Some(audit) = &mut self.audit {
            audit.tick();
        }
        self.log.put_aside_if_due();
        if let Some(full) = &mut self.unredacted {
            full.put_aside_if_due();
        }
    }

    /// Opens the files anew, after they were moved away. What fails goes on as it was.
    pub fn reopen(&mut self) {
        let audit = self.audit.as_mut().map(Audit::reopen);
        let full = self.unredacted.as_mut().map(Log::reopen);
        for done in [Some(self.log.reopen()), full, audit].into_iter().flatten() {
            if let Err(error) = done {
                tracing::error!(%error, "goes on with the file that was open");
            }
        }
    }

    /// Signs the audit log, when the daemon stops.
    pub fn stop(&mut self) {
        if let Some(audit) = &mut self.audit {
            audit.stop();
        }
    }

    /// The log of events.
    pub const fn log_mut(&mut self) -> &mut Log {
        &mut self.log
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AuditConfig, UnredactedConfig};
    use crate::event::Outcome;

    const SECRET: &str = "ghp_abcdefghij0123456789ABCDEFGHIJ012345";

    fn settings(directory: &Path) -> Settings {
        let audit = AuditConfig { key: directory.join("audit.key"), ..AuditConfig::default() };
        let mut settings = Settings { audit, ..Settings::default() };
        let (file, mode) = (directory.join("full.jsonl"), 0o600);
        settings.log.unredacted = Some(UnredactedConfig { file, mode, owner: Owner::default() });
        settings
    }

    fn leaking() -> Arc<Event> {
        let mut event = crate::event::sample();
        event.message = Some(format!("it is {SECRET}"));
        Arc::new(event)
    }

    #[test]
    fn secrets_stay_in_the_file_that_is_for_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        let mut hub = Hub::default();
        let mut journal =
            Journal::open(&settings(directory.path()), &path, false, &mut hub).unwrap();
        let published = journal.write(&leaking(), None);
        journal.stop();
        assert!(!published.line.contains(SECRET));
        assert_eq!(published.event.line(), published.line);
        let text = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(text("events.jsonl"), format!("{}\n", published.line));
        assert!(text("audit.jsonl").contains(&published.line));
        assert!(!text("audit.jsonl").contains(SECRET));
        assert_eq!(text("full.jsonl"), format!("{}\n", leaking().line()));
        let healths = hub.healths();
        let books: Vec<_> =
            healths.iter().map(|health| (health.name(), health.written())).collect();
        assert_eq!(books, [("log", 1), ("audit", 1)]);
    }

    #[test]
    fn activity_is_sampled_counted_and_says_so_on_each_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        let mut hub = Hub::default();
        let mut settings = settings(directory.path());
        settings.log.sampling.above = std::num::NonZeroU32::new(10).unwrap();
        let mut journal = Journal::open(&settings, &path, true, &mut hub).unwrap();
        let mut event = crate::event::sample();
        (event.kind, event.outcome) = (Class::Activity, Outcome::Allowed);
        let event = Arc::new(event);
        for _ in 0..1010 {
            assert!(!journal.write(&event, None).line.contains("sample_rate"));
        }
        let text = std::fs::read_to_string(&path).unwrap();
        // One second or two of the clock, with ten lines in each.
        let sampled = text.lines().filter(|line| line.contains("\"sample_rate\":0.01")).count();
        assert!((9..=10).contains(&sampled), "{sampled}");
        let health = &hub.healths()[0];
        assert_eq!(health.offered(), 1010);
        assert_eq!(health.written() + health.sampled(), 1010);
        assert_eq!(health.written(), u64::try_from(text.lines().count()).unwrap());
    }

    #[test]
    fn without_activity_in_the_log_none_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        let mut hub = Hub::default();
        let mut journal =
            Journal::open(&settings(directory.path()), &path, false, &mut hub).unwrap();
        assert!(!journal.wants(Class::Activity) && journal.wants(Class::Decision));
        let event = Event { kind: Class::Activity, ..crate::event::sample() };
        journal.write(&Arc::new(event), None);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
        assert_eq!(hub.healths()[0].offered(), 0);
    }
}
