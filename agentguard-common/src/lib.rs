//! The words that agentguard's kernel programs and its daemon share, and the
//! evaluator that both of them call.
//!
//! Everything here is `no_std`, free of allocation and free of I/O, so that the
//! same functions run in a kernel hook, in `agentguard policy test`, in unit
//! tests and under a fuzzer. Layouts are `#[repr(C)]` with explicit padding:
//! they cross the boundary as bytes and are checked on arrival, see [`event`].
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod adopt;
pub mod answer;
pub mod counter;
pub mod dns;
pub mod egress;
pub mod event;
pub mod file;
pub mod hello;
pub mod hold;
pub mod host;
pub mod hostfile;
pub mod limit;
pub mod map;
pub mod name;
pub mod net;
pub mod offset;
pub mod opaque;
pub mod own;
pub mod path;
pub mod place;
pub mod resolve;
pub mod said;
pub mod session;
pub mod steering;
pub mod tls;
pub mod unix;
pub mod verdict;

pub use verdict::Verdict;
