//! agentguard: watches and confines what AI agents do on a host.
//!
//! Data flows one way: policies are compiled into kernel tables ([`policy`],
//! [`kernel`]); sessions tie processes to them ([`session`]); what the kernel
//! decides comes back as records, is tied to its session ([`event`]), and goes to
//! the log and to whoever listens ([`sink`], [`api`]).

pub mod api;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod detect;
pub mod doctor;
pub mod error;
pub mod event;
pub mod kernel;
pub mod learn;
pub mod policy;
pub mod redact;
pub mod respond;
pub mod session;
pub mod sink;
pub mod why;

pub use error::{Error, Result};

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
