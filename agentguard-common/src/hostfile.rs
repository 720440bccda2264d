//! Which files are the host's own: those that the kernel makes up, and devices.

use crate::host::Power;

/// `PROC_SUPER_MAGIC` of `linux/magic.h`.
pub const PROC: u64 = 0x9fa0;
/// `BPF_FS_MAGIC`.
pub const BPF: u64 = 0xcafe_4a11;
/// `NSFS_MAGIC`.
pub const NAMESPACES: u64 = 0x6e73_6673;

/// What it takes to write to a file system that the kernel makes up, or to change it: `proc`
/// apart, where it depends on the file. `magic` is the type's number in `linux/magic.h`.
#[inline(always)]
#[must_use]
pub const fn of_filesystem(magic: u64) -> Option<Power> {
    match magic {
        BPF => Some(Power::Bpf),
        // cgroup2, cgroup.
        0x6367_7270 | 0x27_e0eb => Some(Power::Cgroups),
        // tracefs.
        0x7472_6163 => Some(Power::Perf),
        // sysfs, debugfs, securityfs, configfs, efivarfs, pstore, selinux, smackfs, fusectl,
        // resctrl, binfmt_misc.
        0x6265_6572 | 0x6462_6720 | 0x7363_6673 | 0x6265_6570 | 0xde5e_81e4 | 0x6165_676c
        | 0xf97c_ff8c | 0x4341_5d53 | 0x6573_5543 | 0x0765_5821 | 0x4249_4e4d => {
            Some(Power::Settings)
        }
        _ => None,
    }
}

/// `S_IFMT`, `S_IFBLK` and `S_IFCHR` of `linux/stat.h`.
const TYPE: u32 = 0o170_000;
const BLOCK: u32 = 0o060_000;
const CHARACTER: u32 = 0o020_000;

/// What it takes to open a device. Most are left to the host's permissions; disks, read or
/// written, go round every rule on files, and keyboards tell and take commands. `device` is
/// the number as the kernel has it (`Documentation/admin-guide/devices.txt`).
#[inline(always)]
#[must_use]
pub const fn of_device(mode: u32, device: u32) -> Option<Power> {
    let (major, minor) = (device >> 20, device & 0xf_ffff);
    match mode & TYPE {
        BLOCK => Some(Power::Devices),
        CHARACTER => match (major, minor) {
            // mem, kmem, port.
            (1, 1 | 2 | 4) => Some(Power::Memory),
            // Screens as text; input devices; SCSI and tape commands.
            (7 | 9 | 13 | 21, _) => Some(Power::Devices),
            // Input that is made up, the image of a sleeping host.
            (10, 223 | 231) => Some(Power::Devices),
            // The watchdog.
            (10, 130) => Some(Power::Reboot),
            // Model-specific registers.
            (202, _) => Some(Power::Memory),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a control call brings a whole file system to a halt: `FIFREEZE`, `FITHAW` of
/// `linux/fs.h`, and what shuts one down, alike for all types (`linux/xfs_fs.h`).
#[inline(always)]
#[must_use]
pub const fn halts(call: u32) -> bool {
    matches!(call, 0xc004_5877 | 0xc004_5878 | 0x8004_587d)
}

/// Whether a control call marks a file, as one that cannot be changed for example:
/// `FS_IOC_SETFLAGS`, for both sizes of words, and `FS_IOC_FSSETXATTR`.
#[inline(always)]
#[must_use]
pub const fn marks(call: u32) -> bool {
    matches!(call, 0x4008_6602 | 0x4004_6602 | 0x401c_5820)
}

/// Whether it is the file of a process, below `/proc/PID`, that whoever made the process has
/// to fill in: what users and groups its namespace has. The kernel takes them once, from who
/// may say so.
#[inline(always)]
#[must_use]
pub const fn fills_in(name: u64, len: u32) -> bool {
    matches!(
        (&name.to_le_bytes(), len),
        (b"uid_map\0", 7) | (b"gid_map\0", 7) | (b"setgroup", 9) | (b"projid_m", 10)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_that_keep_things_are_not_the_hosts() {
        // ext4, btrfs, xfs, tmpfs, overlay, nfs, devpts, mqueue, hugetlbfs, pipes, sockets, proc.
        for magic in [
            0xef53,
            0x9123_683e,
            0x5846_5342,
            0x0102_1994,
            0x794c_7630,
            0x6969,
            0x1cd1,
            0x1980_0202,
            0x9584_58f6,
            0x5049_5045,
            0x534f_434b,
            PROC,
            NAMESPACES,
        ] {
            assert_eq!(of_filesystem(magic), None, "{magic:x}");
        }
        assert_eq!(of_filesystem(0x6265_6572), Some(Power::Settings));
        assert_eq!(of_filesystem(0x6367_7270), Some(Power::Cgroups));
        assert_eq!(of_filesystem(BPF), Some(Power::Bpf));
    }

    #[test]
    fn devices_that_programs_use_are_open() {
        let character = |major: u32, minor: u32| of_device(0o020_666, major << 20 | minor);
        // null, zero, full, random, urandom, tty, console, ptmx, pts, tun, fuse, kvm, rtc.
        for (major, minor) in [
            (1, 3),
            (1, 5),
            (1, 7),
            (1, 8),
            (1, 9),
            (5, 0),
            (5, 1),
            (5, 2),
            (136, 0),
            (10, 200),
            (10, 229),
            (10, 232),
            (250, 0),
        ] {
            assert_eq!(character(major, minor), None, "{major} {minor}");
        }
        assert_eq!(character(1, 1), Some(Power::Memory));
        assert_eq!(character(13, 64), Some(Power::Devices));
        assert_eq!(character(10, 130), Some(Power::Reboot));
        assert_eq!(of_device(0o060_660, 8 << 20 | 1), Some(Power::Devices));
        assert_eq!(of_device(0o100_644, 8 << 20 | 1), None, "a plain file");
    }

    #[test]
    fn control_calls_that_look_are_free() {
        // FS_IOC_GETFLAGS, FS_IOC_FSGETXATTR, FITRIM, FICLONE, TCGETS, FIONREAD.
        for call in [0x8008_6601, 0x801c_581f, 0xc018_5879, 0x4004_9409, 0x5401, 0x541b] {
            assert!(!halts(call) && !marks(call), "{call:x}");
        }
        assert!(halts(0xc004_5877) && !marks(0xc004_5877));
        assert!(marks(0x4008_6602) && !halts(0x4008_6602));
    }

    #[test]
    fn maps_of_users_are_filled_in_from_outside() {
        let word = |name: &[u8]| {
            let mut bytes = [0; 8];
            let len = name.len().min(8);
            bytes[..len].copy_from_slice(&name[..len]);
            (u64::from_le_bytes(bytes), u32::try_from(name.len()).unwrap())
        };
        for (name, fills) in [
            ("uid_map", true),
            ("gid_map", true),
            ("setgroups", true),
            ("projid_map", true),
            ("oom_score_adj", false),
            ("mem", false),
            ("uid_maps", false),
            ("comm", false),
        ] {
            let (bytes, len) = word(name.as_bytes());
            assert_eq!(fills_in(bytes, len), fills, "{name}");
        }
    }
}
