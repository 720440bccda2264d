//! The control socket: requests and answers as lines of JSON over a unix socket,
//! with descriptors passed beside them where one is needed.

mod client;
mod peer;
mod protocol;
mod server;
mod wire;

pub use client::{Client, Listener};
pub use protocol::{Asked, Request, Response, Row};
pub use server::serve;

/// Where the daemon listens, unless told otherwise.
pub const SOCKET: &str = "/run/agentguard/agentguard.sock";

/// Where it listens for processes of sessions, which may not connect to the other: the
/// same is served there, and what a guarded process may ask is little.
#[must_use]
pub fn for_sessions(socket: &std::path::Path) -> std::path::PathBuf {
    socket.with_file_name("self.sock")
}
