//! The kernel side, seen from user space: loading and pinning the programs, and
//! the tables they decide by. Everything here is about bytes and descriptors;
//! what sessions and policies mean stands elsewhere.

pub mod btf;
mod holds;
mod load;
mod map;
mod names;
mod own;
mod paths;
mod pin;
mod places;
mod ring;
mod stats;
mod tables;

pub use holds::{HoldTables, Word};
pub use load::{LoadedProgram, Temporary, lsm_list, measure, rename_lock};
pub use map::Map;
pub use names::Carry;
pub use paths::Stand;
pub use pin::{Found, Pins, unload};
pub use places::{Standing, Stands};
pub use ring::Ring;
pub use stats::{Fill, ProgramRun, ProgramStats};
pub use tables::{Counter, Tables};

/// The kernel programs, as `cargo xtask build` left them; empty in a build
/// without them.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/agentguard-ebpf.o"));

/// Twelve hexadecimal digits that name this build of the kernel programs.
#[must_use]
pub fn object_name() -> String {
    crate::hex(&<sha2::Sha256 as sha2::Digest>::digest(OBJECT)[..6])
}
