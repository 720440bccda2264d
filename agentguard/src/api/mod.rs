//! The control socket: requests and answers as lines of JSON over a unix socket,
//! with descriptors passed beside them where one is needed.

mod client;
mod peer;
mod protocol;
mod server;
mod wire;

pub use client::Client;
pub use protocol::{Request, Response, Row};
pub use server::serve;

/// Where the daemon listens, unless told otherwise.
pub const SOCKET: &str = "/run/agentguard/agentguard.sock";
