//! The section `redaction`: which secrets and personal data are taken out of events.

use schemars::JsonSchema;
use serde::Deserialize;

/// What is taken out of events before they leave the daemon.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedactionConfig {
    /// Whether anything is taken out at all.
    pub enabled: bool,
    /// Keys and tokens of known forms, and private keys.
    pub keys: bool,
    /// What stands where a password does: `--password X`, `PASSWORD=X`, in addresses and
    /// in headers.
    pub passwords: bool,
    /// Long random strings of no known form.
    pub random: bool,
    /// Mail addresses.
    pub email: bool,
    /// Numbers of payment cards.
    pub cards: bool,
    /// Numbers of bank accounts (IBAN).
    pub iban: bool,
    /// More patterns.
    pub patterns: Vec<CustomPattern>,
    /// What is never taken out: regular expressions that match all of what would be.
    pub allow: Vec<String>,
}

/// A pattern of one's own.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomPattern {
    /// What stands in its place: `[redacted:NAME]`.
    pub name: String,
    /// A regular expression (without look-around). Its last group is taken out, or all of
    /// it where it has none.
    pub pattern: String,
}

impl Default for RedactionConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            keys: true,
            passwords: true,
            random: true,
            email: true,
            cards: true,
            iban: true,
            patterns: Vec::new(),
            allow: Vec::new(),
        }
    }
}
