//! A session's last moment: what it is doing is seen, and its processes are killed, those
//! among them that left its cgroup.

use std::os::fd::AsFd as _;

use super::find::{labelled, pidfd_kill};
use super::{Camera, Cgroup};
use crate::error::Result;
use crate::kernel::Tables;

/// A session whose processes are to be killed.
#[derive(Debug)]
pub struct Doomed {
    pub(super) number: u64,
    pub(super) cgroup: Cgroup,
}

impl Doomed {
    /// Makes what is in the cgroup stand still, and takes a picture of it.
    #[must_use]
    pub fn hold_still(&self) -> Camera {
        // Fails only when the cgroup is gone, and its processes with it. What is frozen can
        // be killed all the same.
        let _ = self.cgroup.freeze(true);
        let mut camera = Camera::default();
        camera.cgroup(&self.cgroup);
        camera
    }

    /// Kills what is there; true when there was nothing left. To be called until it
    /// says so twice running: a fork that had begun before the kernel was told to
    /// refuse them can still finish.
    ///
    /// # Errors
    ///
    /// Where the kernel's tables cannot be read.
    pub fn kill(&self, tables: &Tables, mut camera: Option<&mut Camera>) -> Result<bool> {
        // Fails only when the cgroup is gone, and its processes with it.
        let _ = self.cgroup.kill();
        // Those that moved to other cgroups are found by their label.
        let left = labelled(self.number, tables)?;
        for process in &left {
            if let Some(camera) = &mut camera {
                camera.process(process.pid);
            }
            pidfd_kill(process.pidfd.as_fd());
        }
        Ok(left.is_empty())
    }
}
