//! The frame of the end-to-end scenarios: a network of the VM's own, a daemon, the
//! program that plays the agent, and the log. The scenarios are in `tests/e2e`.
//!
//! They attach LSM programs and change the network, so they run only where
//! `cargo xtask vm` has set `AGENTGUARD_VM`.

pub mod guard;
pub mod net;
pub mod peer;
pub mod prometheus;
pub mod resolver;

/// What every scenario returns: errors explain themselves.
pub type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Whether this is a throw-away VM. Scenarios that find it is not do nothing, and
/// say so: `cargo test` on a developer's machine must not touch its kernel.
#[must_use]
pub fn in_vm() -> bool {
    let inside = std::env::var_os("AGENTGUARD_VM").is_some();
    if !inside {
        eprintln!("skipped: not in the VM (run `cargo xtask test`)");
    }
    inside
}
