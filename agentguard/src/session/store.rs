//! What the daemon must remember across its own restarts: sessions, and the
//! sources of the policies that they run under. It lives in `/run`, as sessions do
//! not outlive a boot. Files are replaced whole, never changed in place.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Session;
use crate::detect::History;
use crate::error::{Error, Result};

/// The directory of the daemon's memory.
#[derive(Clone, Debug)]
pub struct Store {
    sessions: PathBuf,
    policies: PathBuf,
    histories: PathBuf,
}

impl Store {
    /// Opens the directory, and makes it where it is missing.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where it cannot be made.
    pub fn open(directory: &Path) -> Result<Self> {
        let store = Self {
            sessions: directory.join("sessions"),
            policies: directory.join("policies"),
            histories: directory.join("histories"),
        };
        for path in [&store.sessions, &store.policies, &store.histories] {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(Error::io("create", path))?;
        }
        Ok(store)
    }

    /// Remembers a session, over what was remembered of it before.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where it cannot be written; what was there before still is.
    pub fn keep(&self, session: &Session) -> Result<()> {
        let text = serde_json::to_vec(session)
            .map_err(|error| Error::io("write", &self.sessions)(error.into()))?;
        replace(&self.sessions.join(format!("{}.json", session.id)), &text)
    }

    /// Forgets a session.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be removed.
    pub fn forget(&self, id: &str) -> Result<()> {
        let path = self.sessions.join(format!("{id}.json"));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", path)(error))
            }
            _ => Ok(()),
        }
    }

    /// The sessions that were remembered. A file that cannot be read is passed
    /// over with a warning: the session is still guarded by what the kernel has.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the directory cannot be listed.
    pub fn sessions(&self) -> Result<Vec<Session>> {
        let mut sessions = Vec::new();
        let entries =
            std::fs::read_dir(&self.sessions).map_err(Error::io("list", &self.sessions))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match std::fs::read(&path).map(|text| serde_json::from_slice(&text)) {
                Ok(Ok(session)) => sessions.push(session),
                Ok(Err(error)) => tracing::warn!(path = %path.display(), %error, "not a session"),
                Err(error) => tracing::warn!(path = %path.display(), %error, "cannot be read"),
            }
        }
        Ok(sessions)
    }

    /// Remembers a policy's source.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where it cannot be written.
    pub fn keep_policy(&self, hash: &str, source: &str) -> Result<()> {
        replace(&self.policy(hash), source.as_bytes())
    }

    /// Forgets a policy's source.
    pub fn forget_policy(&self, hash: &str) {
        // A file left over is only that.
        let _ = std::fs::remove_file(self.policy(hash));
    }

    /// What an agent did in its last sessions; nothing, where that is not known.
    #[must_use]
    pub fn history(&self, agent: &str) -> History {
        let text = std::fs::read(self.histories.join(format!("{agent}.json")));
        text.ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Remembers what an agent did in its last sessions.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where it cannot be written.
    pub fn keep_history(&self, agent: &str, history: &History) -> Result<()> {
        let path = self.histories.join(format!("{agent}.json"));
        let text =
            serde_json::to_vec(history).map_err(|error| Error::io("write", &path)(error.into()))?;
        replace(&path, &text)
    }

    /// Where the source of a remembered policy is.
    #[must_use]
    pub fn policy(&self, hash: &str) -> PathBuf {
        self.policies.join(format!("{hash}.yaml"))
    }
}

/// Writes a file under another name and puts it in place in one step.
fn replace(path: &Path, text: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(&part)
        .and_then(|mut file| file.write_all(text))
        .and_then(|()| std::fs::rename(&part, path))
        .map_err(Error::io("write", path))
}
