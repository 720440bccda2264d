//! Where file systems stand in the tree of the host's first process (PID 1), whose paths
//! the rules speak of.
//!
//! The kernel knows a file by its file system and its way down from that file system's own
//! root, whatever mounts or links a process used to get there. The daemon reads PID 1's
//! mounts and says of each file system where its root stands in the tree, or where parts of
//! it stand, as bind mounts and subvolumes do. A file that stands in several places has a
//! path in each.

use bytemuck::{Pod, Zeroable};

use crate::path::{NAME_MAX, Name, Node};

/// How many file systems are known.
pub const MAX_DEVICES: u32 = 16_384;
/// How many places.
pub const MAX_PLACES: u32 = 16_384;
/// In how many places a file can stand; with more, it is denied.
pub const PLACES: usize = 8;
/// In how many places the same directory can stand. Of more, the daemon takes the shortest.
pub const SAME: usize = 3;
/// The deepest place, in components.
pub const DEPTH: usize = 32;
/// The bytes of a place's names together.
pub const BYTES: usize = 1024;

/// What a file system is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct DeviceKey {
    /// [`BY_NUMBER`] or [`BY_TYPE`].
    pub what: u32,
    /// Its device number as the kernel has it (`super_block.s_dev`), or the magic number of
    /// its type.
    pub number: u32,
}

/// A file system by its number.
pub const BY_NUMBER: u32 = 1;
/// All file systems of a type, such as `proc`, that stand for one place wherever they are.
pub const BY_TYPE: u32 = 2;

/// Where a file system stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Device {
    /// The places of its root, zeros behind them; [`PRIVATE`] where it is known to be in
    /// nobody's tree but a session's own.
    pub places: [u32; SAME],
    /// Where its parts stand: a state of an automaton in the table of paths, whose nodes
    /// have [`places_of`] their own. 0 where no part of it stands anywhere else.
    pub parts: u32,
}

/// The places of a part, which a node of [`Device::parts`] has where others have rights.
#[inline(always)]
#[must_use]
pub const fn places_of(node: &Node) -> [u32; SAME] {
    [node.read.0, node.write.0, node.exec.0]
}

/// The place of file systems that a session has made for itself.
pub const PRIVATE: u32 = u32::MAX;

/// A place: the names on the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Place {
    /// How many names; none for the root of the tree.
    pub depth: u32,
    /// Zero.
    pub reserved: u32,
    /// How long each is.
    pub lens: [u8; DEPTH],
    /// The names, one behind the other, and zeros.
    pub bytes: [u8; BYTES],
}

impl Place {
    /// A place from its path; `None` where it is too long or too deep.
    #[must_use]
    pub fn new(path: &[u8]) -> Option<Self> {
        let mut place = Self::zeroed();
        let mut at = 0;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let len = u8::try_from(name.len()).ok()?;
            // A whole name is read from wherever one begins.
            if at + NAME_MAX >= BYTES {
                return None;
            }
            *place.lens.get_mut(place.depth as usize)? = len;
            place.bytes.get_mut(at..at + name.len())?.copy_from_slice(name);
            place.depth += 1;
            at += name.len();
        }
        Some(place)
    }

    /// Its names.
    pub fn names(&self) -> impl Iterator<Item = Option<Name>> {
        let mut at = 0;
        self.lens.iter().take(self.depth as usize).map(move |len| {
            let name = self.bytes.get(at..at + usize::from(*len)).and_then(Name::new);
            at += usize::from(*len);
            name
        })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn a_place_gives_its_names_back() {
        let place = Place::new(b"/var//lib/x").unwrap();
        let names: Vec<Vec<u8>> = place
            .names()
            .map(|name| name.map(|name| name.bytes[..name.len as usize].to_vec()).unwrap())
            .collect();
        assert_eq!(names, [b"var".to_vec(), b"lib".to_vec(), b"x".to_vec()]);
        assert_eq!(Place::new(b"/").unwrap().depth, 0);
    }

    #[test]
    fn what_does_not_fit_is_no_place() {
        assert!(Place::new(&[b'x'; 256]).is_none());
        assert!(Place::new(&b"/x".repeat(DEPTH + 1)).is_none());
        assert!(Place::new(&[b"/".as_slice(), &[b'x'; 255]].concat().repeat(5)).is_none());
    }
}
