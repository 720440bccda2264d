//! The section `audit`: the audit log.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::log::LOGS;
use super::{Period, Size};

/// The audit log: decisions and lifecycle in a chain of hashes.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// Whether there is one.
    pub enabled: bool,
    /// The file. By default `audit.jsonl` beside the log of events.
    pub file: Option<PathBuf>,
    /// The key that signs checkpoints; made where there is none. Its public half is
    /// exported beside it, with the ending `.pub`.
    pub key: PathBuf,
    /// Whether decisions that allow something are entries too.
    pub allowed: bool,
    /// When checkpoints are made.
    pub checkpoint: CheckpointConfig,
    /// At which size the file is put aside. Its chain goes on in the next.
    pub rotate_at: Size,
    /// How many files that were put aside are kept; without it, all.
    pub keep: Option<u32>,
}

/// When a checkpoint is made: at the first of both.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// After so many entries.
    pub entries: NonZeroU32,
    /// After so long, where there are any.
    pub every: Period,
}

impl AuditConfig {
    /// Where the audit log is: as it is set, or beside the log of events, which may be
    /// standard output or a device.
    #[must_use]
    pub fn path(&self, log: &Path) -> PathBuf {
        let beside = (log != Path::new("-") && !log.starts_with("/dev")).then(|| log.parent());
        let default = || beside.flatten().unwrap_or(Path::new(LOGS)).join("audit.jsonl");
        self.file.clone().unwrap_or_else(default)
    }
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            file: None,
            key: "/var/lib/agentguard/audit.key".into(),
            allowed: false,
            checkpoint: CheckpointConfig::default(),
            rotate_at: Size(64 << 20),
            keep: None,
        }
    }
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self {
            entries: NonZeroU32::new(256).unwrap_or(NonZeroU32::MIN),
            every: Period(Duration::from_secs(60)),
        }
    }
}
