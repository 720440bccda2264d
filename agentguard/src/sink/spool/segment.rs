//! Segment files: framing records, reading them back, and finding where the whole
//! ones end.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::{MAX_RECORD, SpoolError};

/// Length and CRC, before each payload, in bytes.
pub(super) const HEADER: u64 = 8;
const SUFFIX: &str = ".v1.seg";

/// A segment file, as far as it is known.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// Where its last whole record ends, in bytes.
    pub(super) len: u64,
    /// Records in it that were not delivered yet.
    pub(super) records: u64,
}

/// The path of a segment.
pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016x}{SUFFIX}"))
}

/// The numbers of the segments in a directory, the oldest first.
pub(super) fn numbers(directory: &Path) -> Result<Vec<u64>, SpoolError> {
    let failed = |error| SpoolError::io("list", directory)(error);
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        numbers.extend(number.and_then(|number| u64::from_str_radix(number, 16).ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A new, empty segment file; it must not be there yet.
pub(super) fn create(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

/// A payload with its header before it.
pub(super) fn frame(payload: &[u8]) -> Result<Vec<u8>, SpoolError> {
    let too_large = || SpoolError::TooLarge(payload.len());
    if payload.len() > MAX_RECORD {
        return Err(too_large());
    }
    let len = u32::try_from(payload.len()).map_err(|_| too_large())?.to_le_bytes();
    let mut frame = Vec::with_capacity(payload.len() + 8);
    frame.extend(len);
    frame.extend(sum(len, payload).to_le_bytes());
    frame.extend(payload);
    Ok(frame)
}

/// The CRC covers the length too: zeroes, which some file systems leave after a
/// crash, are no record.
fn sum(len: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&len);
    hasher.update(payload);
    hasher.finalize()
}

fn split(header: [u8; 8]) -> ([u8; 4], u32) {
    let [a, b, c, d, e, f, g, h] = header;
    ([a, b, c, d], u32::from_le_bytes([e, f, g, h]))
}

/// The payload of the record at `offset`, in a file of which `end` bytes count;
/// `None` where no whole record is there.
pub(super) fn read(file: &File, offset: u64, end: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(room) = end.checked_sub(offset).and_then(|rest| rest.checked_sub(HEADER)) else {
        return Ok(None);
    };
    let mut header = [0; 8];
    if let Err(error) = file.read_exact_at(&mut header, offset) {
        return short(error);
    }
    let (len, crc) = split(header);
    let size = u32::from_le_bytes(len);
    let Ok(bytes) = usize::try_from(size) else { return Ok(None) };
    if u64::from(size) > room || bytes > MAX_RECORD {
        return Ok(None);
    }
    let mut payload = vec![0; bytes];
    if let Err(error) = file.read_exact_at(&mut payload, offset + HEADER) {
        return short(error);
    }
    Ok((sum(len, &payload) == crc).then_some(payload))
}

/// A file that ends too early holds no record there; other errors are errors.
fn short(error: io::Error) -> io::Result<Option<Vec<u8>>> {
    if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) }
}

impl Segment {
    /// Reads a segment through, cuts off what is no whole record at its end, and says
    /// how many bytes that was.
    pub(super) fn mend(number: u64, path: &Path) -> Result<(Self, u64), SpoolError> {
        let file = File::options().read(true).write(true).open(path);
        let file = file.map_err(SpoolError::io("open", path))?;
        let len = file.metadata().map_err(SpoolError::io("look at", path))?.len();
        let ends = record_ends(&file).map_err(SpoolError::io("read", path))?;
        let whole = ends.last().copied().unwrap_or(0);
        if whole < len {
            file.set_len(whole).map_err(SpoolError::io("cut the torn end off", path))?;
        }
        let records = u64::try_from(ends.len()).unwrap_or(u64::MAX);
        Ok((Self { number, len: whole, records }, len - whole))
    }

    /// Counts the records before `offset` as delivered; false where no record begins
    /// or ends there.
    pub(super) fn skip_to(&mut self, path: &Path, offset: u64) -> Result<bool, SpoolError> {
        if offset == 0 {
            return Ok(true);
        }
        let file = File::open(path).map_err(SpoolError::io("open", path))?;
        let ends = record_ends(&file).map_err(SpoolError::io("read", path))?;
        let Some(index) = ends.iter().position(|end| *end == offset) else { return Ok(false) };
        let rest = ends.len().saturating_sub(index).saturating_sub(1);
        self.records = u64::try_from(rest).unwrap_or(u64::MAX);
        Ok(true)
    }
}

/// Where each whole record ends, from the beginning up to the first that is not whole.
fn record_ends(file: &File) -> io::Result<Vec<u64>> {
    let mut input = io::BufReader::new(file);
    let mut ends = Vec::new();
    let mut at = 0_u64;
    let mut payload = Vec::new();
    loop {
        let mut header = [0; 8];
        match input.read_exact(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(ends),
            other => other?,
        }
        let (len, crc) = split(header);
        let size = u32::from_le_bytes(len);
        if usize::try_from(size).map_or(true, |size| size > MAX_RECORD) {
            return Ok(ends);
        }
        payload.clear();
        // No more is set aside than the file has, whatever the length says.
        (&mut input).take(u64::from(size)).read_to_end(&mut payload)?;
        if payload.len() < usize::try_from(size).unwrap_or(usize::MAX) || sum(len, &payload) != crc
        {
            return Ok(ends);
        }
        at = at.saturating_add(HEADER).saturating_add(u64::from(size));
        ends.push(at);
    }
}
