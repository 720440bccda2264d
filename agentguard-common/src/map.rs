//! The names of the kernel maps and of the globals that the loader fills, and
//! the layout version that pins carry.

/// Raised with every change of a map's type, key or value. A daemon adopts only
/// pins of its own layout.
pub const LAYOUT: u32 = 8;

/// Task storage: task to [`crate::session::TaskLabel`].
pub const TASKS: &str = "TASKS";
/// Array: slot to [`crate::session::SessionEntry`].
pub const SESSIONS: &str = "SESSIONS";
/// Array: slot to [`crate::session::SessionCount`].
pub const SESSION_COUNTS: &str = "SESSION_COUNTS";
/// Array: slot to [`crate::egress::PolicyEntry`].
pub const POLICIES: &str = "POLICIES";
/// Hash: [`crate::egress::Key`] to [`crate::egress::Entry`].
pub const EGRESS: &str = "EGRESS";
/// Hash: [`crate::egress::BlockKey`] to [`crate::egress::Block`].
pub const EGRESS_BLOCKS: &str = "EGRESS_BLOCKS";
/// Ring buffer of denials and lifecycle.
pub const DECISIONS: &str = "DECISIONS";
/// Ring buffer of everything else.
pub const ACTIVITY: &str = "ACTIVITY";
/// Per-CPU array of counters, see [`crate::counter`].
pub const COUNTERS: &str = "COUNTERS";
/// Per-CPU scratch memory for records that are too long for the stack.
pub const SCRATCH: &str = "SCRATCH";

/// Socket storage: socket to [`crate::session::SocketLabel`].
pub const SOCKETS: &str = "SOCKETS";
/// Hash: [`crate::session::ListenKey`] to the number of sockets that listen there.
pub const LISTENERS: &str = "LISTENERS";
/// Trie: [`crate::unix::Key`] to [`crate::unix::Rule`].
pub const UNIX: &str = "UNIX";

/// Trie: [`crate::name::Key`] to [`crate::name::Named`].
pub const NAMES: &str = "NAMES";
/// Hash: [`crate::resolve::ResolverKey`] to 1.
pub const RESOLVERS: &str = "RESOLVERS";
/// Hash: [`crate::resolve::AskedKey`] to [`crate::resolve::Asked`].
pub const ASKED: &str = "ASKED";
/// Hash: [`crate::resolve::LearnKey`] to [`crate::resolve::Learned`].
pub const LEARNED: &str = "LEARNED";

/// Socket storage: socket to [`crate::hello::Watch`].
pub const HELLOS: &str = "HELLOS";

/// Hash: [`crate::path::EdgeKey`] to [`crate::path::Node`].
pub const PATHS: &str = "PATHS";
/// Array: number to [`crate::path::Row`].
pub const ROWS: &str = "ROWS";
/// Hash: [`crate::place::DeviceKey`] to [`crate::place::Device`].
pub const DEVICES: &str = "DEVICES";
/// Hash: the number of a place to [`crate::place::Place`].
pub const PLACES: &str = "PLACES";
/// Array with one entry: raised whenever [`DEVICES`] or [`PLACES`] have changed.
pub const MOUNTS: &str = "MOUNTS";
/// Inode storage: directory to [`crate::path::Remembered`].
pub const DIRECTORIES: &str = "DIRECTORIES";

/// Hash: [`crate::adopt::MatchKey`] to the number of a pool.
pub const MATCHES: &str = "MATCHES";
/// Array with one entry: how many there are in [`MATCHES`].
pub const MATCH_COUNT: &str = "MATCH_COUNT";
/// Hash: [`crate::adopt::StandbyKey`] to the slot of a session.
pub const STANDBY: &str = "STANDBY";

/// Hash: [`crate::own::InodeKey`] to flags of [`crate::own`].
pub const OWN: &str = "OWN";

/// Hash: the number of a session to its [`crate::session::Taint`].
pub const TAINTED: &str = "TAINTED";

/// Hash: [`crate::hold::HoldKey`] to [`crate::hold::Hold`].
pub const HOLDS: &str = "HOLDS";
/// Array: slot to how many held calls of the session the daemon has dropped.
pub const DROPPED: &str = "DROPPED";
/// Array with one entry: when the daemon was last seen, in nanoseconds since boot; 0 where it
/// has gone.
pub const SEEN: &str = "SEEN";

/// Every map that is pinned, in the order they are created.
pub const PINNED: [&str; 32] = [
    TASKS,
    SESSIONS,
    SESSION_COUNTS,
    POLICIES,
    EGRESS,
    EGRESS_BLOCKS,
    DECISIONS,
    ACTIVITY,
    COUNTERS,
    SCRATCH,
    SOCKETS,
    LISTENERS,
    UNIX,
    NAMES,
    RESOLVERS,
    ASKED,
    LEARNED,
    HELLOS,
    PATHS,
    ROWS,
    DEVICES,
    PLACES,
    MOUNTS,
    DIRECTORIES,
    MATCHES,
    MATCH_COUNT,
    STANDBY,
    OWN,
    TAINTED,
    HOLDS,
    DROPPED,
    SEEN,
];
