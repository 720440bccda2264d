//! The maps. All but one are pinned by the daemon, under the names they have here (and
//! in `agentguard_common::map`).

use agentguard_common::adopt::{MAX_MATCHES, MAX_POOLS, MatchKey, STANDBY as STANDING, StandbyKey};
use agentguard_common::answer::{self, Answer};
use agentguard_common::counter;
use agentguard_common::egress::{
    Block, BlockKey, Entry, Key, MAX_BLOCKS, MAX_ENTRIES, MAX_POLICIES, PolicyEntry, Table, says,
};
use agentguard_common::file::Told;
use agentguard_common::hello::Watch;
use agentguard_common::hold::{Hold, HoldKey, MAX_HOLDS};
use agentguard_common::name::{self, NAME_BYTES, Named};
use agentguard_common::net::{Address, Protocols};
use agentguard_common::own::{self, InodeKey};
use agentguard_common::path::{self, EdgeKey, Node, Remembered, Row};
use agentguard_common::place::{self, Device, DeviceKey, Place};
use agentguard_common::resolve::{
    Asked, AskedKey, LearnKey, Learned, MAX_ASKED, MAX_LEARNED, MAX_RESOLVERS, ResolverKey,
};
use agentguard_common::session::{
    ListenKey, MAX_LISTENERS, MAX_SESSIONS, MAX_TAINTED, SessionCount, SessionEntry, SocketLabel,
    Taint, TaskLabel,
};
use agentguard_common::unix;
use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::bindings::bpf_map_type::{
    BPF_MAP_TYPE_INODE_STORAGE, BPF_MAP_TYPE_SK_STORAGE, BPF_MAP_TYPE_TASK_STORAGE,
};
use aya_ebpf::btf_maps::lpm_trie::{Key as LpmKey, LpmTrie};
use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use aya_ebpf::macros::btf_map;

use crate::scratch::{Desk, Scratch};
use crate::trail::Trail;

/// Room for denials and lifecycle: about 17,000 of them.
const DECISIONS_BYTES: usize = 2 << 20;
/// Room for everything else.
const ACTIVITY_BYTES: usize = 8 << 20;

/// Memory beside a task or a socket, for which aya-ebpf has no type of use here: a map
/// definition is a structure of pointers whose types say what the map is.
#[repr(C)]
pub(crate) struct Storage<T, const TYPE: usize> {
    r#type: *const [i32; TYPE],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
    max_entries: *const [i32; 0],
    key: *const i32,
    value: *const T,
}

// SAFETY: the structure describes a map and is never read; the kernel
// synchronises what is behind it.
unsafe impl<T, const TYPE: usize> Sync for Storage<T, TYPE> {}

impl<T, const TYPE: usize> Storage<T, TYPE> {
    const fn new() -> Self {
        Self {
            r#type: core::ptr::null(),
            map_flags: core::ptr::null(),
            max_entries: core::ptr::null(),
            key: core::ptr::null(),
            value: core::ptr::null(),
        }
    }
}

#[btf_map]
pub(crate) static TASKS: Storage<TaskLabel, { BPF_MAP_TYPE_TASK_STORAGE as usize }> =
    Storage::new();

#[btf_map]
pub(crate) static SOCKETS: Storage<SocketLabel, { BPF_MAP_TYPE_SK_STORAGE as usize }> =
    Storage::new();

#[btf_map]
pub(crate) static HELLOS: Storage<Watch, { BPF_MAP_TYPE_SK_STORAGE as usize }> = Storage::new();

#[btf_map]
pub(crate) static LISTENERS: HashMap<
    ListenKey,
    u64,
    { MAX_LISTENERS as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

#[btf_map]
pub(crate) static UNIX: LpmTrie<UnixName, unix::Rule, { unix::MAX_RULES as usize }> =
    LpmTrie::new();

#[btf_map]
pub(crate) static NAMES: LpmTrie<HostName, Named, { name::MAX_NAMES as usize }> = LpmTrie::new();

#[btf_map]
pub(crate) static RESOLVERS: HashMap<
    ResolverKey,
    u32,
    { MAX_RESOLVERS as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

#[btf_map]
pub(crate) static ASKED: LruHashMap<AskedKey, Asked, { MAX_ASKED as usize }> = LruHashMap::new();

#[btf_map]
pub(crate) static LEARNED: HashMap<
    LearnKey,
    Learned,
    { MAX_LEARNED as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

#[btf_map]
pub(crate) static PATHS: HashMap<
    EdgeKey,
    Node,
    { path::MAX_EDGES as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

#[btf_map]
pub(crate) static ROWS: Array<Row, { path::MAX_ROWS as usize }> = Array::new();

#[btf_map]
pub(crate) static DEVICES: HashMap<
    DeviceKey,
    Device,
    { place::MAX_DEVICES as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

#[btf_map]
pub(crate) static PLACES: HashMap<
    u32,
    Place,
    { place::MAX_PLACES as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

#[btf_map]
pub(crate) static MOUNTS: Array<u32, 1> = Array::new();

#[btf_map]
pub(crate) static DIRECTORIES: Storage<Remembered, { BPF_MAP_TYPE_INODE_STORAGE as usize }> =
    Storage::new();

#[btf_map]
pub(crate) static SESSIONS: Array<SessionEntry, { MAX_SESSIONS as usize }> = Array::new();

#[btf_map]
pub(crate) static SESSION_COUNTS: Array<SessionCount, { MAX_SESSIONS as usize }> = Array::new();

#[btf_map]
pub(crate) static POLICIES: Array<PolicyEntry, { MAX_POLICIES as usize }> = Array::new();

#[btf_map]
pub(crate) static EGRESS: HashMap<
    Key,
    Entry,
    { MAX_ENTRIES as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

#[btf_map]
pub(crate) static EGRESS_BLOCKS: HashMap<
    BlockKey,
    Block,
    { MAX_BLOCKS as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

/// Rulings remembered. Not pinned: another build of the programs may rule otherwise.
#[btf_map]
pub(crate) static ANSWERS: PerCpuArray<answer::Place, { answer::PLACES as usize }> =
    PerCpuArray::new();

#[btf_map]
pub(crate) static DECISIONS: RingBuf<[u8; 1], DECISIONS_BYTES> = RingBuf::new();

#[btf_map]
pub(crate) static ACTIVITY: RingBuf<[u8; 1], ACTIVITY_BYTES> = RingBuf::new();

#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<u64, { counter::SLOTS as usize }> = PerCpuArray::new();

#[btf_map]
pub(crate) static SCRATCH: PerCpuArray<Scratch, { crate::scratch::SLOTS as usize }> =
    PerCpuArray::new();

/// Memory to find paths in. Not pinned, as nothing stays in it.
#[btf_map]
pub(crate) static TRAILS: PerCpuArray<Trail, { crate::scratch::SLOTS as usize }> =
    PerCpuArray::new();

/// What was told a short while ago. Not pinned: at worst something is told twice.
#[btf_map]
pub(crate) static RECENT: LruHashMap<Told, u64, 16_384> = LruHashMap::new();

/// Memory for messages of the domain name system. Not pinned, as nothing stays in it.
#[btf_map]
pub(crate) static DESKS: PerCpuArray<Desk, { crate::scratch::SLOTS as usize }> = PerCpuArray::new();

#[btf_map]
pub(crate) static MATCHES: HashMap<
    MatchKey,
    u32,
    { MAX_MATCHES as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

#[btf_map]
pub(crate) static MATCH_COUNT: Array<u32, 1> = Array::new();

#[btf_map]
pub(crate) static STANDBY: HashMap<
    StandbyKey,
    u32,
    { (MAX_POOLS * STANDING) as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

#[btf_map]
pub(crate) static OWN: HashMap<
    InodeKey,
    u32,
    { own::MAX_OWN as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

#[btf_map]
pub(crate) static TAINTED: HashMap<
    u64,
    Taint,
    { MAX_TAINTED as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

#[btf_map]
pub(crate) static HOLDS: HashMap<
    HoldKey,
    Hold,
    { MAX_HOLDS as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

#[btf_map]
pub(crate) static DROPPED: Array<u64, { MAX_SESSIONS as usize }> = Array::new();

#[btf_map]
pub(crate) static SEEN: Array<u64, 1> = Array::new();

/// A policy's slot and a name, as a trie's key has them behind the bits.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct UnixName {
    policy: u32,
    name: unix::Name,
}

const _: () = assert!(size_of::<LpmKey<UnixName>>() == size_of::<unix::Key>());

/// A policy's slot and a host's name, likewise.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct HostName {
    policy: u16,
    name: [u8; NAME_BYTES],
}

const _: () = assert!(size_of::<LpmKey<HostName>>() == size_of::<name::Key>());

/// The kernel's tables, as the evaluator sees them.
pub(crate) struct Maps;

impl Table for Maps {
    #[inline(always)]
    fn entry(&self, key: &Key) -> Option<&Entry> {
        // SAFETY: entries are only ever replaced whole by the daemon; a reader
        // that races with that sees the old or the new one (RCU).
        unsafe { EGRESS.get(key) }
    }

    #[inline(always)]
    fn block(&self, key: &BlockKey) -> Option<&Block> {
        // SAFETY: as above.
        unsafe { EGRESS_BLOCKS.get(key) }
    }

    #[inline(always)]
    fn says(&self, key: &Key, port: u16, protocol: Protocols) -> Answer {
        let place = u64::from(key.policy) << 32 | u64::from(key.bits);
        let with = u64::from(port) << 8 | u64::from(protocol.0);
        Answer(egress_says(key.address.high, key.address.low, place, with))
    }
}

/// [`says`], which the verifier walks through once for all who ask. `place` is a key's policy
/// and bits, `with` port and protocol.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn egress_says(high: u64, low: u64, place: u64, with: u64) -> u64 {
    let address = Address { high, low };
    let key = Key { policy: (place >> 32) as u32, bits: place as u32, address };
    says(&Maps, &key, (with >> 8) as u16, Protocols(with as u8)).0
}

impl unix::Table for Maps {
    #[inline(always)]
    fn longest(&self, key: &unix::Key) -> Option<&unix::Rule> {
        // SAFETY: the two types have the same layout.
        let key = unsafe { &*core::ptr::from_ref(key).cast::<LpmKey<UnixName>>() };
        UNIX.get(key)
    }
}

impl name::Table for Maps {
    #[inline(always)]
    fn longest(&self, key: &name::Key) -> Option<&Named> {
        // SAFETY: the two types have the same layout.
        let key = unsafe { &*core::ptr::from_ref(key).cast::<LpmKey<HostName>>() };
        NAMES.get(key)
    }
}

impl path::Table for Maps {
    #[inline(always)]
    fn edge(&self, key: &EdgeKey) -> Option<&Node> {
        // SAFETY: edges are written once, before the automaton is used, and removed when no
        // session uses it.
        unsafe { PATHS.get(key) }
    }

    #[inline(always)]
    fn row(&self, number: u32) -> Option<&Row> {
        ROWS.get(number)
    }
}

/// Where a file system stands.
#[inline(always)]
pub(crate) fn device(key: &DeviceKey) -> Option<&'static Device> {
    // SAFETY: replaced whole.
    unsafe { DEVICES.get(key) }
}

/// A place.
#[inline(always)]
pub(crate) fn place(number: u32) -> Option<&'static Place> {
    // SAFETY: a number stands for one place for good.
    unsafe { PLACES.get(number) }
}
