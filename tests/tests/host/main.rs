//! Parts of agentguard against the programs that they work with, on the host itself:
//! nothing of it touches the kernel's hooks, so that no VM is needed. They talk over
//! loopback only.

mod alerts;
mod metrics;
