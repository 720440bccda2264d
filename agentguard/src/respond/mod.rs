//! Responses: from what a session does to what is done about it. The engine goes by a
//! policy's `respond:` list and decides; it knows the time only from who calls it, and does
//! nothing itself. The daemon does.

mod engine;

pub use engine::{Act, Engine, Fact};
