//! Who is at the other end of a connection: what the kernel says, not what the
//! peer says.

use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};

use agentguard_common::session::TaskLabel;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::error::{Error, Result};
use crate::kernel::Tables;
use crate::session::pidfd_open;

/// `SO_PEERPIDFD` of `asm-generic/socket.h`, Linux 6.5 and newer.
const SO_PEERPIDFD: libc::c_int = 77;

/// A peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// Its user.
    pub(super) uid: u32,
    /// Its session, if it is a guarded process itself.
    pub(super) label: Option<TaskLabel>,
}

impl Peer {
    /// Finds out who connected.
    pub(super) fn of(socket: &impl AsFd, tables: &Tables) -> Result<Self> {
        let credentials = getsockopt(&socket.as_fd(), PeerCredentials)
            .map_err(Error::system("ask who is at the other end of the socket"))?;
        let process = peer_pidfd(socket).or_else(|| pidfd_open(credentials.pid()));
        // One that is gone cannot be told from a guarded one, so it gets nothing.
        let process = process.ok_or_else(|| Error::Refused("the caller is gone".into()))?;
        Ok(Self { uid: credentials.uid(), label: tables.label(process.as_fd())? })
    }

    /// Whether it may see and end a session of that user.
    pub(super) fn may_touch(&self, owner: u32) -> bool {
        self.label.is_none() && (self.uid == 0 || self.uid == owner)
    }

    /// Refuses guarded processes, for whatever changes something.
    pub(super) fn must_be_unguarded(&self) -> Result<()> {
        match self.label {
            None => Ok(()),
            Some(_) => Err(Error::Refused(
                "this process is in a session itself, and a guarded process may not do this".into(),
            )),
        }
    }
}

/// The peer by a descriptor that cannot come to mean another process.
fn peer_pidfd(socket: &impl AsFd) -> Option<OwnedFd> {
    let (mut fd, mut len) = (-1i32, 4);
    // SAFETY: value and length are ours and have the sizes that are given.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PEERPIDFD,
            (&raw mut fd).cast(),
            &raw mut len,
        )
    };
    // SAFETY: the kernel has just made this descriptor for us.
    (failed == 0 && fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}
