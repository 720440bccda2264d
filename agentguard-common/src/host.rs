//! What a session may do to the host that it runs on, and to processes that are not its own:
//! nothing, unless its policy opens it. Each is opened by a word of its own.

use bytemuck::{Pod, Zeroable};

use crate::event::Header;

/// Something that a session may not do unless its policy says so (`host: allow:`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Power {
    /// To send signals to processes that are not of the session.
    Signal = 0,
    /// To trace them, to look into their memory, environment and descriptors.
    Trace = 1,
    /// To change how they run: priority, processors, limits, group.
    Process = 2,
    /// To use BPF programs, maps and their file system.
    Bpf = 3,
    /// To use performance events and the kernel's tracing.
    Perf = 4,
    /// To load kernel modules, and to take them out.
    Modules = 5,
    /// To stop the host, or to start another kernel.
    Reboot = 6,
    /// To use physical memory and the ports of devices.
    Memory = 7,
    /// To use disks without their file systems, and what types or looks at keys.
    Devices = 8,
    /// To change what the kernel shows as files: `/proc/sys`, `/sys` and the like.
    Settings = 9,
    /// To set the clock.
    Clock = 10,
    /// To clear the kernel's log, or to turn it off.
    Log = 11,
    /// To make cgroups, to change them, and to move processes between them.
    Cgroups = 12,
    /// To mount and to unmount where others see it.
    Mount = 13,
    /// To open namespaces that are bound to a name.
    Namespaces = 14,
}

/// All of them, in the order of their numbers.
pub const POWERS: [Power; 15] = [
    Power::Signal,
    Power::Trace,
    Power::Process,
    Power::Bpf,
    Power::Perf,
    Power::Modules,
    Power::Reboot,
    Power::Memory,
    Power::Devices,
    Power::Settings,
    Power::Clock,
    Power::Log,
    Power::Cgroups,
    Power::Mount,
    Power::Namespaces,
];

impl Power {
    /// Reads a power from an event; `None` for a byte that is none.
    #[must_use]
    pub fn from_u8(byte: u8) -> Option<Self> {
        POWERS.get(usize::from(byte)).copied()
    }

    /// The word used in policies and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Trace => "trace",
            Self::Process => "process",
            Self::Bpf => "bpf",
            Self::Perf => "perf",
            Self::Modules => "modules",
            Self::Reboot => "reboot",
            Self::Memory => "memory",
            Self::Devices => "devices",
            Self::Settings => "settings",
            Self::Clock => "clock",
            Self::Log => "log",
            Self::Cgroups => "cgroups",
            Self::Mount => "mount",
            Self::Namespaces => "namespaces",
        }
    }

    /// Its bit in [`PolicyEntry::host`](crate::egress::PolicyEntry::host).
    #[inline(always)]
    #[must_use]
    pub const fn bit(self) -> u16 {
        1 << self as u8
    }
}

/// What the number in a record about the host says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum About {
    /// Which signal.
    Signal = 0,
    /// 1 for looking, 2 for taking over ([`trace`]).
    Trace = 1,
    /// What was to be changed ([`tune`]).
    Process = 2,
    /// Which command of `bpf(2)`.
    Command = 3,
    /// Nothing.
    Nothing = 4,
    /// Which capability was to be used.
    Capability = 5,
    /// What was to be done with the kernel's log (`linux/syslog.h`).
    Log = 6,
    /// What was to be waited for before others may go on (`FAN_…_PERM`).
    Watch = 7,
}

impl About {
    /// Reads it from an event; `None` for a byte that is none.
    #[must_use]
    pub const fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Signal,
            1 => Self::Trace,
            2 => Self::Process,
            3 => Self::Command,
            4 => Self::Nothing,
            5 => Self::Capability,
            6 => Self::Log,
            7 => Self::Watch,
            _ => return None,
        })
    }
}

/// [`Kind::Host`](crate::event::Kind::Host): a decision on what would be done to the host, or to a process that is not
/// of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Decision {
    /// The beginning.
    pub header: Header,
    /// What it takes, a [`Power`].
    pub power: u8,
    /// A [`crate::Verdict`].
    pub verdict: u8,
    /// A [`crate::verdict::Reason`].
    pub reason: u8,
    /// What `number` says, an [`About`].
    pub about: u8,
    /// More about it.
    pub number: u32,
    /// The process that it would have been done to; 0 where there is none.
    pub pid: u32,
    /// Zero.
    pub reserved: u32,
    /// That process's name.
    pub comm: [u8; 16],
    /// The [`tag`](crate::egress::PolicyEntry::tag) of the policy that decided.
    pub policy: u64,
}

/// Modes of access to a process, as the kernel's `linux/ptrace.h` has them.
pub mod trace {
    /// To look.
    pub const READ: u32 = 1;
    /// To take over.
    pub const ATTACH: u32 = 2;
    /// Where nobody is to be told of a refusal: the kernel then only leaves something out.
    pub const NO_AUDIT: u32 = 4;
}

/// What can be changed of how a process runs.
pub mod tune {
    /// Its priority.
    pub const NICE: u32 = 0;
    /// Its priority with disks.
    pub const IO: u32 = 1;
    /// Its scheduler, or on which processors it runs.
    pub const SCHEDULER: u32 = 2;
    /// On which memory it is.
    pub const MEMORY: u32 = 3;
    /// Its limits.
    pub const LIMITS: u32 = 4;
    /// Its group.
    pub const GROUP: u32 = 5;
    /// To have signals sent to it when a file is ready.
    pub const OWNER: u32 = 6;
    /// How events say it.
    pub const WORDS: [&str; 7] =
        ["priority", "io priority", "scheduler", "memory", "limits", "group", "signals of a file"];
}

/// `CAP_…` of `linux/capability.h`.
const SYS_MODULE: u32 = 16;
const SYS_RAWIO: u32 = 17;
const SYS_PACCT: u32 = 20;
const SYS_BOOT: u32 = 22;
const SYS_TIME: u32 = 25;
const SYS_TTY_CONFIG: u32 = 26;

/// `CAP_SYS_ADMIN`, see [`of_call`].
pub const SYS_ADMIN: u32 = 21;

/// `CAP_PERFMON`. From 6.13 on it lets a task look into the memory of others that it may not
/// trace (`may_access_mm`), where no other hook is asked any more. Without it the kernel asks
/// for [`SYS_ADMIN`] (`perfmon_capable`).
pub const PERFMON: u32 = 38;

/// Those that [`of_capability`] knows, and the one for [`of_call`], as bits.
const WATCHED: u64 = 1 << SYS_ADMIN
    | 1 << SYS_MODULE
    | 1 << SYS_RAWIO
    | 1 << SYS_PACCT
    | 1 << SYS_BOOT
    | 1 << SYS_TIME
    | 1 << SYS_TTY_CONFIG
    | 1 << PERFMON;

/// Whether a capability stands for a power. The kernel asks for capabilities all the time:
/// this comes before everything else.
#[inline(always)]
#[must_use]
pub const fn is_watched(capability: u32) -> bool {
    capability < 64 && WATCHED >> capability & 1 != 0
}

/// The power that a capability stands for: whoever uses it does nothing else with it.
#[inline(always)]
#[must_use]
pub const fn of_capability(capability: u32) -> Option<Power> {
    match capability {
        SYS_MODULE => Some(Power::Modules),
        // Memory and ports; also model-specific registers.
        SYS_RAWIO => Some(Power::Memory),
        // Accounting, and hanging up other people's terminals.
        SYS_PACCT | SYS_TTY_CONFIG => Some(Power::Settings),
        SYS_BOOT => Some(Power::Reboot),
        SYS_TIME => Some(Power::Clock),
        PERFMON => Some(Power::Perf),
        _ => None,
    }
}

/// The power that takes [`SYS_ADMIN`] in a system call of `x86_64` for which the kernel asks no
/// other hook: `swapon`, `swapoff`, `sethostname`, `setdomainname`, `quotactl`, `quotactl_fd`,
/// `mount_setattr`.
#[inline(always)]
#[must_use]
pub const fn of_call(call: u64) -> Option<Power> {
    match call {
        167 | 168 | 170 | 171 | 179 | 443 => Some(Power::Settings),
        442 => Some(Power::Mount),
        _ => None,
    }
}

/// The name of a capability that [`of_capability`] knows.
#[must_use]
pub const fn capability_name(capability: u32) -> &'static str {
    match capability {
        SYS_MODULE => "sys_module",
        SYS_RAWIO => "sys_rawio",
        SYS_PACCT => "sys_pacct",
        SYS_ADMIN => "sys_admin",
        SYS_BOOT => "sys_boot",
        SYS_TIME => "sys_time",
        SYS_TTY_CONFIG => "sys_tty_config",
        PERFMON => "perfmon",
        _ => "unknown",
    }
}

/// Whether an action on the kernel's log only reads it: `SYSLOG_ACTION_READ_ALL`,
/// `SIZE_UNREAD`, `SIZE_BUFFER`.
#[inline(always)]
#[must_use]
pub const fn only_reads_log(action: u32) -> bool {
    matches!(action, 3 | 9 | 10)
}

/// `FAN_OPEN_PERM`, `FAN_ACCESS_PERM`, `FAN_OPEN_EXEC_PERM`, `FAN_PRE_ACCESS` of
/// `linux/fanotify.h`: whoever watches for these holds up everyone else.
pub const HOLDING: u64 = 0x0001_0000 | 0x0002_0000 | 0x0004_0000 | 0x0010_0000;

/// `F_SETOWN` of `asm-generic/fcntl.h`.
pub const F_SETOWN: u32 = 8;
/// `F_SETOWN_EX`.
pub const F_SETOWN_EX: u32 = 15;

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn powers_are_numbered_without_gaps_and_named_apart() {
        for (at, power) in POWERS.iter().enumerate() {
            assert_eq!(*power as usize, at);
            assert_eq!(Power::from_u8(u8::try_from(at).unwrap()), Some(*power));
        }
        assert_eq!(Power::from_u8(15), None);
        let words: BTreeSet<&str> = POWERS.iter().map(|power| power.as_str()).collect();
        assert_eq!(words.len(), POWERS.len());
        let bits = POWERS.iter().fold(0, |all, power| all | power.bit());
        assert_eq!(bits.count_ones() as usize, POWERS.len());
    }

    #[test]
    fn what_a_number_says_is_read_back() {
        for number in 0..=u8::MAX {
            assert_eq!(
                About::from_u8(number).map(|about| about as u8),
                (number < 8).then_some(number)
            );
        }
    }

    #[test]
    fn capabilities_that_are_watched_are_those_that_have_a_power_and_a_name() {
        for capability in 0..100 {
            let known = of_capability(capability).is_some() || capability == SYS_ADMIN;
            assert_eq!(is_watched(capability), known, "{capability}");
            assert_eq!(is_watched(capability), capability_name(capability) != "unknown");
        }
        // Kill, net admin, ptrace: others decide on what they are used for.
        for capability in [5, 12, 19] {
            assert!(!is_watched(capability), "{capability}");
        }
        // read, mount, umount2, ioctl, unshare, setns: others decide there too.
        for call in [0, 165, 166, 16, 272, 308] {
            assert_eq!(of_call(call), None, "{call}");
        }
        assert_eq!(of_call(442), Some(Power::Mount));
    }

    #[test]
    fn the_log_may_be_read_but_not_cleared() {
        assert!([3, 9, 10].into_iter().all(only_reads_log));
        // Open, read (which takes), read and clear, clear, console off, on, level.
        assert!(![1, 2, 4, 5, 6, 7, 8].into_iter().any(only_reads_log));
    }
}
