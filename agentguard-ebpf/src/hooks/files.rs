//! What the hooks on files share: finding what the rules say, the ruling, and the record of
//! the decision.

use agentguard_common::counter::Count;
use agentguard_common::event::{File, Kind, PATH_LEN, Where, flag};
use agentguard_common::file::{self, Deed, Told, needs};
use agentguard_common::hold::{self as held, Digest, Held, class, step_of};
use agentguard_common::limit::Limit;
use agentguard_common::opaque::{self, cut};
use agentguard_common::path;
use agentguard_common::place::PLACES;
use agentguard_common::said::Said;
use agentguard_common::session::{SessionEntry, TaskLabel, Terms, program};
use agentguard_common::verdict::Reason;
use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_kernel};
use bytemuck::Zeroable as _;

use super::egress::{self, Ground};
use crate::emit::{self, Ring};
use crate::kernel::{DENTRY_INODE, INODE_MODE, INODE_NLINK, INODE_RDEV, probe};
use crate::trail::{self, End, Trail};
use crate::{budget, hold, recent, session, taint};

/// What an LSM hook on files returns to refuse: `-EACCES`.
const FORBID: i32 = -13;
/// What it returns where a copy would be decided file by file: `-EXDEV`.
const ELSEWHERE: i32 = -18;

/// `S_IFMT`, `S_IFREG` and `S_IFDIR` of `linux/stat.h`.
const TYPE: u16 = 0o170_000;
const PLAIN: u16 = 0o100_000;
const DIRECTORY: u16 = 0o040_000;
/// The most bytes of a path in a record, less one: a mask.
const PATH_MASK: u32 = PATH_LEN as u32 - 1;

const _: () = assert!(PATH_LEN.is_power_of_two());

/// What a hook answers.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Outcome {
    /// It goes on.
    Goes = 0,
    /// It is refused.
    Refused = 1,
    /// It is refused; a copy would be decided file by file.
    Copy = 2,
    /// It waits for an answer: the call is started again.
    Waits = 3,
}

impl Outcome {
    /// As an LSM hook answers.
    #[inline(always)]
    pub(super) fn answer(self) -> i32 {
        match self {
            Self::Goes => super::PASS,
            Self::Refused => FORBID,
            Self::Copy => ELSEWHERE,
            Self::Waits => held::AGAIN,
        }
    }
}

/// Decides a deed with a file; `entry` is its `struct dentry`.
#[inline(always)]
pub(super) fn decide(label: &TaskLabel, entry: *const u8, deed: Deed, need: u32) -> Outcome {
    decide_both(label, entry, core::ptr::null(), deed, need)
}

/// Decides a deed with two files. Where there is no other, `other` is null.
#[inline(always)]
pub(super) fn decide_both(
    label: &TaskLabel,
    entry: *const u8,
    other: *const u8,
    deed: Deed,
    need: u32,
) -> Outcome {
    let Some(of) = session::entry(label) else { return closed() };
    if over_limit(label, of, entry, deed) {
        return Outcome::Refused;
    }
    let terms = &session::terms(of);
    if terms.files == 0 {
        return Outcome::Goes;
    }
    emit::count(Kind::File, Count::Seen);
    let Ok(ground) = egress::ground_of(terms) else { return closed() };
    let outcome = match Trail::take() {
        Some(slot) => {
            let outcome = judge(slot, label, terms, &ground, [entry, other], (deed, need));
            Trail::give(slot);
            outcome
        }
        None => closed(),
    };
    if ground.observed() { Outcome::Goes } else { outcome }
}

/// Whether a deed is one more than a limit lets through. Devices and directories are not
/// written to in that sense.
#[inline(always)]
fn over_limit(label: &TaskLabel, of: &SessionEntry, entry: *const u8, deed: Deed) -> bool {
    let limit = match deed {
        Deed::Write | Deed::Truncate => Limit::Writes,
        Deed::Delete | Deed::Rmdir => Limit::Deletes,
        _ => return false,
    };
    if of.rates[limit as usize].window == 0 {
        return false;
    }
    let counts = limit as u32 != Limit::Writes as u32 || is_of_type(entry as u64, PLAIN);
    counts && budget::refuses(label, limit)
}

/// Refused, as something is missing that should be there.
#[inline(always)]
fn closed() -> Outcome {
    emit::count(Kind::File, Count::Error);
    Outcome::Refused
}

#[inline(always)]
fn judge(
    slot: u32,
    label: &TaskLabel,
    of: &Terms,
    ground: &Ground,
    [entry, other]: [*const u8; 2],
    (deed, need): (Deed, u32),
) -> Outcome {
    let Some(trail) = Trail::of(slot) else { return closed() };
    trail.need = need;
    trail.exec = of.exec;
    trail.record.deed = deed as u8;
    trail.record.power = 0;
    trail.record.other = Where::zeroed();
    trail.file = entry as u64;
    let mut said = Said(file_look(slot, of.files, 0));
    let mut taints = trail.secret != 0 && need & (needs::READ | needs::EXEC) != 0;
    if !other.is_null() {
        let secret = trail.secret;
        trail.before = trail.nodes[0];
        trail.alone = trail.stopped;
        trail.file = other as u64;
        trail.other = other as u64;
        said = said.with(Said(file_look(slot, of.files, 1)));
        // Under another name it would not be secret any more.
        taints = secret != trail.secret;
        trail.file = entry as u64;
        let moved = file_moved(slot) != 0;
        if moved && said.passes() && deed as u8 == Deed::Rename as u8 {
            said = Said::closed(Reason::Moved);
        }
    }
    let mut said = Said(opaque::number(said.0, trail.at));
    trail.record.hold = 0;
    if said.asks() && !ground.observed() {
        let digest = file_digest(slot);
        let held = if digest == 0 {
            Held::refused(Reason::Limit)
        } else {
            hold::ask(label, digest, ground.policy.patience, step_of(deed as u8))
        };
        if held.0 == Held::AGAIN.0 {
            return Outcome::Waits;
        }
        if held.waits() {
            tell(trail, label, ground, said, Ring::Decisions);
            return Outcome::Waits;
        }
        said = said.answered(held);
    }
    trail.secret = 0;
    if taints && (said.passes() || ground.observed()) && !is_directory(entry as u64) {
        let marked = taint::mark(label, of);
        trail.secret = u32::from(marked == taint::NOW);
        if marked == taint::CANNOT {
            said = Said::closed(Reason::Limit);
        }
    }
    let passes = said.passes();
    if trail.secret != 0 {
        tell(trail, label, ground, said, Ring::Decisions);
        return Outcome::Goes;
    }
    if passes && is_routine(deed) && of.exec & program::TOLD == 0 {
        return Outcome::Goes;
    }
    // What is refused is told each time. What is only observed is not: nothing keeps a program
    // from doing it thousands of times a second.
    if (passes || ground.observed()) && was_told(trail, label, deed as u64) {
        return Outcome::Goes;
    }
    if passes {
        tell(trail, label, ground, said, Ring::Activity);
        return Outcome::Goes;
    }
    tell(trail, label, ground, said, Ring::Decisions);
    if said.reason() == Reason::Moved as u8 { Outcome::Copy } else { Outcome::Refused }
}

/// The digest of what stands in the record, which it is put into as well; 0 where that cannot
/// be asked.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn file_digest(slot: u32) -> u64 {
    let Some(trail) = Trail::of(slot) else { return 0 };
    let (len, other) = (trail.record.file.len, trail.record.other.len);
    if len == 0 {
        // Too long to be told, and so too long to be asked.
        return 0;
    }
    let class = if trail.need & needs::EXEC != 0 {
        class::EXEC
    } else if trail.need & needs::WRITE != 0 {
        class::WRITE
    } else {
        class::READ
    };
    let digest = &mut trail.digest;
    *digest = Digest::new(hold::keys());
    digest.word(class);
    digest.word(u64::from(len) << 32 | u64::from(trail.record.file.place));
    digest.word(u64::from(trail.record.other.place));
    trail.len = cut(len, PATH_MASK) as u32 + cut(other, PATH_MASK) as u32;
    let mut of_slot = slot;
    // SAFETY: as in `file_spell`.
    unsafe {
        let words = (trail.len + 7) >> 3;
        bpf_loop(words, mix as *mut core::ffi::c_void, (&raw mut of_slot).cast(), 0);
    }
    trail.record.hold = trail.digest.end();
    trail.record.hold
}

/// A word of the paths goes into the digest; 1 ends the loop.
extern "C" fn mix(step: u32, slot: *mut u32) -> i64 {
    // SAFETY: what `file_digest` gave, which nobody else uses.
    let slot = unsafe { *slot };
    cut(file_mix(slot, step) as u32, 1) as i64
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn file_mix(slot: u32, step: u32) -> u64 {
    const WORDS: u32 = 2 * PATH_LEN as u32 / 8 - 1;
    let Some(trail) = Trail::of(slot) else { return 1 };
    let left = trail.len.wrapping_sub(step.wrapping_mul(8));
    // SAFETY: two paths are so many words long, and they lie at a multiple of eight.
    let word = unsafe { trail.paths.as_ptr().cast::<u64>().add(cut(step, WORDS)).read() };
    // What stands behind the paths is of no concern.
    let word = if left < 8 { word & ((1 << (left << 3 & 63)) - 1) } else { word };
    trail.digest.word(word);
    0
}

/// Whether two entries, of which one may not exist, make a directory move to where what is
/// below it has other rules.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn file_moved(slot: u32) -> u64 {
    let Some(trail) = Trail::of(slot) else { return 1 };
    let (one, two) = (&trail.before, &trail.nodes[0]);
    let both_final = one.flags & two.flags & path::flag::FINAL != 0;
    let secret = (one.flags | two.flags) & path::flag::SECRET != 0;
    let alike = one.state == two.state || both_final && !secret;
    let same = alike && trail.alone == 1 && trail.stopped == 1;
    u64::from(!same && (is_directory(trail.file) || is_directory(trail.other)))
}

#[inline(always)]
fn is_directory(entry: u64) -> bool {
    is_of_type(entry, DIRECTORY)
}

#[inline(always)]
fn is_of_type(entry: u64, wanted: u16) -> bool {
    // SAFETY: any bytes are a number.
    let mode = unsafe {
        probe::<u64>(entry as *const u8, DENTRY_INODE.load())
            .and_then(|inode| probe::<u16>(inode as *const u8, INODE_MODE.load()))
    };
    // Nothing there has no type.
    mode.is_some_and(|mode| mode & TYPE == wanted)
}

/// Finds a file, writes where it is into the record, and says what holds for it: a [`Said`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn file_look(slot: u32, automaton: u32, second: u32) -> u64 {
    let Some(trail) = Trail::of(slot) else { return Said::closed(Reason::Limit).0 };
    let end = trail::find(slot, automaton);
    let said = weigh(trail, end);
    file_spell(slot, second, u32::from(end == End::Found as u64));
    said.0
}

/// Writes into the record where the file is, and behind it its path. `found` is 1 where its
/// file system has a place.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn file_spell(slot: u32, second: u32, found: u32) -> u64 {
    let Some(trail) = Trail::of(slot) else { return 0 };
    let found = found != 0;
    let stop = trail.stops[cut(trail.which, PLACES as u32 - 1)];
    let mut at = Where {
        place: if found { stop.place } else { 0 },
        device: trail.device,
        magic: trail.magic,
        len: 0,
    };
    trail.below = if found { stop.below } else { trail.depth };
    trail.from = if second == 0 { 0 } else { trail.record.file.len };
    trail.len = 0;
    let mut spelling = slot;
    // SAFETY: the function has the type that the helper calls, and what it is given lives
    // longer than the call.
    unsafe {
        bpf_loop(trail.below, letter as *mut core::ffi::c_void, (&raw mut spelling).cast(), 0);
    }
    at.len = trail.len;
    if second == 0 {
        trail.record.file = at;
    } else {
        trail.record.other = at;
    }
    0
}

/// What holds for a file that was found. In which of its places, stands in `which`.
#[inline(always)]
fn weigh(trail: &mut Trail, end: u64) -> Said {
    let exec = trail.need & needs::EXEC != 0;
    let memory = exec && trail.exec & program::MEMORY_ALLOWED == 0;
    trail.which = 0;
    trail.secret = 0;
    if trail.need & needs::NEVER != 0 {
        return Said::closed(Reason::Mount);
    }
    if end == End::Internal as u64 || end == End::Private as u64 {
        return if memory { Said::closed(Reason::Memory) } else { Said::NOTHING };
    }
    if end == End::Nowhere as u64 {
        return Said::closed(Reason::NoPlace);
    }
    if end != End::Found as u64 {
        return Said::closed(Reason::Limit);
    }
    if memory && is_deleted(trail.file) {
        return Said::closed(Reason::Memory);
    }
    let mut said = Said(opaque::number(0, trail.at));
    for at in 0..PLACES as u32 {
        if at >= trail.stopped {
            break;
        }
        trail.secret |= trail.nodes[cut(at, PLACES as u32 - 1)].flags & path::flag::SECRET;
        let new = rights(trail, at);
        if new.0 > said.0 {
            trail.which = at;
        }
        said = Said(opaque::number(said.and(new).0, trail.at));
    }
    // What no rule speaks of is no place to put anything.
    if !said.passes() && said.reason() == Reason::Default as u8 && is_harmless(trail.file) {
        return Said::NOTHING;
    }
    said
}

/// Whether it is a device that every program uses and that keeps nothing: null, zero, full,
/// random, urandom; the terminal that a process has, and pseudo-terminals.
#[inline(always)]
fn is_harmless(entry: u64) -> bool {
    // SAFETY: any bytes are numbers.
    let (mode, device) = unsafe {
        let Some(inode) = probe::<u64>(entry as *const u8, DENTRY_INODE.load()) else {
            return false;
        };
        let inode = inode as *const u8;
        (
            probe::<u16>(inode, INODE_MODE.load()).unwrap_or(0),
            probe::<u32>(inode, INODE_RDEV.load()).unwrap_or(0),
        )
    };
    file::is_harmless(u32::from(mode), device)
}

/// What a place says of all that is needed.
#[inline(always)]
fn rights(trail: &Trail, at: u32) -> Said {
    let node = &trail.nodes[cut(at, PLACES as u32 - 1)];
    let mut said = Said::NOTHING;
    for need in [needs::READ, needs::WRITE, needs::EXEC] {
        if trail.need & need != 0 {
            let new = Said::of(node.right(need));
            said = Said(opaque::number(said.with(new).0, trail.at));
        }
    }
    let exec = trail.need & needs::EXEC != 0;
    if exec && said.passes() && trail.exec & program::WRITABLE_DENIED != 0 {
        let write = Said::of(node.write);
        if write.passes() {
            said = Said::closed_by(Reason::Writable, node.write);
        }
    }
    Said(opaque::number(said.0, trail.at))
}

/// Whether a file has no name any more.
#[inline(always)]
fn is_deleted(entry: u64) -> bool {
    // SAFETY: any bytes are a number.
    let links = unsafe {
        probe::<u64>(entry as *const u8, DENTRY_INODE.load())
            .and_then(|inode| probe::<u32>(inode as *const u8, INODE_NLINK.load()))
    };
    links == Some(0)
}

/// A component of a path that is being written; 1 ends the loop.
extern "C" fn letter(step: u32, slot: *mut u32) -> i64 {
    // SAFETY: what `file_look` gave, which nobody else uses.
    let slot = unsafe { *slot };
    cut(file_letter(slot, step) as u32, 1) as i64
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn file_letter(slot: u32, step: u32) -> u64 {
    let Some(trail) = Trail::of(slot) else { return 1 };
    let at = trail.below.wrapping_sub(step + 1);
    let Some((len, from)) = trail::name_of(trail.entry(at)) else { return 1 };
    let len = cut(len, 255);
    let so_far = trail.len;
    if so_far + 1 + len as u32 > PATH_MASK {
        return 1;
    }
    let place = cut(trail.from, PATH_MASK) + cut(so_far, PATH_MASK);
    // SAFETY: two paths and a name fit, as `Trail` says.
    unsafe {
        let to = trail.paths.as_mut_ptr().add(place);
        to.write(b'/');
        if bpf_probe_read_kernel(to.add(1).cast(), len as u32, from as *const _) != 0 {
            return 1;
        }
    }
    trail.len = so_far + 1 + len as u32;
    0
}

/// Hands over the record, which lies before the paths.
#[inline(always)]
pub(super) fn tell(trail: &mut Trail, label: &TaskLabel, ground: &Ground, said: Said, ring: Ring) {
    let reason = said.reason();
    if reason == Reason::Limit as u8 || reason == Reason::Malformed as u8 {
        emit::count(Kind::File, Count::Error);
    }
    let record = &mut trail.record;
    let cut_short = if record.file.len == 0 { flag::PATH_CUT } else { 0 };
    let taints = if trail.secret == 0 { 0 } else { flag::TAINTS };
    record.header = emit::header(Kind::File, label, ground.flags() | cut_short | taints);
    record.verdict = said.verdict();
    record.reason = reason;
    record.rule = said.rule();
    record.policy = ground.policy.tag;
    let len =
        size_of::<File>() + cut(record.file.len, PATH_MASK) + cut(record.other.len, PATH_MASK);
    // SAFETY: record and paths lie one behind the other in the same memory.
    unsafe {
        let bytes = core::ptr::from_ref(record).cast();
        emit::emit_bytes(ring, Kind::File as u16, bytes, len as u64);
    }
}

/// Whether it is told of only where it is refused.
#[inline(always)]
const fn is_routine(deed: Deed) -> bool {
    matches!(deed, Deed::Read | Deed::Exec | Deed::Map | Deed::Receive)
}

/// Whether the same was told a short while ago.
#[inline(always)]
pub(super) fn was_told(trail: &Trail, label: &TaskLabel, deed: u64) -> bool {
    let name = trail::spelling_of(trail.file).unwrap_or(0);
    recent::was_told(&Told { session: label.session, entry: trail.file, name, deed })
}
