//! Paths of files: what a policy says of each, found component by component.
//!
//! The daemon compiles a policy's rules on files and programs, with `~`, `${workspace}` and
//! the other variables of a session put in, into an automaton whose letters are the
//! components of a path. Each of its states knows all that may be done with the path that
//! leads there, so that the verdict on a path of depth *n* takes about *n* look-ups, however
//! many rules there are. Paths are those of the host's first process (PID 1); where the
//! kernel finds a file in it is not this module's business.
//!
//! What is not a path any more: names longer than [`NAME_MAX`] bytes, paths deeper than
//! [`DEPTH_MAX`] components. They are denied by whoever meets them.

use bytemuck::{Pod, Zeroable};

use crate::opaque;
use crate::verdict::{Reason, Ruling, Verdict};

/// The longest name of a directory's entry in bytes (`NAME_MAX` of `linux/limits.h`).
pub const NAME_MAX: usize = 255;
/// The deepest path, in components.
pub const DEPTH_MAX: u32 = 128;
/// How many bytes of a name are compared at once. Longer names take several steps.
pub const CHUNK: usize = 24;
/// How many steps the longest name takes.
pub const CHUNKS: usize = NAME_MAX.div_ceil(CHUNK);
/// Room for a name and the zeros behind it.
pub const ROOM: usize = 288;
const _: () = assert!(NAME_MAX + CHUNK <= ROOM && CHUNKS * CHUNK <= ROOM);

/// How many edges there may be on a host, all policies together.
pub const MAX_EDGES: u32 = 1 << 20;
/// How many rows of classifiers, likewise.
pub const MAX_ROWS: u32 = 1 << 14;

/// What leads from a state to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct EdgeKey {
    /// The state; for [`edge::START`] the automaton itself.
    pub from: u32,
    /// What kind of edge, one of [`edge`].
    pub what: u32,
    /// For [`edge::PART`] and [`edge::NAME`], bytes of the name, zeros behind them; for
    /// [`edge::CLASS`] the class in the first four, in the host's order.
    pub bytes: [u8; CHUNK],
}

/// The kinds of edges.
pub mod edge {
    /// [`CHUNK`](super::CHUNK) bytes of a name that has more.
    pub const PART: u32 = 1;
    /// The last bytes of a name, or all of it.
    pub const NAME: u32 = 2;
    /// A name of a class, see [`Row`](super::Row).
    pub const CLASS: u32 = 3;
    /// Any other name.
    pub const OTHER: u32 = 4;
    /// The root of the tree.
    pub const START: u32 = 5;
}

/// A state, and what may be done with the paths that lead there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Node {
    /// Its number; those of different policies differ.
    pub state: u32,
    /// Any of [`flag`].
    pub flags: u32,
    /// The row in which the classifier of its names begins; 0 where it has none.
    pub classes: u32,
    /// Reading it.
    pub read: Right,
    /// Writing, creating, removing it, changing what is known of it.
    pub write: Right,
    /// Executing it.
    pub exec: Right,
}

/// What is to be known of a [`Node`].
pub mod flag {
    /// It has no edges: everything below it is as it is itself.
    pub const FINAL: u32 = 1;
    /// What no other edge speaks of leads to itself.
    pub const STAYS: u32 = 2;
    /// Reading it taints the session.
    pub const SECRET: u32 = 4;
}

/// A verdict and the rule it comes from: the verdict in the highest byte, the rule's number
/// in the others, [`RULE_NONE`](crate::verdict::RULE_NONE) for the section's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct Right(pub u32);

impl Right {
    /// The greatest number of a rule.
    pub const RULE_MAX: u32 = (1 << 24) - 1;

    /// A right by a rule.
    #[must_use]
    pub const fn new(verdict: Verdict, rule: u32) -> Self {
        Self((verdict as u32) << 24 | rule & Self::RULE_MAX)
    }

    /// What it says; closed where its byte is no verdict.
    #[inline(always)]
    #[must_use]
    pub const fn ruling(self) -> Ruling {
        let rule = self.0 & Self::RULE_MAX;
        match Verdict::from_u8((self.0 >> 24) as u8) {
            Some(verdict) => {
                let reason = if rule == 0 { Reason::Default } else { Reason::Rule };
                Ruling { verdict, reason, rule }
            }
            None => Ruling::closed(Reason::Malformed),
        }
    }
}

/// A state of a classifier of names, which reads a name byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Row {
    /// Where each byte leads; row 0 is where no pattern matches any more.
    pub next: [u16; 256],
    /// The class of a name that ends here; 0 where no pattern matches it.
    pub class: u32,
}

/// The tables.
pub trait Table {
    /// Where an edge leads.
    fn edge(&self, key: &EdgeKey) -> Option<&Node>;
    /// A row of a classifier.
    fn row(&self, number: u32) -> Option<&Row>;
}

/// A name on its way through the automaton.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Name {
    /// The name, and [`CHUNK`] zeros behind it.
    pub bytes: [u8; ROOM],
    /// Its length in bytes, 1 to [`NAME_MAX`].
    pub len: u32,
    /// Zero.
    pub reserved: u32,
}

impl Name {
    /// A name of so many bytes; `None` where it is empty or too long.
    #[must_use]
    pub fn new(name: &[u8]) -> Option<Self> {
        let mut bytes = [0; ROOM];
        let len = u32::try_from(name.len()).ok()?;
        if name.is_empty() || name.len() > NAME_MAX {
            return None;
        }
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        Some(Self { bytes, len, reserved: 0 })
    }
}

/// The state that an automaton begins in: the root of the tree.
#[inline(always)]
#[must_use]
pub fn start<T: Table>(table: &T, automaton: u32) -> Option<Node> {
    table.edge(&EdgeKey { from: automaton, what: edge::START, bytes: [0; CHUNK] }).copied()
}

/// Goes from a state to that of an entry of its directory; false where the tables are
/// broken, which is a denial.
///
/// `key` is memory to work in.
#[inline(always)]
pub fn step<T: Table>(table: &T, node: &mut Node, name: &Name, key: &mut EdgeKey) -> bool {
    if node.flags & flag::FINAL != 0 {
        return true;
    }
    if let Some(next) = literal(table, node.state, name, key) {
        *node = *next;
        return true;
    }
    key.from = node.state;
    key.bytes = [0; CHUNK];
    if node.classes != 0 {
        let class = classify(table, node.classes, name);
        if class != 0 {
            key.what = edge::CLASS;
            key.bytes[..4].copy_from_slice(&class.to_ne_bytes());
            let Some(next) = table.edge(key) else { return false };
            *node = *next;
            return true;
        }
    }
    if node.flags & flag::STAYS != 0 {
        return true;
    }
    key.what = edge::OTHER;
    let Some(next) = table.edge(key) else { return false };
    *node = *next;
    true
}

/// Where a name leads that stands in the automaton as it is.
#[inline(always)]
pub fn literal<'a, T: Table>(
    table: &'a T,
    state: u32,
    name: &Name,
    key: &mut EdgeKey,
) -> Option<&'a Node> {
    key.from = state;
    for chunk in 0..CHUNKS {
        let at = chunk * CHUNK;
        key.bytes.copy_from_slice(name.bytes.get(at..at + CHUNK)?);
        let last = name.len as usize <= at + CHUNK;
        key.what = if last { edge::NAME } else { edge::PART };
        let next = table.edge(key)?;
        if last {
            return Some(next);
        }
        key.from = next.state;
    }
    None
}

/// The class of a name; 0 where no pattern matches it.
#[inline(always)]
fn classify<T: Table>(table: &T, first: u32, name: &Name) -> u32 {
    let mut at = first;
    for place in 0..NAME_MAX {
        if place >= name.len as usize || at == 0 {
            break;
        }
        let Some(row) = table.row(at) else { return 0 };
        let byte = name.bytes[place];
        at = u32::from(row.next[opaque::cut(u32::from(byte), 255)]);
    }
    if at == 0 {
        return 0;
    }
    table.row(at).map_or(0, |row| row.class)
}

/// What is remembered of a directory (inode storage): where its path leads in the automata
/// that asked last. Good for as long as nothing on the host was renamed or mounted since.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Remembered {
    /// 1 while it is being written.
    pub busy: u32,
    /// Odd while it is being written; another number afterwards.
    pub turn: u32,
    /// The two last ones.
    pub paths: [RememberedPath; 2],
}

/// A directory's path in an automaton.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct RememberedPath {
    /// The automaton; 0 for none.
    pub automaton: u32,
    /// The count of renamings on the host when it was found (`rename_lock` of `fs/dcache.c`).
    pub renames: u32,
    /// The count of changes of mounts.
    pub mounts: u32,
    /// The place by which it was found.
    pub place: u32,
    /// The state that its path leads to.
    pub node: Node,
}
