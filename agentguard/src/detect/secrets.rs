//! A secret is read, or tried to be, and then something outside is to be reached.

use super::{Detector, Found, Seen};
use crate::policy::{Confidence, Finding};

/// How long after the one the other counts, in milliseconds.
const SPAN: u64 = 5 * 60_000;
/// How sure it is where the secret could be read, and where that was refused.
const READ: Confidence = Confidence::of(80);
const REFUSED: Confidence = Confidence::of(55);
/// Directories that hold secrets.
const DIRECTORIES: [&str; 9] = [
    "/.ssh/",
    "/.aws/",
    "/.gnupg/",
    "/.kube/",
    "/.azure/",
    "/.config/gcloud/",
    "/.docker/",
    "/.password-store/",
    "/etc/ssl/private/",
];
/// Files that hold secrets.
const FILES: [&str; 12] = [
    "/.env",
    "/.netrc",
    "/.npmrc",
    "/.pypirc",
    "/.git-credentials",
    "/.pgpass",
    "/etc/shadow",
    "/etc/gshadow",
    "/id_rsa",
    "/id_ed25519",
    "/id_ecdsa",
    "/.vault-token",
];
/// What is in those directories and no secret.
const PUBLIC: [&str; 5] = ["/known_hosts", "/config", ".pub", "/known_hosts.old", "/random_seed"];

/// See the module.
#[derive(Default)]
pub(super) struct SecretEgress {
    read: Option<(u64, String, String, bool)>,
}

impl Detector for SecretEgress {
    fn see(&mut self, event: &Seen<'_>, found: &mut Vec<Found>) {
        if event.action == "file.read" && is_secret(event.resource) {
            let held = self.read.as_ref();
            // One that could be read says more than one that could not.
            let weaker = held.is_some_and(|(at, .., allowed)| {
                *allowed && event.denied() && event.at.saturating_sub(*at) < SPAN
            });
            if !weaker {
                let (id, path) = (event.id.to_owned(), event.resource.to_owned());
                self.read = Some((event.at, id, path, !event.denied()));
            }
            return;
        }
        let Some((at, id, path, allowed)) = &self.read else { return };
        if !event.reaches_out() || event.at.saturating_sub(*at) >= SPAN {
            return;
        }
        let read = if *allowed { "was read" } else { "was to be read" };
        found.push(Found {
            finding: Finding::SecretEgress,
            new: false,
            confidence: if *allowed { READ } else { REFUSED },
            evidence: vec![id.clone(), event.id.to_owned()],
            reason: format!("{path} {read}, and then {} {}", event.action, event.resource),
        });
    }
}

/// Whether a path is one of those where secrets commonly are.
fn is_secret(path: &str) -> bool {
    if PUBLIC.iter().any(|ending| path.ends_with(ending)) {
        return false;
    }
    DIRECTORIES.iter().any(|part| path.contains(part))
        || FILES.iter().any(|ending| path.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::is_secret;

    #[test]
    fn secrets_are_where_they_commonly_are() {
        for path in
            ["/home/a/.ssh/id_rsa", "/srv/app/.env", "/etc/shadow", "/root/.aws/credentials"]
        {
            assert!(is_secret(path), "{path}");
        }
        for path in ["/home/a/.ssh/known_hosts", "/home/a/.ssh/id_rsa.pub", "/etc/passwd", "/a/env"]
        {
            assert!(!is_secret(path), "{path}");
        }
    }
}
