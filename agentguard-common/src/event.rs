//! The records that hooks put into the ring buffers, and their checked reading.
//!
//! A record is a fixed structure, for some kinds followed by a tail of bytes
//! whose lengths the fixed part states. Reading goes through [`decode`], which
//! trusts nothing: a length that does not add up or a number that is no kind is
//! an error, never a panic.

use bytemuck::{Pod, Zeroable};

use crate::unix::Name;

/// What a record tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Kind {
    /// A connection was asked for.
    Connect = 0,
    /// A message was sent to an address without a connection.
    Send = 1,
    /// A program was executed.
    Exec = 2,
    /// A process was made.
    Fork = 3,
    /// A process ended.
    Exit = 4,
    /// The last task of a session ended.
    SessionEmpty = 5,
    /// A process could not be made, because its session is being ended or could
    /// not be labelled.
    ForkRefused = 6,
    /// A process of no session matched a policy: it was taken into a session, or
    /// its program was refused.
    Adopt = 7,
    /// A socket was asked for that no rule can speak of.
    Socket = 8,
    /// A unix socket was connected to.
    UnixConnect = 9,
    /// A datagram was sent to a unix socket.
    UnixSend = 10,
    /// A socket that was made outside of the session was received or used.
    Foreign = 11,
    /// A socket option or a control message that would lead packets past the rules.
    Option = 12,
    /// A netlink message to the kernel that would change the host's network.
    Netlink = 13,
    /// A control call (`ioctl`) that would do so.
    Ioctl = 14,
    /// A name was asked for.
    Question = 15,
    /// A name was answered.
    Answer = 16,
    /// A packet that no socket call decides on: with options, or as if from a resolver.
    Packet = 17,
    /// Something was to be done with a file.
    File = 18,
    /// The first bytes of a connection to which a name led.
    Hello = 19,
    /// More was to be done in a time than a limit lets through; not of connections and
    /// packets, which have records of their own.
    Limit = 20,
    /// Something was to be done to the host, or to a process that is not of the session.
    Host = 21,
}

/// All kinds, in the order of their numbers.
pub const KINDS: [Kind; Kind::COUNT as usize] = [
    Kind::Connect,
    Kind::Send,
    Kind::Exec,
    Kind::Fork,
    Kind::Exit,
    Kind::SessionEmpty,
    Kind::ForkRefused,
    Kind::Adopt,
    Kind::Socket,
    Kind::UnixConnect,
    Kind::UnixSend,
    Kind::Foreign,
    Kind::Option,
    Kind::Netlink,
    Kind::Ioctl,
    Kind::Question,
    Kind::Answer,
    Kind::Packet,
    Kind::File,
    Kind::Hello,
    Kind::Limit,
    Kind::Host,
];

impl Kind {
    /// How many kinds there are.
    pub const COUNT: u32 = 22;

    /// Reads a kind; `None` for a number that is none.
    #[must_use]
    pub const fn from_u16(number: u16) -> Option<Self> {
        match number {
            0 => Some(Self::Connect),
            1 => Some(Self::Send),
            2 => Some(Self::Exec),
            3 => Some(Self::Fork),
            4 => Some(Self::Exit),
            5 => Some(Self::SessionEmpty),
            6 => Some(Self::ForkRefused),
            7 => Some(Self::Adopt),
            8 => Some(Self::Socket),
            9 => Some(Self::UnixConnect),
            10 => Some(Self::UnixSend),
            11 => Some(Self::Foreign),
            12 => Some(Self::Option),
            13 => Some(Self::Netlink),
            14 => Some(Self::Ioctl),
            15 => Some(Self::Question),
            16 => Some(Self::Answer),
            17 => Some(Self::Packet),
            18 => Some(Self::File),
            19 => Some(Self::Hello),
            20 => Some(Self::Limit),
            21 => Some(Self::Host),
            _ => None,
        }
    }

    /// The word used in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Send => "send",
            Self::Exec => "exec",
            Self::Fork => "fork",
            Self::Exit => "exit",
            Self::SessionEmpty => "session-empty",
            Self::ForkRefused => "fork-refused",
            Self::Adopt => "adopt",
            Self::Socket => "socket",
            Self::UnixConnect => "unix-connect",
            Self::UnixSend => "unix-send",
            Self::Foreign => "foreign",
            Self::Option => "option",
            Self::Netlink => "netlink",
            Self::Ioctl => "ioctl",
            Self::Question => "question",
            Self::Answer => "answer",
            Self::Packet => "packet",
            Self::File => "file",
            Self::Hello => "hello",
            Self::Limit => "limit",
            Self::Host => "host",
        }
    }
}

/// The longest path in a record, its NUL included (`PATH_MAX`).
pub const PATH_LEN: usize = 4096;
/// The most bytes of arguments in a record.
pub const ARGS_LEN: usize = 2048;
/// The most bytes that one argument gets.
pub const ARG_LEN: usize = 1024;
/// The most arguments in a record.
pub const ARGS_COUNT: u32 = 64;

/// What every record begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Header {
    /// A [`Kind`].
    pub kind: u16,
    /// [`flag`] bits.
    pub flags: u16,
    /// The CPU that made the record; with `time` it is the record's name.
    pub cpu: u32,
    /// Nanoseconds since boot, suspension included (`CLOCK_BOOTTIME`).
    pub time: u64,
    /// The session's number.
    pub session: u64,
    /// The session's slot.
    pub slot: u32,
    /// The process (thread group) that acted.
    pub pid: u32,
    /// The thread that acted.
    pub tid: u32,
    /// Its real user id, as the initial user namespace numbers it.
    pub uid: u32,
    /// Its real group id.
    pub gid: u32,
    /// Zero.
    pub reserved: u32,
    /// Its name, NUL-padded (`task_struct.comm`).
    pub comm: [u8; 16],
}

/// Bits of [`Header::flags`].
pub mod flag {
    /// The path is missing or incomplete.
    pub const PATH_CUT: u16 = 1;
    /// The working directory is missing or incomplete.
    pub const CWD_CUT: u16 = 2;
    /// Arguments were left out or cut short.
    pub const ARGS_CUT: u16 = 4;
    /// The session's policy is only observed: a denial is a would-be denial.
    pub const OBSERVED: u16 = 8;
    /// With this the session became tainted.
    pub const TAINTS: u16 = 16;
}

/// [`Kind::Connect`], [`Kind::Send`], [`Kind::Socket`], [`Kind::Foreign`] and
/// [`Kind::Packet`]: a decision on egress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Egress {
    /// The beginning.
    pub header: Header,
    /// The destination in network order; IPv4 as a mapped address.
    pub address: [u8; 16],
    /// The destination's port.
    pub port: u16,
    /// The address family of the socket (`AF_INET6` also when the address is a
    /// mapped IPv4 one).
    pub family: u16,
    /// The socket's protocol (`IPPROTO_TCP`, …).
    pub protocol: u16,
    /// A [`crate::Verdict`].
    pub verdict: u8,
    /// A [`crate::verdict::Reason`].
    pub reason: u8,
    /// The number of the rule that decided, or 0.
    pub rule: u32,
    /// The socket's type (`SOCK_STREAM`, …) for [`Kind::Socket`], else 0.
    pub socket_type: u32,
    /// The [`tag`](crate::egress::PolicyEntry::tag) of the policy that decided.
    pub policy: u64,
    /// What is asked, see [`crate::hold`], where the call is held; else 0.
    pub hold: u64,
}

/// [`Kind::UnixConnect`] and [`Kind::UnixSend`]: a decision on a unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Unix {
    /// The beginning.
    pub header: Header,
    /// The name that the other socket was bound to.
    pub name: Name,
    /// A [`crate::Verdict`].
    pub verdict: u8,
    /// A [`crate::verdict::Reason`].
    pub reason: u8,
    /// Zero.
    pub reserved: u16,
    /// The number of the rule that decided, or 0.
    pub rule: u32,
    /// Zero.
    pub reserved_too: u32,
    /// The [`tag`](crate::egress::PolicyEntry::tag) of the policy that decided.
    pub policy: u64,
}

/// How many addresses of an answer are in its record.
pub const ANSWERED: usize = 8;

/// [`Kind::Question`] and [`Kind::Answer`]: a name that was asked for, and what it was
/// answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Dns {
    /// The beginning; the process is the one that made the socket.
    pub header: Header,
    /// The resolver, as in [`Egress`].
    pub resolver: [u8; 16],
    /// The resolver's port.
    pub port: u16,
    /// The IP protocol (`IPPROTO_UDP`, …).
    pub protocol: u16,
    /// The type of records that is asked for.
    pub kind: u16,
    /// A [`crate::Verdict`].
    pub verdict: u8,
    /// A [`crate::verdict::Reason`].
    pub reason: u8,
    /// The number of the rule that decided, or 0.
    pub rule: u32,
    /// How many of [`addresses`](Self::addresses) are in use.
    pub count: u32,
    /// The [`tag`](crate::egress::PolicyEntry::tag) of the policy that decided.
    pub policy: u64,
    /// What the name was answered with, as far as there is room.
    pub addresses: [crate::net::Address; ANSWERED],
    /// The name, as [`crate::name::Key`] has it; all zeros where it could not be read.
    pub name: [u8; crate::name::NAME_BYTES],
    /// Zero.
    pub reserved: [u8; 2],
}

/// [`Kind::Exec`]. The tail holds path, working directory and arguments; paths
/// as the process sees them, arguments each ended by a NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Exec {
    /// The beginning.
    pub header: Header,
    /// The parent process.
    pub parent: u32,
    /// How many arguments the program was given.
    pub argc: u32,
    /// The bytes of the path, without a NUL.
    pub path_len: u16,
    /// The bytes of the working directory, without a NUL.
    pub cwd_len: u16,
    /// The bytes of the arguments, NULs included.
    pub args_len: u16,
    /// Zero.
    pub reserved: u16,
}

/// [`Kind::Fork`]; the header is the parent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Fork {
    /// The beginning.
    pub header: Header,
    /// The new process.
    pub child: u32,
    /// Zero.
    pub reserved: u32,
}

/// [`Kind::Exit`], [`Kind::SessionEmpty`], [`Kind::ForkRefused`], [`Kind::Adopt`],
/// [`Kind::Option`], [`Kind::Netlink`] and [`Kind::Ioctl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Plain {
    /// The beginning.
    pub header: Header,
    /// For an exit, the status as `wait(2)` has it; for a refused fork or
    /// adoption, the [`crate::verdict::Reason`]; for an option, its level and its
    /// number, for a netlink message its protocol and its type ([`pair`]); for a
    /// control call its number.
    /// Otherwise 0.
    pub status: u32,
    /// Zero.
    pub reserved: u32,
}

/// [`Kind::File`]: a decision on a file, or on two of them. The tail holds their paths from
/// the root of their file system on; where that stands says the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct File {
    /// The beginning.
    pub header: Header,
    /// What was to be done, a [`Deed`](crate::file::Deed).
    pub deed: u8,
    /// A [`crate::Verdict`].
    pub verdict: u8,
    /// A [`crate::verdict::Reason`].
    pub reason: u8,
    /// What it takes, a [`Power`](crate::host::Power) and 1 more; 0 where rules on files, or
    /// nothing that could be opened, decided.
    pub power: u8,
    /// The number of the rule that decided, or 0.
    pub rule: u32,
    /// The [`tag`](crate::egress::PolicyEntry::tag) of the policy that decided.
    pub policy: u64,
    /// What is asked, as in [`Egress`].
    pub hold: u64,
    /// The file.
    pub file: Where,
    /// The other file, of a renaming or a linking: its new place.
    pub other: Where,
}

/// Where a file of a [`File`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Where {
    /// The number of the place in which its file system's root stands, or that of a part of
    /// it; 0 where that is unknown.
    pub place: u32,
    /// The file system's number.
    pub device: u32,
    /// The magic number of its type.
    pub magic: u32,
    /// The bytes of the path from there on; 0 where there is no such file, or no path.
    pub len: u32,
}

/// Two small numbers in one; what does not fit is cut.
#[inline(always)]
#[must_use]
pub const fn pair(first: u32, second: u32) -> u32 {
    first << 16 | second & 0xffff
}

/// The two numbers of a [`pair`].
#[must_use]
pub const fn unpair(both: u32) -> (u32, u32) {
    (both >> 16, both & 0xffff)
}

/// A record, read.
#[expect(clippy::large_enum_variant, reason = "it lives for one event, on the stack")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A decision on egress.
    Egress(Kind, Egress),
    /// A decision on a unix socket.
    Unix(Kind, Unix),
    /// A name that was asked for or answered.
    Dns(Kind, Dns),
    /// A decision on a file, its path and that of the other.
    File(File, &'a [u8], &'a [u8]),
    /// A decision on what would be done to the host.
    Host(crate::host::Decision),
    /// A program was executed.
    Exec(Exec, Tail<'a>),
    /// A process was made.
    Fork(Fork),
    /// Something that its header tells.
    Plain(Kind, Plain),
}

/// The bytes behind an [`Exec`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail<'a> {
    /// The path of the program.
    pub path: &'a [u8],
    /// The working directory.
    pub cwd: &'a [u8],
    /// The arguments, each ended by a NUL.
    pub args: &'a [u8],
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Fewer bytes than the kind needs, or than its lengths say.
    Short,
    /// A kind that this version does not know.
    Kind(u16),
}

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Short => f.write_str("the record is shorter than it says"),
            Self::Kind(kind) => write!(f, "the record's kind {kind} is unknown"),
        }
    }
}

impl core::error::Error for Malformed {}

/// Reads a record. Bytes behind it are passed over: ring buffers pad.
///
/// # Errors
///
/// [`Malformed`], where the bytes are no record of this layout.
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, Malformed> {
    let number = fixed::<u16>(bytes)?.0;
    let kind = Kind::from_u16(number).ok_or(Malformed::Kind(number))?;
    match kind {
        Kind::Connect | Kind::Send | Kind::Socket | Kind::Foreign | Kind::Packet => {
            Ok(Record::Egress(kind, fixed(bytes)?.0))
        }
        Kind::UnixConnect | Kind::UnixSend => Ok(Record::Unix(kind, fixed(bytes)?.0)),
        Kind::Question | Kind::Answer | Kind::Hello => Ok(Record::Dns(kind, fixed(bytes)?.0)),
        Kind::Fork => Ok(Record::Fork(fixed(bytes)?.0)),
        Kind::Host => Ok(Record::Host(fixed(bytes)?.0)),
        Kind::File => {
            let (file, rest) = fixed::<File>(bytes)?;
            let (path, rest) = cut(rest, file.file.len)?;
            let (other, _) = cut(rest, file.other.len)?;
            Ok(Record::File(file, path, other))
        }
        Kind::Exit
        | Kind::SessionEmpty
        | Kind::ForkRefused
        | Kind::Adopt
        | Kind::Option
        | Kind::Netlink
        | Kind::Ioctl
        | Kind::Limit => Ok(Record::Plain(kind, fixed(bytes)?.0)),
        Kind::Exec => {
            let (exec, rest) = fixed::<Exec>(bytes)?;
            let (path, rest) = cut(rest, exec.path_len)?;
            let (cwd, rest) = cut(rest, exec.cwd_len)?;
            let (args, _) = cut(rest, exec.args_len)?;
            Ok(Record::Exec(exec, Tail { path, cwd, args }))
        }
    }
}

fn fixed<T: Pod>(bytes: &[u8]) -> Result<(T, &[u8]), Malformed> {
    let (front, rest) = bytes.split_at_checked(size_of::<T>()).ok_or(Malformed::Short)?;
    Ok((bytemuck::pod_read_unaligned(front), rest))
}

fn cut(bytes: &[u8], len: impl Into<u32>) -> Result<(&[u8], &[u8]), Malformed> {
    bytes.split_at_checked(len.into() as usize).ok_or(Malformed::Short)
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
