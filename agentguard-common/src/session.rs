//! Sessions as the kernel knows them: the label on a task, and the entry that
//! the label points to.

use bytemuck::{Pod, Zeroable};

use crate::egress::MAX_POLICIES;
use crate::limit::{LIMITS, Rate};

/// How many sessions can be alive at once. Slots are used again.
pub const MAX_SESSIONS: u32 = 16_384;

/// What every task of a session carries (task storage). Copied to each child
/// before it can run; nothing in user space can take it off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct TaskLabel {
    /// The session, a number that is never used again; 0 means no session.
    pub session: u64,
    /// Where its [`SessionEntry`] stands.
    pub slot: u32,
    /// The capability that the task was just refused, where the kernel asks for another one in
    /// its place; else 0.
    pub refused: u32,
}

/// What every socket carries that a task of a session made (socket storage): where
/// packets are looked at, the task that runs is not always the one that sent them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct SocketLabel {
    /// The session.
    pub session: u64,
    /// Where its [`SessionEntry`] stands.
    pub slot: u32,
    /// The number of the network namespace that the socket is in, for good.
    pub namespace: u32,
    /// The process that made it.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// Its real user id.
    pub uid: u32,
    /// Its real group id.
    pub gid: u32,
    /// Its name.
    pub comm: [u8; 16],
    /// How far the reading of its first bytes is, a [`crate::hello::state`].
    pub hello: u32,
    /// The policy that decided last on where it is connected to, the lower half of its
    /// [`tag`](crate::egress::PolicyEntry::tag); 0 for none. Under another policy it is
    /// decided anew. [`SPOILED`] for good, once it was.
    pub policy: u32,
}

/// [`SocketLabel::policy`] of a connection on which something was handed over that a tainted
/// session may not send: it stands before all that could follow.
pub const SPOILED: u32 = u32::MAX;

impl SocketLabel {
    /// The label of the task that made it.
    #[inline(always)]
    #[must_use]
    pub const fn of_maker(&self) -> TaskLabel {
        TaskLabel { session: self.session, slot: self.slot, refused: 0 }
    }
}

/// Where a session listens: the key of its own TCP ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct ListenKey {
    /// The address, "any" included; IPv4 mapped.
    pub address: crate::net::Address,
    /// The session.
    pub session: u64,
    /// The number of the network namespace.
    pub namespace: u32,
    /// The port.
    pub port: u16,
    /// Zero.
    pub reserved: u16,
}

/// How many own ports are known on a host.
pub const MAX_LISTENERS: u32 = 16_384;

/// What the kernel needs to know of a session. Written by the daemon alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct SessionEntry {
    /// The session's number, equal to its tasks' [`TaskLabel::session`]; 0 marks
    /// a free slot. A label that does not agree is denied everything.
    pub session: u64,
    /// The id of the session's cgroup.
    pub cgroup: u64,
    /// [`Terms`], packed.
    pub terms: u64,
    /// The limits per time, in the order of [`crate::limit::LIMITS`].
    pub rates: [Rate; LIMITS.len()],
}

/// What decides on a session. It is changed as one number, and read as one: no decision sees
/// one policy's rules on hosts and another's on files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The slot of its policy, below [`MAX_POLICIES`].
    pub policy: u32,
    /// The slot of what holds for its egress once it is tainted, see [`Taint`]; that of its
    /// policy, where that is the same.
    pub tainted: u32,
    /// The automaton of the rules on files and programs, see [`crate::path`]; 0 where the
    /// policy has none.
    pub files: u32,
    /// Any of [`program`], four bits.
    pub exec: u32,
    /// A [`State`], four bits.
    pub state: u32,
}

/// How many bits a slot takes.
const SLOT_BITS: u32 = MAX_POLICIES.trailing_zeros();
const SLOT_MASK: u32 = MAX_POLICIES - 1;
const _: () = assert!(MAX_POLICIES.is_power_of_two() && 32 + 2 * SLOT_BITS + 8 <= 64);

impl Terms {
    /// As one number.
    #[inline(always)]
    #[must_use]
    pub const fn pack(self) -> u64 {
        self.files as u64
            | ((self.policy & SLOT_MASK) as u64) << 32
            | ((self.tainted & SLOT_MASK) as u64) << (32 + SLOT_BITS)
            | ((self.exec & 15) as u64) << 56
            | ((self.state & 15) as u64) << 60
    }

    /// From that number.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "each part is cut to its bits")]
    pub const fn unpack(packed: u64) -> Self {
        Self {
            policy: (packed >> 32) as u32 & SLOT_MASK,
            tainted: (packed >> (32 + SLOT_BITS)) as u32 & SLOT_MASK,
            files: packed as u32,
            exec: (packed >> 56) as u32 & 15,
            state: (packed >> 60) as u32,
        }
    }
}

/// How many sessions can be tainted at once, those included that ended a while ago.
pub const MAX_TAINTED: u32 = 65_536;

/// A session has read what its policy calls secret. Written by the kernel, before the read
/// returns; taken away by the daemon, when a person clears the session and some time after
/// its end: until then the kernel may have something left to send that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Taint {
    /// Since when, in nanoseconds since boot.
    pub since: u64,
    /// What held for its egress from then on: the lower half of the policy's
    /// [`tag`](crate::egress::PolicyEntry::tag), as in [`SocketLabel::policy`]; 0 where it
    /// was the same as before.
    pub policy: u32,
    /// Zero.
    pub reserved: u32,
}

/// What else holds for the files and programs of a session.
pub mod program {
    /// What the session may write, it may not execute.
    pub const WRITABLE_DENIED: u32 = 1;
    /// Programs without a path may be executed: in memory, deleted, or on file systems that
    /// the session has made for itself.
    pub const MEMORY_ALLOWED: u32 = 2;
    /// Whatever is done with a file is told, what is only read or executed too: somebody learns
    /// from the session.
    pub const TOLD: u32 = 4;
}

/// What the kernel does with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// The policy is enforced.
    Enforce = 1,
    /// The policy is evaluated and recorded, nothing is refused.
    Observe = 2,
    /// The session is being ended: no fork, no exec, no connection.
    Ending = 3,
}

impl State {
    /// Reads a state from a map; anything unknown is `None`, and denied.
    #[inline(always)]
    #[must_use]
    pub const fn from_u32(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Enforce),
            2 => Some(Self::Observe),
            3 => Some(Self::Ending),
            _ => None,
        }
    }
}

/// What the kernel counts for a session. Written by the kernel alone, apart from
/// being cleared before a slot is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct SessionCount {
    /// Tasks (threads included) that are alive: a hint, as a tracepoint can be left out.
    pub tasks: u64,
    /// When the [`WINDOW`](crate::resolve::WINDOW) began, in seconds since boot.
    pub window: u64,
    /// How many addresses were learned in it.
    pub learned: u64,
    /// The buckets of the limits, see [`crate::limit`].
    pub buckets: [u64; LIMITS.len()],
    /// When a refusal for each of them was last told of, in nanoseconds since boot.
    pub told: [u64; LIMITS.len()],
    /// How much was done of each, whether it is limited or not.
    pub used: [u64; LIMITS.len()],
    /// Calls that were held, see [`crate::hold`].
    pub held: u64,
    /// Those of them that were answered.
    pub released: u64,
    /// Packets that were sent to elsewhere.
    pub packets_out: u64,
    /// Packets that came from elsewhere.
    pub packets_in: u64,
    /// The bytes of those, headers included.
    pub bytes_in: u64,
}
