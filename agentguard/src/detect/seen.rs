//! An event as detectors see it: what it is about, and not how it was recorded.

use crate::event::{Class, Event, Outcome};

/// An event.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'e> {
    /// When, in milliseconds.
    pub at: u64,
    /// Its id.
    pub id: &'e str,
    /// What was done: `connect`, `exec`, …
    pub action: &'e str,
    /// On what.
    pub resource: &'e str,
    /// The other path of two.
    pub target: Option<&'e str>,
    /// What became of it.
    pub outcome: Outcome,
    /// Its sort.
    pub kind: Class,
    /// Why it was decided so.
    pub reason: Option<&'e str>,
    /// Who did it.
    pub pid: u32,
    /// Its real user.
    pub uid: Option<u32>,
    /// The program that did it.
    pub exe: Option<&'e str>,
    /// Its arguments, of an exec.
    pub args: &'e [String],
    /// Its working directory, of an exec.
    pub cwd: Option<&'e str>,
    /// The code it ended with, of an exit.
    pub exit_code: Option<u32>,
    /// More about it, in words.
    pub message: Option<&'e str>,
    /// The name that was asked for, or that led to where it went.
    pub name: Option<&'e str>,
    /// Where it went: address and port.
    pub destination: Option<(&'e str, u16)>,
}

impl<'e> Seen<'e> {
    /// An event that happened at that time.
    #[must_use]
    pub fn of(event: &'e Event, at: u64) -> Self {
        let process = event.process.as_ref();
        let to = event.destination.as_ref();
        let asked = event.dns.as_ref().map(|dns| dns.name.as_str());
        Self {
            at,
            id: &event.id,
            action: event.action,
            resource: &event.resource,
            target: event.target.as_deref(),
            outcome: event.outcome,
            kind: event.kind,
            reason: event.reason,
            pid: process.map_or(0, |process| process.pid),
            uid: process.map(|process| process.uid),
            exe: process.and_then(|process| process.exe.as_deref()),
            args: process.map_or(&[], |process| &process.args),
            cwd: process.and_then(|process| process.cwd.as_deref()),
            exit_code: process.and_then(|process| process.exit_code),
            message: event.message.as_deref(),
            name: asked.or_else(|| to.and_then(|to| to.name.as_deref())),
            destination: to.map(|to| (to.address.as_str(), to.port)),
        }
    }

    /// Whether it was refused, or would have been.
    pub(super) const fn denied(&self) -> bool {
        matches!(self.outcome, Outcome::Denied | Outcome::WouldDeny)
            && matches!(self.kind, Class::Decision)
    }

    /// Whether something outside of this host's loopback was to be reached.
    pub(super) fn reaches_out(&self) -> bool {
        let outside = |address: &str| !(address.starts_with("127.") || address == "::1");
        match self.action {
            "connect" | "send" => self.destination.is_some_and(|(address, _)| outside(address)),
            "resolve" => true,
            _ => false,
        }
    }

    /// Whether a file was to be changed: its path, or that which it was to get.
    pub(super) fn changes(&self) -> Option<&'e str> {
        match self.action {
            "file.write" | "file.create" | "file.mkdir" | "file.mknod" | "file.symlink"
            | "file.truncate" | "file.chmod" | "file.chown" | "file.delete" => Some(self.resource),
            "file.rename" | "file.link" => Some(self.target.unwrap_or(self.resource)),
            _ => None,
        }
    }

    /// The program that was to be executed: the last part of its path.
    pub(super) fn executes(&self) -> Option<&'e str> {
        (self.action == "exec").then(|| base_name(self.resource))
    }
}

/// The last part of a path.
pub(super) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
