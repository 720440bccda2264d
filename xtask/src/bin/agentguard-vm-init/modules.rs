//! Loads the kernel modules that came in the initramfs: what it takes to reach the
//! host's root (virtio, virtiofs) and to lay a writable layer over it (overlay).

use std::fs::File;

use anyhow::{Context, Result};
use nix::errno::Errno;

/// `MODULE_INIT_COMPRESSED_FILE`: the kernel unpacks `.ko.xz` itself.
const COMPRESSED: libc::c_int = 4;

/// Loads each of `paths` in order.
pub(crate) fn load(paths: &[String]) -> Result<()> {
    for path in paths {
        let file = File::open(path).with_context(|| format!("open {path}"))?;
        let flags = if path.ends_with(".ko") { 0 } else { COMPRESSED };
        match insert(&file, flags) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error).with_context(|| format!("load {path}")),
        }
    }
    Ok(())
}

fn insert(file: &File, flags: libc::c_int) -> nix::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: the descriptor is open for the length of the call, and the parameter
    // string is a static C string.
    let rc =
        unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), c"".as_ptr(), flags) };
    Errno::result(rc).map(drop)
}
