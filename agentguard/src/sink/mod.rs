//! Where events go: the log, and the memory that `agentguard events` reads.

mod log;
mod recent;

pub use log::Log;
pub use recent::{Recent, Sent};
