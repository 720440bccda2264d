//! Checks files of an audit log: which belong to it, in which order, and line by line.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::Head;
use super::chain::Line;
use super::check::{Checker, Report};
use super::key::{PublicKey, public_path};
use super::start::{kept_head, parse_head};
use crate::error::{Error, Result};
use crate::sink::rotate;

/// The longest line that is read, in bytes. An event is far shorter.
const LONGEST: u64 = 16 << 20;

/// What is to be checked, and with what.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The files; the order does not matter.
    pub files: Vec<PathBuf>,
    /// The keys that are trusted.
    pub keys: Vec<PublicKey>,
    /// The last checkpoint, as it was noted elsewhere.
    pub kept: Option<Head>,
}

impl Sources {
    /// All that this host has of the log at a path: the file, those that were put aside,
    /// the public half of the key, and the last checkpoint as it was noted.
    ///
    /// # Errors
    ///
    /// Where they cannot be read.
    pub fn of_host(path: &Path, key: &Path) -> Result<Self> {
        let mut files = rotate::aside(path).map_err(Error::io("look for files of", path))?;
        files.push(path.to_owned());
        let public = public_path(key);
        let keys = if public.exists() { vec![PublicKey::load(&public)?] } else { Vec::new() };
        Ok(Self { files, keys, kept: kept_head(key, path) })
    }

    /// Takes the last checkpoint from a file, or from its text `NUMBER:HASH`.
    ///
    /// # Errors
    ///
    /// Where it is neither.
    pub fn set_kept(&mut self, text: &str) -> Result<()> {
        let from_file = std::fs::read_to_string(text).ok();
        self.kept = parse_head(from_file.as_deref().unwrap_or(text));
        match self.kept {
            Some(_) => Ok(()),
            None => Err(Error::Usage(format!(
                "{text:?} is no checkpoint\n  = give NUMBER:HASH, as `audit verify` prints it, or the file audit.head"
            ))),
        }
    }
}

/// Checks an audit log.
///
/// # Errors
///
/// Where a file cannot be read. What is wrong with the log is in the report.
pub fn verify(sources: Sources) -> Result<Report> {
    let mut checker = Checker::new(sources.keys, sources.kept);
    for path in in_order(sources.files)? {
        check(&path, &mut checker).map_err(Error::io("read", &path))?;
    }
    Ok(checker.finish())
}

/// The files by their first entry; one that has none to tell goes first, where it will be
/// found out.
fn in_order(files: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    let mut numbered = Vec::new();
    for path in files {
        let first = first_entry(&path).map_err(Error::io("read", &path))?;
        numbered.push((first, path));
    }
    numbered.sort();
    Ok(numbered.into_iter().map(|(_, path)| path).collect())
}

/// The number of the first entry that can be read.
fn first_entry(path: &Path) -> io::Result<u64> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    while next(&mut reader, &mut line)? {
        if let Ok(read) = Line::read(line.strip_suffix(b"\n").unwrap_or(&line)) {
            return Ok(read.place.seq);
        }
    }
    Ok(0)
}

fn check(path: &Path, checker: &mut Checker) -> io::Result<()> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    let mut number = 0;
    while next(&mut reader, &mut line)? {
        number += 1;
        match line.strip_suffix(b"\n") {
            Some(line) => checker.line(path, number, line),
            None => checker.torn(path, number),
        }
    }
    Ok(())
}

/// The next line with its end, which only the last one can lack; false where there is none.
fn next(reader: &mut BufReader<File>, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    Ok(reader.by_ref().take(LONGEST).read_until(b'\n', line)? > 0)
}
