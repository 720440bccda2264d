//! The disk behind a directory, as `io.max` names it: a whole disk, not a part of one.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

/// A block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    major: u64,
    minor: u64,
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// The disk that a directory is on; `None` where it is on none (memory, network).
#[must_use]
pub fn disk_of(directory: &Path) -> Option<Disk> {
    let device = std::fs::metadata(directory).ok()?.dev();
    let device = Disk { major: major(device), minor: minor(device) };
    whole(device, Path::new("/sys/dev/block")).or_else(|| by_mount(device))
}

/// File systems such as Btrfs have numbers of their own; the mount says what is behind.
fn by_mount(device: Disk) -> Option<Disk> {
    let mounts = procfs::process::Process::myself().ok()?.mountinfo().ok()?;
    let name = device.to_string();
    let mount = mounts.into_iter().find(|mount| mount.majmin == name)?;
    let source = PathBuf::from(mount.mount_source?);
    let behind = std::fs::metadata(source).ok()?.rdev();
    let behind = Disk { major: major(behind), minor: minor(behind) };
    whole(behind, Path::new("/sys/dev/block"))
}

/// The disk that a device is or is a part of; `None` where it is no block device.
fn whole(device: Disk, devices: &Path) -> Option<Disk> {
    let entry = devices.join(device.to_string());
    if !entry.exists() {
        return None;
    }
    if !entry.join("partition").exists() {
        return Some(device);
    }
    let parent = std::fs::canonicalize(entry).ok()?.parent()?.join("dev");
    let text = std::fs::read_to_string(parent).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some(Disk { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_leads_to_its_disk() {
        // As sysfs lays it out.
        let root = tempfile::tempdir().unwrap();
        let disk = root.path().join("devices/sda");
        std::fs::create_dir_all(disk.join("sda2")).unwrap();
        std::fs::write(disk.join("dev"), "8:0\n").unwrap();
        std::fs::write(disk.join("sda2/partition"), "2\n").unwrap();
        let block = root.path().join("block");
        std::fs::create_dir(&block).unwrap();
        std::os::unix::fs::symlink(&disk, block.join("8:0")).unwrap();
        std::os::unix::fs::symlink(disk.join("sda2"), block.join("8:2")).unwrap();
        let sda = Disk { major: 8, minor: 0 };
        assert_eq!(whole(Disk { major: 8, minor: 2 }, &block), Some(sda));
        assert_eq!(whole(sda, &block), Some(sda));
        assert_eq!(whole(Disk { major: 0, minor: 44 }, &block), None);
        assert_eq!(sda.to_string(), "8:0");
    }

    #[test]
    fn memory_is_no_disk() {
        assert_eq!(disk_of(Path::new("/proc")), None);
        assert_eq!(disk_of(Path::new("/no/such/place")), None);
    }
}
