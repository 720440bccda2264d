//! Finds and opens the virtio-serial port to the host.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::wire::PORT_NAME;

/// Opens the port; waits for it, because the kernel announces ports in its own time.
pub(crate) fn open() -> Result<File> {
    for _ in 0..500 {
        if let Some(device) = find() {
            return OpenOptions::new()
                .read(true)
                .write(true)
                .open(&device)
                .with_context(|| format!("open {}", device.display()));
        }
        sleep(Duration::from_millis(10));
    }
    bail!("no virtio port named {PORT_NAME} appeared in 5 s")
}

fn find() -> Option<PathBuf> {
    let ports = fs::read_dir("/sys/class/virtio-ports").ok()?;
    ports.flatten().find_map(|port| {
        let name = fs::read_to_string(port.path().join("name")).ok()?;
        let device = PathBuf::from("/dev").join(port.file_name());
        (name.trim() == PORT_NAME && device.exists()).then_some(device)
    })
}
