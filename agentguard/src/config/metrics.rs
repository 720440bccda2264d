//! The section `metrics`: where Prometheus finds them, and which of those that cost
//! something are wanted.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Deserialize;

/// Metrics for Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// The address to serve `/metrics` on, for example `127.0.0.1:9477`. Without one
    /// nothing is served.
    #[schemars(with = "Option<String>", example = "127.0.0.1:9477")]
    pub listen: Option<SocketAddr>,
    /// Whether the kernel is to count how often and how long each program of
    /// agentguard runs. It costs every BPF program of the host some nanoseconds a run.
    pub program_stats: bool,
}
