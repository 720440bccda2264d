//! agentguard: watches and confines what AI agents do on a host.
//!
//! Data flows one way: policies are compiled into kernel tables ([`policy`],
//! [`kernel`]); sessions tie processes to them ([`session`]); what the kernel
//! decides comes back as records, is tied to its session ([`event`]), and goes to
//! the log and to whoever listens ([`sink`], [`api`]).

// The fuzzer builds the policy language alone, which has what only the rest uses.
#![cfg_attr(
    not(feature = "daemon"),
    expect(dead_code, unused_imports, reason = "the daemon is left out")
)]

#[cfg(feature = "daemon")]
pub mod api;
#[cfg(feature = "daemon")]
pub mod cli;
#[cfg(feature = "daemon")]
pub mod config;
#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(feature = "daemon")]
pub mod detect;
#[cfg(feature = "daemon")]
pub mod doctor;
#[cfg(feature = "daemon")]
pub mod error;
#[cfg(feature = "daemon")]
pub mod event;
#[cfg(feature = "daemon")]
pub mod kernel;
#[cfg(feature = "daemon")]
pub mod learn;
pub mod policy;
#[cfg(feature = "daemon")]
pub mod redact;
#[cfg(feature = "daemon")]
pub mod respond;
#[cfg(feature = "daemon")]
pub mod session;
#[cfg(feature = "daemon")]
pub mod sink;
#[cfg(feature = "daemon")]
pub mod why;

#[cfg(feature = "daemon")]
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
