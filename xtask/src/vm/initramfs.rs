//! The VM's first file system: PID 1, its plan, and the modules it needs to reach the
//! host's root. A newc archive, made in memory for each boot.

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::kernel::Kernel;
use crate::plan::Plan;

/// What PID 1 loads; those a kernel has built in are not in its `modules.dep`.
const MODULES: &[&str] = &["virtio_pci", "virtio_console", "virtio-rng", "virtiofs", "overlay"];

/// Builds the archive in an anonymous file, which QEMU reads through `/proc`.
pub(super) fn build(init: &Path, kernel: &Kernel, mut plan: Plan) -> Result<OwnedFd> {
    let mut archive = Archive::default();
    archive.add("init", 0o100_755, &read(init)?)?;
    archive.add("modules", 0o040_755, &[])?;
    for module in modules(kernel)? {
        let name = Path::new(&module).file_name().unwrap_or_default().to_string_lossy();
        let place = format!("modules/{name}");
        archive.add(&place, 0o100_644, &read(&kernel.module_dir()?.join(&module))?)?;
        plan.modules.push(format!("/{place}"));
    }
    let plan = serde_json::to_vec(&plan).context("write the plan")?;
    archive.add("plan.json", 0o100_644, &plan)?;
    archive.add("TRAILER!!!", 0, &[])?;
    let fd = memfd_create("agentguard-initramfs", MFdFlags::empty()).context("make a memfd")?;
    fs::File::from(fd.try_clone().context("copy the memfd")?)
        .write_all(&archive.bytes)
        .context("fill the initramfs")?;
    Ok(fd)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

/// The wanted modules and what they depend on, in loading order.
fn modules(kernel: &Kernel) -> Result<Vec<String>> {
    let list = kernel.module_dir()?.join("modules.dep");
    let list = fs::read_to_string(&list).with_context(|| {
        format!("read {} (run `depmod` for this kernel if it is missing)", list.display())
    })?;
    Ok(load_order(&list, MODULES))
}

fn load_order(modules_dep: &str, wanted: &[&str]) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    for name in wanted {
        let found =
            modules_dep.lines().filter_map(|line| line.split_once(':')).find(|(path, _)| {
                let file = path.rsplit('/').next().unwrap_or_default();
                file.split('.').next() == Some(name)
            });
        let Some((path, needs)) = found else { continue };
        // modules.dep names the nearest dependency first.
        let chain = needs.split_whitespace().rev().chain([path]);
        for module in chain {
            if !order.iter().any(|known| known == module) {
                order.push(module.to_owned());
            }
        }
    }
    order
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    files: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, data: &[u8]) -> Result<()> {
        self.files += 1;
        let size = u32::try_from(data.len()).context("a file over 4 GiB in the initramfs")?;
        let name_size = u32::try_from(name.len() + 1).context("an overlong name")?;
        // magic, then: inode, mode, uid, gid, links, mtime, size, device and rdevice
        // (major, minor), name size, checksum.
        let fields = [self.files, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_load_first_and_once() {
        let dep = "kernel/fs/fuse/fuse.ko:\n\
                   kernel/fs/fuse/virtiofs.ko.xz: kernel/fs/fuse/fuse.ko kernel/virtio/virtio.ko\n\
                   kernel/virtio/virtio.ko:\n";
        let order = load_order(dep, &["virtio", "virtiofs", "absent"]);
        assert_eq!(
            order,
            ["kernel/virtio/virtio.ko", "kernel/fs/fuse/fuse.ko", "kernel/fs/fuse/virtiofs.ko.xz"]
        );
    }

    #[test]
    fn entries_are_aligned() {
        let mut archive = Archive::default();
        archive.add("abc", 0o100_644, b"12345").unwrap();
        archive.add("TRAILER!!!", 0, &[]).unwrap();
        assert_eq!(archive.bytes.len() % 4, 0);
        assert!(archive.bytes.starts_with(b"070701"));
    }
}
