//! The section `log`: the log of events.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::{Period, Size};

/// Where logs are by default.
pub(super) const LOGS: &str = "/var/log/agentguard";

/// The log. What the command line says goes before what is said here.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// The file; `-` for standard output. By default `/var/log/agentguard/events.jsonl`.
    pub file: Option<PathBuf>,
    /// Whether the lines go to standard output too, for journald or a container.
    pub stdout: bool,
    /// Whether activity goes into the log too.
    pub activity: bool,
    /// When activity is too much to log all of it.
    pub sampling: SamplingConfig,
    /// When the file is put aside. Without this it never is, and can be rotated by others.
    pub rotate: Option<RotateConfig>,
    /// A second file, with what redaction takes out of the others.
    pub unredacted: Option<UnredactedConfig>,
}

/// When the lines of activity are too many.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingConfig {
    /// How many lines a second are kept, of each action of each session, before sampling
    /// begins.
    pub above: NonZeroU32,
    /// Beyond that, one line in so many is kept.
    pub keep_one_in: NonZeroU32,
}

/// When a file is put aside, and how many of them are kept.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RotateConfig {
    /// How large it may become.
    pub size: Option<Size>,
    /// How old its first line may become.
    pub age: Option<Period>,
    /// How many files that were put aside are kept.
    pub keep: u32,
}

/// The file of full records.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnredactedConfig {
    /// The file.
    pub file: PathBuf,
    /// Who may read and write it, in octal digits: `"0600"`.
    #[serde(default = "owner_only", deserialize_with = "mode")]
    #[schemars(with = "String")]
    pub mode: u32,
    /// Whose it is.
    #[serde(default)]
    pub owner: Owner,
}

/// Whose a file is. What is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Owner {
    /// The user, by number.
    pub uid: Option<u32>,
    /// The group, by number.
    pub gid: Option<u32>,
}

impl LogConfig {
    /// The file, by default the one in `/var/log/agentguard`.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.file.clone().unwrap_or_else(|| Path::new(LOGS).join("events.jsonl"))
    }
}

impl Default for SamplingConfig {
    fn default() -> Self {
        let some = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self { above: some(100), keep_one_in: some(100) }
    }
}

impl Default for RotateConfig {
    fn default() -> Self {
        Self {
            size: Some(Size(256 << 20)),
            age: Some(Period(Duration::from_secs(7 * 86_400))),
            keep: 8,
        }
    }
}

const fn owner_only() -> u32 {
    0o600
}

fn mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let text = String::deserialize(deserializer)?;
    let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| {
        D::Error::custom("no mode\n  = write octal digits in quotes, such as \"0600\"")
    })
}
