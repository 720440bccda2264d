//! Where file systems stand in the tree of the host's first process, kept in step with its
//! list of mounts, which the kernel says has changed (`proc(5)`, `/proc/PID/mountinfo`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;

use agentguard_common::place::{BY_NUMBER, BY_TYPE, Place, SAME};

use crate::error::{Error, Result};
use crate::kernel::{Standing, Tables};

/// The first process's mounts.
const PATH: &str = "/proc/1/mountinfo";

/// Types of file systems that show the same wherever they are mounted, and so stand for the
/// first process's one: name and magic number (`linux/magic.h`).
const ALIKE: [(&str, u32); 5] = [
    ("proc", 0x9fa0),
    ("sysfs", 0x6265_6572),
    ("devpts", 0x1cd1),
    ("mqueue", 0x1980_0202),
    ("cgroup2", 0x6367_7270),
];

/// Keeps the kernel's tables in step.
pub(super) struct Mounts {
    file: File,
    standing: Standing,
}

impl Mounts {
    /// Reads the list and fills the tables.
    ///
    /// # Errors
    ///
    /// Where the list cannot be read or the tables cannot be written.
    pub(super) fn new(tables: &Tables) -> Result<Self> {
        let file = File::open(PATH).map_err(Error::io("open", PATH))?;
        let mut mounts = Self { file, standing: Standing::default() };
        mounts.refresh(tables)?;
        Ok(mounts)
    }

    /// What becomes ready (as an exception) when the list has changed.
    ///
    /// # Errors
    ///
    /// Where the descriptor cannot be duplicated.
    pub(super) fn watch(&self) -> Result<File> {
        self.file.try_clone().map_err(Error::system("watch the mounts"))
    }

    /// Reads the list again, and writes the tables where it says something else.
    ///
    /// # Errors
    ///
    /// As for [`Mounts::new`].
    pub(super) fn refresh(&mut self, tables: &Tables) -> Result<()> {
        let mut text = Vec::new();
        // Anew each time: what has been read to its end stays there.
        let mut file = File::open(PATH).map_err(Error::io("open", PATH))?;
        file.read_to_end(&mut text).map_err(Error::io("read", PATH))?;
        let standing = standing(&text);
        if standing != self.standing {
            tables.set_standing(&standing)?;
            self.standing = standing;
        }
        Ok(())
    }

    /// The path that a place stands for; `None` for a number that is none.
    pub(super) fn place(&self, number: u32) -> Option<&[u8]> {
        self.standing.places.get(&number).map(Vec::as_slice)
    }
}

/// A line of the list.
struct Mount {
    device: u32,
    /// The directory of the file system that is mounted; nothing for its root.
    root: Vec<u8>,
    point: Vec<u8>,
    kind: Vec<u8>,
}

fn standing(text: &[u8]) -> Standing {
    let mut all = Standing::default();
    let mut mounts: Vec<Mount> = text.split(|byte| *byte == b'\n').filter_map(parse).collect();
    // Of many places of the same directory, the shortest are known.
    mounts.sort_by(|a, b| (a.point.len(), &a.point).cmp(&(b.point.len(), &b.point)));
    let mut numbers: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for mount in &mounts {
        if Place::new(&mount.point).is_none() {
            let point = String::from_utf8_lossy(&mount.point);
            tracing::warn!(%point, "too long: what is mounted there is closed to sessions whose policies speak of files");
            continue;
        }
        let number = *numbers
            .entry(mount.point.clone())
            .or_insert_with(|| number_of(&mount.point, &all.places));
        all.places.insert(number, mount.point.clone());
        let mut stands = |key: (u32, u32), root: &[u8]| {
            let places = all
                .devices
                .entry(key)
                .or_default()
                .places
                .entry(root.to_vec())
                .or_insert([0; SAME]);
            let free = places.iter_mut().find(|place| **place == 0 || **place == number);
            if let Some(free) = free {
                *free = number;
            }
        };
        stands((BY_NUMBER, mount.device), &mount.root);
        let alike = ALIKE.iter().find(|(name, _)| mount.kind == name.as_bytes());
        if let (Some((_, magic)), true) = (alike, mount.root.is_empty()) {
            stands((BY_TYPE, *magic), b"");
        }
    }
    all
}

/// A number for a place, the same whenever there is one of that name: FNV-1a of its path,
/// or the next that is free.
fn number_of(path: &[u8], taken: &BTreeMap<u32, Vec<u8>>) -> u32 {
    let hash = path
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    (0..=u32::MAX)
        .map(|more| hash.wrapping_add(more))
        .find(|number| {
            *number != 0
                && *number != agentguard_common::place::PRIVATE
                && taken.get(number).is_none_or(|known| known == path)
        })
        .unwrap_or(1)
}

/// Reads a line: number, parent, major:minor, root, mount point, options, optional fields up
/// to a hyphen, type.
fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = std::str::from_utf8(fields.nth(2)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    let root = plain(fields.next()?);
    let point = plain(fields.next()?);
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?.to_vec();
    let root = if root == b"/" { Vec::new() } else { root };
    // As the kernel has device numbers for itself (`linux/kdev_t.h`).
    Some(Mount { device: major << 20 | minor, root, point, kind })
}

/// A path without its escapes: blanks, tabs, line ends and backslashes are written as three
/// octal digits.
fn plain(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match escaped {
            Some(byte) => {
                out.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        23 22 0:21 / /proc rw - proc proc rw\n\
        24 22 8:1 /srv/data /mnt/a\\040b rw - ext4 /dev/sda1 rw\n\
        25 22 0:30 /@home /home rw shared:9 master:2 - btrfs /dev/sdb rw\n\
        26 22 0:30 /@ /pool rw - btrfs /dev/sdb rw\n\
        rubbish\n";

    #[test]
    fn the_list_says_where_everything_stands() {
        let all = standing(LIST);
        let path = |number: u32| String::from_utf8(all.places[&number].clone()).unwrap();
        let disk = &all.devices[&(BY_NUMBER, 8 << 20 | 1)].places;
        assert_eq!(path(disk[b"".as_slice()][0]), "/");
        assert_eq!(path(disk[b"/srv/data".as_slice()][0]), "/mnt/a b");
        let pool = &all.devices[&(BY_NUMBER, 30)].places;
        assert_eq!(path(pool[b"/@home".as_slice()][0]), "/home");
        assert!(!pool.contains_key(b"".as_slice()), "the root of that one stands nowhere");
        assert_eq!(path(all.devices[&(BY_TYPE, 0x9fa0)].places[b"".as_slice()][0]), "/proc");
    }

    #[test]
    fn a_place_keeps_its_number() {
        let number = number_of(b"/home", &BTreeMap::new());
        assert_eq!(number, number_of(b"/home", &BTreeMap::from([(number, b"/home".to_vec())])));
        let other = number_of(b"/home", &BTreeMap::from([(number, b"/else".to_vec())]));
        assert_ne!(number, other);
    }

    #[test]
    fn of_many_places_of_the_same_the_shortest_are_known() {
        let text = b"1 1 8:1 / / rw - ext4 x rw\n2 1 8:1 / /aaaa rw - ext4 x rw\n3 1 8:1 / /b rw - ext4 x rw\n4 1 8:1 / /ccc rw - ext4 x rw\n";
        let all = standing(text);
        let places = all.devices[&(BY_NUMBER, 8 << 20 | 1)].places[b"".as_slice()];
        let known: Vec<&[u8]> = places.iter().map(|place| all.places[place].as_slice()).collect();
        assert_eq!(known, [b"/".as_slice(), b"/b", b"/ccc"]);
    }
}
