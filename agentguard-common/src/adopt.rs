//! Adoption: how a program that nobody started with `agentguard run` comes to be
//! in a session. The daemon keeps sessions on standby for each policy that says
//! `match:`; when a process of no session executes a program and matches, the
//! kernel takes one of them and labels the process, before the program runs.

use bytemuck::{Pod, Zeroable};

/// How many things can be matched on a host.
pub const MAX_MATCHES: u32 = 4096;
/// How many policies can have a `match:`.
pub const MAX_POOLS: u32 = 256;
/// Sessions that stand by for each of them.
pub const STANDBY: u32 = 8;
/// The longest path of a program that can be matched, its NUL included.
pub const EXE_LEN: usize = 256;
/// How many levels of cgroups are looked at, from the root's children down.
pub const CGROUP_LEVELS: u32 = 8;

/// What is matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum MatchKind {
    /// The program's path, as PID 1 and most processes see it.
    Exe = 1,
    /// The real user id.
    User = 2,
    /// The id of the process's cgroup, or of one above it.
    Cgroup = 3,
}

/// A thing to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct MatchKey {
    /// A [`MatchKind`].
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// The user id or cgroup id; 0 for a program.
    pub number: u64,
    /// The program's path, the rest zero.
    pub exe: [u8; EXE_LEN],
}

impl MatchKey {
    /// The key for a user or a cgroup.
    #[inline(always)]
    #[must_use]
    pub const fn number(kind: MatchKind, number: u64) -> Self {
        Self { kind: kind as u32, reserved: 0, number, exe: [0; EXE_LEN] }
    }

    /// The key for a program; `None` where the path is too long or holds a NUL.
    #[must_use]
    pub fn exe(path: &[u8]) -> Option<Self> {
        let mut key = Self::number(MatchKind::Exe, 0);
        if path.contains(&0) || path.len() >= EXE_LEN {
            return None;
        }
        key.exe.get_mut(..path.len())?.copy_from_slice(path);
        Some(key)
    }
}

/// A place for a session on standby. The daemon fills it with a slot; the kernel
/// takes it by removing it, which only one can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct StandbyKey {
    /// The policy's pool.
    pub pool: u32,
    /// The place in it, below [`STANDBY`].
    pub place: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_does_not_fit_is_no_key() {
        assert!(MatchKey::exe(&[b'a'; EXE_LEN - 1]).is_some());
        assert!(MatchKey::exe(&[b'a'; EXE_LEN]).is_none());
        assert!(MatchKey::exe(b"/bin/\0sh").is_none());
    }
}
