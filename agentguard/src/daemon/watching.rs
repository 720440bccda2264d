//! Watches the directory of policies, by looking at it. A look each second costs less than
//! it would to follow by events everything that a directory can be: links that are turned
//! as a whole, network file systems, a directory that is replaced.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What is seen of a file without reading it: path, device and inode, size, and when it was
/// last changed.
type Seen = (PathBuf, u64, u64, u64, i64, i64);

/// The files as they were when they were last looked at.
#[derive(Debug, Default)]
pub(super) struct PolicyFiles {
    last: Vec<Seen>,
    /// Those that somebody has acted on.
    acted_on: Option<Vec<Seen>>,
}

impl PolicyFiles {
    /// Whether the files are others than those last acted on, and have stayed as they are from
    /// one look to the next: who writes several is given the time for it.
    pub(super) fn are_new(&mut self, directory: &Path) -> bool {
        let now = look(directory);
        let settled = now == self.last;
        self.last.clone_from(&now);
        if !settled || self.acted_on.as_ref() == Some(&now) {
            return false;
        }
        self.acted_on = Some(now);
        true
    }
}

fn look(directory: &Path) -> Vec<Seen> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let seen = entries.flatten().filter_map(|entry| {
        let path = entry.path();
        // What a link leads to is what is read.
        let of = std::fs::metadata(&path).ok()?;
        Some((path, of.dev(), of.ino(), of.size(), of.ctime(), of.ctime_nsec()))
    });
    let mut seen: Vec<Seen> = seen.collect();
    seen.sort_unstable();
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_new_once_they_stay_as_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = PolicyFiles::default();
        let mut look = |expected: [bool; 3]| {
            let found: Vec<bool> = (0..3).map(|_| files.are_new(directory.path())).collect();
            assert_eq!(found, expected);
        };
        // The first look is at nothing, as it was before.
        look([true, false, false]);
        let path = directory.path().join("a.yaml");
        std::fs::write(&path, "one").unwrap();
        look([false, true, false]);
        std::fs::write(directory.path().join("new"), "two").unwrap();
        std::fs::rename(directory.path().join("new"), &path).unwrap();
        look([false, true, false]);
        std::fs::remove_file(&path).unwrap();
        look([false, true, false]);
    }
}
