//! What can be done with files, and which of a policy's rights it takes.

use bytemuck::{Pod, Zeroable};

use crate::path::{Node, Right};

/// What is to be done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Deed {
    /// To read it, or to list it where it is a directory.
    Read = 0,
    /// To write it.
    Write = 1,
    /// To make it, a plain file.
    Create = 2,
    /// To make it, a directory.
    Mkdir = 3,
    /// To make it, a device, a pipe or a socket.
    Mknod = 4,
    /// To make it, a symbolic link.
    Symlink = 5,
    /// To give a file another name.
    Link = 6,
    /// To move it, or to put it in the place of another.
    Rename = 7,
    /// To remove it.
    Delete = 8,
    /// To remove it, a directory.
    Rmdir = 9,
    /// To cut it short.
    Truncate = 10,
    /// To change who may do what with it.
    Chmod = 11,
    /// To change whose it is.
    Chown = 12,
    /// To change its times.
    Times = 13,
    /// To change its extended attributes, access lists among them.
    Attributes = 14,
    /// To execute it, as a program or as the interpreter of one.
    Exec = 15,
    /// To map it into memory as code.
    Map = 16,
    /// To take it over, open, from another process.
    Receive = 17,
    /// To mount there, or to unmount what is mounted there.
    Mount = 18,
    /// To make it the root of what a process sees.
    Root = 19,
}

/// All deeds, in the order of their numbers.
pub const DEEDS: [Deed; 20] = [
    Deed::Read,
    Deed::Write,
    Deed::Create,
    Deed::Mkdir,
    Deed::Mknod,
    Deed::Symlink,
    Deed::Link,
    Deed::Rename,
    Deed::Delete,
    Deed::Rmdir,
    Deed::Truncate,
    Deed::Chmod,
    Deed::Chown,
    Deed::Times,
    Deed::Attributes,
    Deed::Exec,
    Deed::Map,
    Deed::Receive,
    Deed::Mount,
    Deed::Root,
];

impl Deed {
    /// Reads a deed from an event; `None` for a byte that is none.
    #[must_use]
    pub fn from_u8(byte: u8) -> Option<Self> {
        DEEDS.get(usize::from(byte)).copied()
    }

    /// The word used in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Create => "create",
            Self::Mkdir => "mkdir",
            Self::Mknod => "mknod",
            Self::Symlink => "symlink",
            Self::Link => "link",
            Self::Rename => "rename",
            Self::Delete => "delete",
            Self::Rmdir => "rmdir",
            Self::Truncate => "truncate",
            Self::Chmod => "chmod",
            Self::Chown => "chown",
            Self::Times => "times",
            Self::Attributes => "attributes",
            Self::Exec => "exec",
            Self::Map => "map",
            Self::Receive => "receive",
            Self::Mount => "mount",
            Self::Root => "root",
        }
    }
}

/// The rights that a deed takes, any of them.
pub mod needs {
    /// To read it.
    pub const READ: u32 = 1;
    /// To write it.
    pub const WRITE: u32 = 2;
    /// To execute it.
    pub const EXEC: u32 = 4;
    /// What no right allows.
    pub const NEVER: u32 = 8;
}

impl Node {
    /// The right that is needed, where it is one.
    #[inline(always)]
    #[must_use]
    pub const fn right(&self, need: u32) -> Right {
        match need {
            needs::READ => self.read,
            needs::WRITE => self.write,
            _ => self.exec,
        }
    }
}

/// Whether a file is a device that every program uses and that keeps nothing: `null`, `zero`,
/// `full`, `random` and `urandom`; the terminal that a process has, and pseudo-terminals
/// (`Documentation/admin-guide/devices.txt`). `device` is the number as the kernel has it.
#[inline(always)]
#[must_use]
pub const fn is_harmless(mode: u32, device: u32) -> bool {
    let (major, minor) = (device >> 20, device & 0xf_ffff);
    let memory = major == 1 && (minor == 3 || minor == 5 || minor == 7 || minor == 8 || minor == 9);
    let terminal = major == 5 && (minor == 0 || minor == 2) || major >= 136 && major <= 143;
    mode & 0o170_000 == 0o020_000 && (memory || terminal)
}

/// A deed that was told of a short while ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct Told {
    /// The session.
    pub session: u64,
    /// The address of the file's entry in its directory, and what tells it from another one
    /// that comes to stand there.
    pub entry: u64,
    /// What its name is: hash, length and place in one number.
    pub name: u64,
    /// The [`Deed`].
    pub deed: u64,
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn only_devices_that_keep_nothing_are_harmless() {
        const CHARACTER: u32 = 0o020_666;
        assert!(is_harmless(CHARACTER, 1 << 20 | 3));
        assert!(is_harmless(CHARACTER, 136 << 20 | 2));
        assert!(!is_harmless(CHARACTER, 1 << 20 | 1), "/dev/mem");
        assert!(!is_harmless(CHARACTER, 5 << 20 | 1), "/dev/console");
        assert!(!is_harmless(0o060_666, 1 << 20 | 3), "a block device");
        assert!(!is_harmless(0o100_666, 1 << 20 | 3), "a plain file");
    }

    #[test]
    fn deeds_are_numbered_without_gaps_and_named_apart() {
        for (at, deed) in DEEDS.iter().enumerate() {
            assert_eq!(*deed as usize, at);
            assert_eq!(Deed::from_u8(u8::try_from(at).unwrap()), Some(*deed));
        }
        assert_eq!(Deed::from_u8(20), None);
        let words: BTreeSet<&str> = DEEDS.iter().map(|deed| deed.as_str()).collect();
        assert_eq!(words.len(), DEEDS.len());
    }
}
