//! What a session is told about itself: one small JSON file for each, whose path is in the
//! environment of what `run` starts (`AGENTGUARD_NOTICE`). It holds what `agentguard why
//! --self` would say, and nothing of other sessions or of what the policy says elsewhere.
//!
//! The file belongs to the session's user and is replaced whole. Nothing is ever read from
//! it: whoever changes it fools itself.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Session;
use crate::error::{Error, Result};

/// What a session is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice<'n> {
    /// The version of this form.
    pub version: u32,
    /// The session.
    pub session: &'n str,
    /// The agent.
    pub agent_role: &'n str,
    /// When this was written: RFC 3339, UTC.
    pub updated: String,
    /// What the session is doing: `running`, `paused`, `ending`.
    pub state: &'static str,
    /// Why it is held, slowed down or ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'n str>,
    /// What it read that is secret, because of which it may reach less, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tainted: Option<&'n str>,
    /// What is about to happen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<&'n str>,
    /// The last limit that it reached, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<&'n str>,
    /// The last refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// How to ask for more.
    pub more: &'static str,
}

/// Something that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The decision's id, for `agentguard why`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What was tried.
    pub action: String,
    /// On what.
    pub resource: String,
    /// Why it was refused, in one word.
    pub reason: String,
    /// The rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The same in words.
    pub text: String,
}

impl<'n> Notice<'n> {
    /// For a session, with nothing to tell yet.
    #[must_use]
    pub fn of(session: &'n Session) -> Self {
        let why = [&session.killed, &session.paused, &session.throttled];
        Self {
            version: 1,
            session: &session.id,
            agent_role: &session.agent,
            updated: crate::event::timestamp(),
            state: session.state.as_str(),
            why: why.into_iter().flatten().map(String::as_str).next(),
            tainted: session.tainted.as_deref(),
            warning: None,
            limit: None,
            refusal: None,
            more: "agentguard why --self",
        }
    }
}

/// The files.
#[derive(Clone, Debug)]
pub struct Notices {
    directory: PathBuf,
}

impl Notices {
    /// Makes their directory, in which nobody can look for others.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where it cannot be made.
    pub fn open(state: &Path) -> Result<Self> {
        let directory = state.join("notices");
        let mut builder = std::fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o711)
            .create(&directory)
            .and_then(|()| {
                // Whatever the umask was.
                let mode = std::fs::Permissions::from_mode(0o711);
                std::fs::set_permissions(&directory, mode)
            })
            .map_err(Error::io("create", &directory))?;
        Ok(Self { directory })
    }

    /// Where a session finds its own.
    #[must_use]
    pub fn path(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    /// Puts a notice in place of the one before, in one step.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where it cannot be written; the one before is still there then.
    pub fn write(&self, notice: &Notice<'_>, uid: u32) -> Result<()> {
        let path = self.path(notice.session);
        // Not an ending that a session could have: ids have no dot.
        let part = self.directory.join(format!("{}.part", notice.session));
        let mut text =
            serde_json::to_vec(notice).map_err(|error| Error::io("write", &path)(error.into()))?;
        text.push(b'\n');
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o400);
        let write = || {
            let _ = std::fs::remove_file(&part);
            let mut file = options.open(&part)?;
            file.write_all(&text)?;
            std::os::unix::fs::fchown(&file, Some(uid), None)?;
            std::fs::rename(&part, &path)
        };
        write().map_err(Error::io("write", &path))
    }

    /// Removes that of a session that ended.
    pub fn remove(&self, id: &str) {
        // One that is left over says nothing wrong: its session is over.
        let _ = std::fs::remove_file(self.path(id));
    }

    /// Removes those of sessions that are not there any more.
    pub fn remove_others(&self, ids: &dyn Fn(&str) -> bool) {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let id = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            if !ids(id) {
                let _ = std::fs::remove_file(&path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn session(id: &str) -> Session {
        serde_json::from_value(serde_json::json!({
            "id": id, "number": 1, "slot": 0, "agent": "coder", "policy_hash": "",
            "correlation_id": "", "uid": 0, "command": [], "workspace": "", "started": 0,
            "pid": 1, "cgroup": "", "state": "paused", "killed": null, "paused": "by user 0",
        }))
        .unwrap()
    }

    #[test]
    fn a_notice_is_replaced_whole_and_for_its_user_alone() {
        let directory = tempfile::tempdir().unwrap();
        let notices = Notices::open(directory.path()).unwrap();
        let me = nix::unistd::geteuid().as_raw();
        let (one, other) = (session("one"), session("other"));
        notices.write(&Notice::of(&one), me).unwrap();
        notices.write(&Notice::of(&one), me).unwrap();
        notices.write(&Notice::of(&other), me).unwrap();
        let path = notices.path("one");
        assert_eq!(path, directory.path().join("notices/one.json"));
        let read: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(read["state"], "paused");
        assert_eq!(read["why"], "by user 0");
        assert!(read.get("refusal").is_none());
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.uid()), (0o400, me));
        let mode = std::fs::metadata(path.parent().unwrap()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o711);
        notices.remove_others(&|id| id == "one");
        assert!(path.exists() && !notices.path("other").exists());
        notices.remove("one");
        assert_eq!(std::fs::read_dir(directory.path().join("notices")).unwrap().count(), 0);
    }
}
