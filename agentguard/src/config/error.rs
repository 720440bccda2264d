//! What is wrong with a configuration file: where, what, and how to mend it.
//!
//! Values of the file are never shown: one of them may be a secret that was written
//! into the wrong place.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_saphyr::Error as Yaml;

/// What is wrong with a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// The line and the column, both counted from 1; `None` where it is about the
    /// file as a whole.
    pub place: Option<(u64, u64)>,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub mend: String,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}\n  = {}", printable(&self.problem), printable(&self.mend))
    }
}

impl ConfigError {
    /// An error about a file as a whole.
    pub(super) fn whole(path: &Path, problem: &str, mend: &str) -> Self {
        Self { path: path.into(), place: None, problem: problem.into(), mend: mend.into() }
    }

    /// A file that cannot be read.
    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        Self::whole(
            path,
            &format!("cannot be read: {error}"),
            "name a file that can be read with --config, or leave that out for the defaults",
        )
    }

    /// What the parser or one of the types says.
    pub(super) fn of_yaml(path: &Path, error: &Yaml) -> Self {
        let place = error.location().map(|at| (at.line(), at.column())).filter(|at| at.0 > 0);
        let (problem, mend) = words(error.without_snippet());
        Self { path: path.into(), place, problem, mend }
    }
}

/// Problem and mend.
fn words(error: &Yaml) -> (String, String) {
    match error {
        Yaml::SerdeUnknownField { field, expected, .. } => {
            (format!("unknown key: {field}"), format!("the keys here: {}", listed(expected)))
        }
        Yaml::SerdeUnknownVariant { expected, .. } => {
            ("a value that is not known".into(), format!("one of {}", listed(expected)))
        }
        Yaml::SerdeMissingField { field, .. } => {
            (format!("missing: {field}"), format!("add `{field}:` here"))
        }
        Yaml::DuplicateMappingKey { key, .. } => (
            format!("duplicate key: {}", key.as_deref().unwrap_or("this one")),
            "give each key once".into(),
        ),
        Yaml::SerdeInvalidType { unexpected, expected, .. } => {
            (format!("wrong type: {}", sort(unexpected)), format!("write {expected}"))
        }
        Yaml::SerdeInvalidValue { unexpected, expected, .. } => {
            (format!("bad value: {}", sort(unexpected)), format!("write {expected}"))
        }
        Yaml::MultipleDocuments { .. } => {
            ("a second document".into(), "a file holds one configuration".into())
        }
        Yaml::Message { msg, .. } => {
            let (problem, mend) = msg
                .split_once("\n  = ")
                .unwrap_or((msg, "correct it, or leave it out for the default"));
            (problem.to_owned(), mend.to_owned())
        }
        Yaml::ExternalMessage { msg, .. } => (
            format!("not YAML: {msg}"),
            "look at the indentation, quotes, brackets and colons here and on the line before"
                .into(),
        ),
        // None of the others carries a value of the file that is text.
        other => (
            one_line(&other.to_string()),
            "`agentguard config schema` prints what can stand here".into(),
        ),
    }
}

fn listed(keys: &[&str]) -> String {
    if keys.is_empty() { "there are none".into() } else { keys.join(", ") }
}

/// What serde says was found, without the value: `string "x"` becomes `string`.
fn sort(unexpected: &str) -> &str {
    unexpected.split(['"', '`']).next().unwrap_or_default().trim()
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// A text of the file must not be able to move the cursor of who reads it.
fn printable(text: &str) -> String {
    let shown = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    text.chars().map(shown).collect()
}
