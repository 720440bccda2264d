//! How the audit log is opened, after whatever the last daemon left, and how a file of it
//! gives way to the next.

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use super::chain::{Head, Kind};
use super::key::{Key, random, replace, sync_directory};
use super::mend::{End, end_of, set_apart};
use super::sync::Syncer;
use super::{Audit, Options};
use crate::error::{Error, Result};
use crate::hex;
use crate::sink::rotate;

impl Audit {
    /// Opens the audit log, and the chain goes on where it ended.
    ///
    /// # Errors
    ///
    /// [`Error::Audit`] where the file or its key cannot be used.
    pub fn open(options: Options) -> Result<Self> {
        let failed = |source| Error::Audit { path: options.path.clone(), source };
        if let Some(directory) = options.path.parent().filter(|path| !path.as_os_str().is_empty()) {
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(0o750).create(directory).map_err(failed)?;
        }
        let key = Key::open(&options.key)?;
        let (end, mut first) = take_over(&options.path).map_err(failed)?;
        let head = end.head.unwrap_or_else(Head::before_all);
        if let Some(kept) =
            kept_head(&options.key, &options.path).filter(|kept| kept.seq > head.seq)
        {
            tracing::error!(
                last = head.seq,
                checkpoint = kept.seq,
                "the end of the audit log is gone: its last checkpoint was later"
            );
            let entry = json!({ "missing_after": head.seq, "last_checkpoint": kept.seq });
            first.push_back((Kind::Mended, entry.to_string()));
        }
        let opened = json!({
            "key": key.public().text(),
            // Two logs never begin alike, so that no part of one fits into the other.
            "nonce": hex(&random::<16>()?),
            "version": env!("CARGO_PKG_VERSION"),
        });
        first.push_back((Kind::Opened, opened.to_string()));
        let (file, identity) = open_file(&options.path).map_err(failed)?;
        let mut audit = Self {
            key,
            file: Box::new(file),
            identity,
            head,
            len: end.good,
            torn: false,
            first,
            unsigned: 0,
            signed: Instant::now(),
            syncer: Syncer::start().map_err(Error::system("start a thread"))?,
            unsynced: false,
            lost: 0,
            known: end.record,
            rotate_at: options.rotate_at,
            options,
        };
        // On a full disk this waits for room, as all that follows does.
        if audit.prepare() {
            audit.checkpoint("start");
        }
        Ok(audit)
    }

    /// Puts the file aside, under the number of the last entry in it, and begins the next.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        let path = self.options.path.clone();
        let aside = match identity_of(&path) {
            Ok(identity) if identity == self.identity => {
                rotate::put_aside_as(&path, &format!("{:012}", self.head.seq))?
            }
            // Somebody else did, or an earlier attempt came so far.
            _ => PathBuf::new(),
        };
        self.go_on(&aside)?;
        sync_directory(&path)?;
        match self.options.keep {
            Some(keep) => rotate::prune(&path, keep),
            None => Ok(()),
        }
    }

    /// Goes on in a new file, where the one that is open was moved away or removed.
    ///
    /// # Errors
    ///
    /// [`Error::Audit`]; the file that was open is written on.
    pub fn reopen(&mut self) -> Result<()> {
        let path = self.options.path.clone();
        if identity_of(&path).is_ok_and(|identity| identity == self.identity) {
            return Ok(());
        }
        self.checkpoint("rotate");
        self.go_on(Path::new("")).map_err(|source| Error::Audit { path, source })
    }

    /// Goes on in the file at the log's path, which is another than before.
    fn go_on(&mut self, aside: &Path) -> io::Result<()> {
        let (file, identity) = open_file(&self.options.path)?;
        self.len = file.metadata()?.len();
        (self.file, self.identity) = (Box::new(file), identity);
        (self.rotate_at, self.torn) = (self.options.rotate_at, false);
        self.first.push_front(continued(aside));
        self.prepare();
        Ok(())
    }
}

/// The first line of a file that goes on with another.
fn continued(aside: &Path) -> (Kind, String) {
    let name = aside.file_name().unwrap_or_default().to_string_lossy();
    (Kind::Continued, json!({ "after": name }).to_string())
}

fn open_file(path: &Path) -> io::Result<(File, (u64, u64))> {
    let file = File::options().append(true).create(true).mode(0o600).open(path)?;
    let identity = identity(&file.metadata()?);
    Ok((file, identity))
}

/// Which file it is, whatever its name.
fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn identity_of(path: &Path) -> io::Result<(u64, u64)> {
    Ok(identity(&std::fs::metadata(path)?))
}

/// Finds the end of the chain, cuts off what stands behind it, and says what the next
/// lines have to tell of that.
fn take_over(path: &Path) -> io::Result<(End, VecDeque<(Kind, String)>)> {
    let mut first = VecDeque::new();
    let mut end = match end_of(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => End::default(),
        end => end?,
    };
    let rest = end.rest.take();
    if end.head.is_none()
        && let Some((last, aside)) = last_aside(path)?
    {
        end.record = end.record.or(last.record);
        end.head = last.head;
        first.push_back(continued(&aside));
    }
    if let Some(rest) = rest {
        let seq = end.head.as_ref().map_or(0, |head| head.seq);
        let apart = path.with_added_extension(format!("cut-off-after-{seq}"));
        // On a full disk its hash is all that stays of it.
        if let Err(error) = set_apart(path, end.good, &apart) {
            tracing::warn!(%error, "what is cut off the audit log's end cannot be kept");
        }
        File::options().write(true).open(path)?.set_len(end.good)?;
        tracing::warn!(bytes = rest.bytes, kept = %apart.display(), "the audit log's end was cut off: it could not be read");
        let entry = json!({ "bytes": rest.bytes, "sha256": rest.sha256 });
        first.push_back((Kind::Mended, entry.to_string()));
    }
    Ok((end, first))
}

/// The end of the file that was put aside last.
fn last_aside(path: &Path) -> io::Result<Option<(End, PathBuf)>> {
    let aside = rotate::aside(path)?.pop();
    aside.map(|aside| end_of(&aside).map(|end| (end, aside))).transpose()
}

/// Where the last checkpoint is noted: beside the key, away from the log.
pub(super) fn head_path(key: &Path) -> PathBuf {
    key.with_extension("head")
}

/// Notes the last checkpoint, and of which log it is.
pub(super) fn keep_head(key: &Path, path: &Path, head: &Head) -> io::Result<()> {
    let text = format!("{} {} {}\n", head.seq, head.hash, path.display());
    replace(&head_path(key), 0o644, text.as_bytes())
}

/// The last checkpoint of a log as it was noted. Another log of the same key has others.
pub(super) fn kept_head(key: &Path, path: &Path) -> Option<Head> {
    let text = std::fs::read_to_string(head_path(key)).ok()?;
    let of = text.trim_end().splitn(3, ' ').nth(2)?;
    (Path::new(of) == path).then(|| parse_head(&text))?
}

/// A number and a hash, with a space or a colon between.
pub(super) fn parse_head(text: &str) -> Option<Head> {
    let mut words = text.trim().split([' ', ':']);
    let (seq, hash) = (words.next()?.parse().ok()?, words.next()?);
    (hash.len() == 64).then(|| Head { seq, hash: hash.to_owned() })
}
