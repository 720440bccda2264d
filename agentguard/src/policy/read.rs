//! Reads policy files: from a path or from bytes to a checked [`Policy`].

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::document::PolicyDocument;
use super::error::{PolicyErrors, Problem};
use super::model::Policy;
use super::report::Report;
use super::{MAX_BYTES, meaning, yaml};

impl Policy {
    /// Reads a policy from the bytes of the file at `path`, which is not touched.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, PolicyErrors> {
        let text = decode(path, bytes)?;
        let mut report = Report::new(path, text);
        let policy = yaml::parse(text, &mut report).map(|root| {
            let document = PolicyDocument::read(&root, &mut report);
            let hash = Sha256::digest(bytes).into();
            meaning::policy(document, path, hash, text, &mut report)
        });
        report.or(policy)
    }

    /// Reads the policy file at `path`.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, and everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, PolicyErrors> {
        Self::parse(path, &read_file(path)?)
    }
}

/// The text of a file that is neither too big nor anything but UTF-8.
pub(super) fn decode<'b>(path: &Path, bytes: &'b [u8]) -> Result<&'b str, PolicyErrors> {
    if bytes.len() > MAX_BYTES {
        return Err(PolicyErrors::whole(path, Problem::TooBig, None));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let (good, _) = bytes.split_at_checked(error.valid_up_to()).unwrap_or((bytes, &[]));
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        let mend = format!("save the file as UTF-8; the first bad byte is on line {line}");
        PolicyErrors::whole(path, Problem::NotUtf8, Some(&mend))
    })
}

/// The bytes of a regular file, up to one more than the limit.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, PolicyErrors> {
    let unreadable = |why: String| PolicyErrors::whole(path, Problem::Unreadable(why), None);
    // Asked before it is opened: opening a pipe would wait for a writer.
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if !metadata.is_file() {
        return Err(unreadable("not a regular file".to_owned()));
    }
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|error| unreadable(error.to_string()))?;
    Ok(bytes)
}
