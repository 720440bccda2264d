//! From a file to what the rules say of its path: up its directories to the root of its file
//! system, from there to where that stands in the tree of the host's first process, and down
//! through the automaton of the session's rules.
//!
//! No mount that a process can make, and no link that it can follow, is on that way.

use agentguard_common::event::{File, PATH_LEN};
use agentguard_common::hold::Digest;
use agentguard_common::opaque::cut;
use agentguard_common::path::{self, CHUNK, DEPTH_MAX, EdgeKey, NAME_MAX, Name, Node};
use agentguard_common::place::{
    self, BY_NUMBER, BY_TYPE, DeviceKey, PLACES, PRIVATE, Place, SAME, places_of,
};
use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_kernel};
use bytemuck::Zeroable as _;

use crate::atomic;
use crate::kernel::{
    DENTRY_NAME, DENTRY_PARENT, DENTRY_SB, NS_LEVEL, RENAME_LOCK, SB_DEV, SB_FLAGS, SB_MAGIC,
    SB_USER_NS, probe,
};
use crate::maps::{self, Maps, TRAILS};
use crate::scratch::SLOTS;

/// `SB_NOUSER` of `linux/fs.h`: file systems that nobody can mount, the kernel's own.
const SB_NOUSER: u64 = 1 << 31;
/// How often a path is looked at anew that was renamed meanwhile.
const TRIES: u32 = 8;

/// How the way to a file ended.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum End {
    /// In one or more places of the tree.
    Found = 0,
    /// In none: pipes, sockets, memory.
    Internal = 1,
    /// In none: a file system that a session has mounted for itself.
    Private = 2,
    /// In none that is known.
    Nowhere = 3,
    /// Not within the limits, or the tables are broken.
    Beyond = 4,
}

/// A place on the way up: its number, and how many components are below it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Stop {
    pub(crate) place: u32,
    pub(crate) below: u32,
}

/// Memory to find a path in.
#[repr(C, align(8))]
pub(crate) struct Trail {
    /// The directory's entries from the file up, as many as `depth`.
    chain: [u64; DEPTH_MAX as usize],
    pub(crate) depth: u32,
    /// 1 once the root was reached.
    topped: u32,
    /// The file's entry.
    pub(crate) file: u64,
    /// That of the other file, where there are two.
    pub(crate) other: u64,
    /// The entry to look at next; in the end, the root of the file system.
    pub(crate) at: u64,
    /// The places that were passed.
    pub(crate) stops: [Stop; PLACES],
    pub(crate) stopped: u32,
    /// 1 once something was beyond the limits.
    broken: u32,
    /// What the rules say of it in each place.
    pub(crate) nodes: [Node; PLACES],
    /// The file system.
    pub(crate) device: u32,
    pub(crate) magic: u32,
    /// The parts of the file system that stand elsewhere, as far as the way leads there.
    parts: u32,
    /// Where a name of a place begins.
    offset: u32,
    /// The state that is being left.
    node: Node,
    name: Name,
    place: Place,
    /// What is needed, any of `agentguard_common::file::needs`.
    pub(crate) need: u32,
    /// What else the policy says of programs.
    pub(crate) exec: u32,
    /// In which of its places the file has the ruling that counts.
    pub(crate) which: u32,
    /// How many components of its path are to be written, where it begins, and how long it is
    /// by now.
    pub(crate) below: u32,
    pub(crate) from: u32,
    pub(crate) len: u32,
    /// Of the first of two files: the state, and how many places it has.
    pub(crate) before: Node,
    pub(crate) alone: u32,
    /// Not 0 where the rules call it secret, in one of its places; in the end, where this
    /// taints the session.
    pub(crate) secret: u32,
    /// What is asked, as far as it has been read.
    pub(crate) digest: Digest,
    /// The record about it, and the paths that it ends with.
    pub(crate) record: File,
    pub(crate) paths: [u8; 2 * PATH_LEN + NAME_MAX + 1],
    busy: u64,
}

impl Trail {
    /// Takes a free one of this CPU, by its number; as
    /// [`Scratch::take`](crate::scratch::Scratch::take).
    #[inline(always)]
    pub(crate) fn take() -> Option<u32> {
        for slot in 0..SLOTS {
            let trail = TRAILS.get_ptr_mut(slot)?;
            // SAFETY: the pointer is to a live map value.
            if unsafe { atomic::swap(&raw mut (*trail).busy, 1) } == 0 {
                return Some(slot);
            }
        }
        None
    }

    /// The one of that number, which must have been taken.
    #[inline(always)]
    pub(crate) fn of(slot: u32) -> Option<&'static mut Self> {
        let trail = TRAILS.get_ptr_mut(slot)?;
        // SAFETY: a live map value, which nobody else uses while it is taken.
        Some(unsafe { &mut *trail })
    }

    /// Gives one back.
    #[inline(always)]
    pub(crate) fn give(slot: u32) {
        if let Some(trail) = TRAILS.get_ptr_mut(slot) {
            // SAFETY: a live map value.
            unsafe { atomic::swap(&raw mut (*trail).busy, 0) };
        }
    }

    /// The entry at a place of the chain, 0 where there is none.
    #[inline(always)]
    pub(crate) fn entry(&self, at: u32) -> u64 {
        self.chain[cut(at, DEPTH_MAX - 1)]
    }
}

/// The count of renamings on this host, odd during one; the kernel's `rename_lock`.
#[inline(always)]
fn renames() -> u32 {
    // SAFETY: any bytes are a number; the loader has set the address of a `seqlock_t`, which
    // begins with its count.
    unsafe { probe(RENAME_LOCK.load() as *const u8, 0) }.unwrap_or(1)
}

/// Finds what the rules say of a file, whose entry is in `file`. In [`End::Found`], the
/// answers are in `nodes`, one for each of `stops`.
///
/// A global function to the verifier, as are the others with names of their own in the
/// object: walked once, wherever they are called from.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn trail_find(slot: u32, automaton: u32) -> u64 {
    for _ in 0..TRIES {
        let before = renames();
        let end = trail_go(slot, automaton);
        if before & 1 == 0 && renames() == before {
            return end;
        }
    }
    End::Beyond as u64
}

/// What the steps share.
struct Way {
    slot: u32,
    automaton: u32,
    depth: u32,
}

/// Finds what the rules say of a file.
#[inline(always)]
pub(crate) fn find(slot: u32, automaton: u32) -> u64 {
    trail_find(slot, automaton)
}

/// One way up and down.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn trail_go(slot: u32, automaton: u32) -> u64 {
    let mut way = Way { slot, automaton, depth: 0 };
    let end = upwards(&mut way);
    if end != End::Found as u64 {
        return end;
    }
    let Some(trail) = Trail::of(slot) else { return End::Beyond as u64 };
    let shared: *mut core::ffi::c_void = (&raw mut way).cast();
    // SAFETY: the function has the type that the helper calls, and what it is given lives
    // longer than the call.
    unsafe { bpf_loop(trail.stopped, descend as *mut core::ffi::c_void, shared, 0) };
    if trail.broken != 0 { End::Beyond as u64 } else { End::Found as u64 }
}

/// Finds where a file is, without any rules: a way up. Not looked at anew where something is
/// renamed meanwhile: for telling of it, not for deciding.
#[inline(always)]
pub(crate) fn locate(slot: u32) -> u64 {
    trail_locate(slot)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn trail_locate(slot: u32) -> u64 {
    upwards(&mut Way { slot, automaton: 0, depth: 0 })
}

/// From a file up to where its file system stands.
#[inline(always)]
fn upwards(way: &mut Way) -> u64 {
    let slot = way.slot;
    let Some(trail) = Trail::of(slot) else { return End::Beyond as u64 };
    trail.at = trail.file;
    trail.depth = 0;
    trail.topped = 0;
    trail.stopped = 0;
    trail.broken = 0;
    let shared: *mut core::ffi::c_void = core::ptr::from_mut(way).cast();
    // SAFETY: the functions have the type that the helper calls, and what they are given
    // lives longer than the call.
    unsafe { bpf_loop(DEPTH_MAX + 1, climb as *mut core::ffi::c_void, shared, 0) };
    if trail.topped == 0 {
        return End::Beyond as u64;
    }
    let end = trail_arrive(slot);
    if end != End::Found as u64 {
        return end;
    }
    if trail.parts != 0 {
        // SAFETY: as above.
        unsafe { bpf_loop(trail.depth, part as *mut core::ffi::c_void, shared, 0) };
    }
    if trail.stopped == 0 { End::Nowhere as u64 } else { End::Found as u64 }
}

/// To the directory above; 1 ends the loop.
extern "C" fn climb(step: u32, way: *mut Way) -> i64 {
    // SAFETY: what `trail_go` gave, which nobody else uses.
    let Some(trail) = Trail::of(unsafe { (*way).slot }) else { return 1 };
    let here = trail.at;
    // SAFETY: any bytes are a number.
    let above: Option<u64> = unsafe { probe(here as *const u8, DENTRY_PARENT.load()) };
    let Some(above) = above else { return 1 };
    if above == here {
        trail.topped = 1;
        return 1;
    }
    if step >= DEPTH_MAX {
        return 1;
    }
    trail.chain[cut(step, DEPTH_MAX - 1)] = here;
    trail.depth = step + 1;
    trail.at = above;
    0
}

const _: () = assert!(DEPTH_MAX.is_power_of_two() && PLACES.is_power_of_two());

/// `TMPFS_MAGIC` of `linux/magic.h`.
const TMPFS_MAGIC: u32 = 0x0102_1994;

/// At the root of a file system: what it is, and where it stands.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn trail_arrive(slot: u32) -> u64 {
    let Some(trail) = Trail::of(slot) else { return End::Beyond as u64 };
    trail.parts = 0;
    trail.device = 0;
    trail.magic = 0;
    let number = |base: u64, offset: u32| {
        // SAFETY: any bytes are a number.
        unsafe { probe::<u64>(base as *const u8, offset) }.unwrap_or(0)
    };
    let block = number(trail.at, DENTRY_SB.load());
    trail.device = number(block, SB_DEV.load()) as u32;
    trail.magic = number(block, SB_MAGIC.load()) as u32;
    if number(block, SB_FLAGS.load()) & SB_NOUSER != 0 {
        return End::Internal as u64;
    }
    let mut key = DeviceKey { what: BY_NUMBER, number: trail.device };
    let mut found = maps::device(&key);
    if found.is_none() {
        key = DeviceKey { what: BY_TYPE, number: trail.magic };
        found = maps::device(&key);
    }
    let Some(device) = found else {
        let owner = number(block, SB_USER_NS.load());
        let level = number(owner, NS_LEVEL.load()) as u32;
        let own = trail.magic == TMPFS_MAGIC && level > 0;
        return if own { End::Private as u64 } else { End::Nowhere as u64 };
    };
    if device.places[0] == PRIVATE {
        return End::Private as u64;
    }
    trail.parts = device.parts;
    stop(trail, device.places, trail.depth);
    End::Found as u64
}

/// Adds places to those that were passed.
#[inline(always)]
fn stop(trail: &mut Trail, places: [u32; SAME], below: u32) {
    for place in places {
        if place == 0 {
            return;
        }
        if trail.stopped >= PLACES as u32 {
            trail.broken = 1;
            return;
        }
        trail.stops[cut(trail.stopped, PLACES as u32 - 1)] = Stop { place, below };
        trail.stopped += 1;
    }
}

/// A component down, on the look for places of parts; 1 ends the loop.
extern "C" fn part(step: u32, way: *mut Way) -> i64 {
    // SAFETY: what `trail_go` gave, which nobody else uses.
    let slot = unsafe { (*way).slot };
    let Some(trail) = Trail::of(slot) else { return 1 };
    cut(trail_part(slot, trail.depth.wrapping_sub(step + 1)) as u32, 1) as i64
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn trail_part(slot: u32, at: u32) -> u64 {
    if trail_name(slot, at) == 0 {
        return 1;
    }
    let Some(trail) = Trail::of(slot) else { return 1 };
    let mut key = EdgeKey::zeroed();
    let Some(next) = path::literal(&Maps, trail.parts, &trail.name, &mut key) else { return 1 };
    trail.parts = next.state;
    stop(trail, places_of(next), at);
    0
}

/// From a place down to the file; 1 ends the loop.
extern "C" fn descend(stop: u32, way: *mut Way) -> i64 {
    // SAFETY: what `trail_go` gave, which nobody else uses.
    let way = unsafe { &*way };
    let Way { slot, automaton, .. } = *way;
    let Some(trail) = Trail::of(slot) else { return 1 };
    let which = cut(stop, PLACES as u32 - 1);
    let Stop { place, below } = trail.stops[which];
    if !begin(trail, automaton, place) {
        trail.broken = 1;
        return 1;
    }
    trail.offset = 0;
    let mut way = Way { slot, automaton, depth: below };
    let shared: *mut core::ffi::c_void = (&raw mut way).cast();
    // SAFETY: the functions have the type that the helper calls, and what they are given
    // lives longer than the call.
    unsafe {
        bpf_loop(trail.place.depth, through as *mut core::ffi::c_void, shared, 0);
        bpf_loop(below, down as *mut core::ffi::c_void, shared, 0);
    }
    trail.nodes[which] = trail.node;
    i64::from(trail.broken != 0)
}

/// To the root of the tree, on the way to a place.
#[inline(always)]
fn begin(trail: &mut Trail, automaton: u32, place: u32) -> bool {
    let Some(found) = maps::place(place) else { return false };
    trail.place.depth = found.depth;
    if found.depth != 0 {
        // SAFETY: both are memory of ours, of that size. It does not fail on such.
        unsafe {
            bpf_probe_read_kernel(
                (&raw mut trail.place).cast(),
                size_of::<Place>() as u32,
                core::ptr::from_ref(found).cast(),
            );
        }
    }
    let Some(node) = path::start(&Maps, automaton) else { return false };
    trail.node = node;
    true
}

/// A component of a place; 1 ends the loop.
extern "C" fn through(step: u32, way: *mut Way) -> i64 {
    // SAFETY: what `trail_descend` gave, which nobody else uses.
    let slot = unsafe { (*way).slot };
    let Some(trail) = Trail::of(slot) else { return 1 };
    let len = u32::from(trail.place.lens[cut(step, place::DEPTH as u32 - 1)]);
    let at = trail.offset;
    trail.offset = at + len;
    // SAFETY: names begin where a whole one has room.
    let from = unsafe { trail.place.bytes.as_ptr().add(cut(at, place::BYTES as u32 - 1)) };
    if copy(trail, from as u64, len) == 0 || trail_step(slot) == 0 {
        trail.broken = 1;
        return 1;
    }
    0
}

/// A component of the file's own path; 1 ends the loop.
extern "C" fn down(step: u32, way: *mut Way) -> i64 {
    // SAFETY: what `trail_descend` gave, which nobody else uses.
    let way = unsafe { &mut *way };
    let Some(trail) = Trail::of(way.slot) else { return 1 };
    if trail.node.flags & path::flag::FINAL != 0 {
        return 1;
    }
    let at = way.depth.wrapping_sub(step + 1);
    if trail_name(way.slot, at) == 0 || trail_step(way.slot) == 0 {
        trail.broken = 1;
        return 1;
    }
    0
}

/// A step of the automaton; 0 where its tables are broken.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn trail_step(slot: u32) -> u64 {
    let Some(trail) = Trail::of(slot) else { return 0 };
    let mut key = EdgeKey::zeroed();
    u64::from(path::step(&Maps, &mut trail.node, &trail.name, &mut key))
}

/// Reads the name of the entry at a place of the chain; 0 where there is none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn trail_name(slot: u32, at: u32) -> u64 {
    let Some(trail) = Trail::of(slot) else { return 0 };
    let Some((len, from)) = name_of(trail.entry(at)) else { return 0 };
    copy(trail, from, len)
}

/// The length of an entry's name, and where it is (`struct qstr`: the hash, the length, and a
/// pointer).
#[inline(always)]
pub(crate) fn name_of(entry: u64) -> Option<(u32, u64)> {
    // SAFETY: any bytes are numbers.
    let [hash_and_len, name]: [u64; 2] = unsafe { probe(entry as *const u8, DENTRY_NAME.load()) }?;
    Some(((hash_and_len >> 32) as u32, name))
}

/// What tells an entry's name from that of another entry that comes to stand in its memory: its
/// hash, its length and where it is, in one number.
#[inline(always)]
pub(crate) fn spelling_of(entry: u64) -> Option<u64> {
    // SAFETY: any bytes are numbers.
    let [hash_and_len, name]: [u64; 2] = unsafe { probe(entry as *const u8, DENTRY_NAME.load()) }?;
    Some(hash_and_len ^ name)
}

/// Copies a name, with zeros behind it; 0 where it is none.
#[inline(always)]
fn copy(trail: &mut Trail, from: u64, len: u32) -> u64 {
    if len == 0 || len > NAME_MAX as u32 {
        return 0;
    }
    let len = cut(len, 255);
    trail.name.len = len as u32;
    // SAFETY: there is room for 288 bytes.
    unsafe {
        let bytes = trail.name.bytes.as_mut_ptr();
        if bpf_probe_read_kernel(bytes.cast(), len as u32, from as *const _) != 0 {
            return 0;
        }
        core::ptr::write_bytes(bytes.add(len), 0, CHUNK);
    }
    1
}
