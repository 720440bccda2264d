//! The policy of a session that is learned from: everything goes through, and everything is
//! told of.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::policy::{Policy, PolicyErrors};

/// The policy for an agent. Its sessions may ask the host's resolvers for any name, and these
/// ones; what is asked of others is seen, but not read.
///
/// `memory: deny` under `observe` is there to be told: it refuses nothing.
///
/// # Errors
///
/// Where that can be no agent's name, or those can be no resolvers.
pub fn watched(agent: &str, resolvers: &[IpAddr]) -> Result<Policy, PolicyErrors> {
    let listed: String = resolvers.iter().map(|address| format!(", \"{address}\"")).collect();
    let agent_text = serde_json::Value::from(agent).to_string();
    let text = format!(
        "version: 1
agent: {agent_text}
description: Lets everything through and tells of it, to learn a policy from.
mode: observe
egress:
  default: allow
  dns:
    resolvers: [system{listed}]
    inside: [0.0.0.0/0, \"::/0\"]
files:
  default: write
exec:
  default: allow
  memory: deny
"
    );
    Policy::parse(&PathBuf::from(format!("(learning {agent})")), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Mode;

    #[test]
    fn nothing_is_refused_and_files_are_looked_at() {
        let policy = watched("coder", &["10.0.0.53".parse().unwrap()]).unwrap();
        assert_eq!(policy.mode, Mode::Observe);
        assert!(policy.has_paths());
        let dns = policy.egress.lookups().unwrap();
        assert!(dns.system);
        assert_eq!(dns.resolvers.len(), 1);
        policy.compile().unwrap();
        assert!(policy.check_paths().unwrap().is_some());
    }

    #[test]
    fn an_agent_has_a_name() {
        for name in ["", "a b", "x\nmode: enforce", "\"", "Ü"] {
            assert!(watched(name, &[]).is_err(), "{name:?}");
        }
    }
}
