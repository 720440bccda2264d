//! Tells which policies are in force from the daemon's start on, so that the audit log
//! shows when one of them changed: its hash is another one.

use std::path::PathBuf;
use std::sync::Arc;

use super::Daemon;
use crate::event::{Event, Outcome};
use crate::hex;

/// What is told of a policy.
struct Declared {
    agent: String,
    path: PathBuf,
    hash: String,
}

impl Daemon {
    pub(super) fn tell_policies(&self) {
        let declared: Vec<_> = {
            let state = self.state.borrow();
            let of = |policy: &crate::policy::Policy| Declared {
                agent: policy.agent.clone(),
                path: policy.path.clone(),
                hash: hex(&policy.hash),
            };
            state.policies.all_declared().map(of).collect()
        };
        for Declared { agent, path, hash } in declared {
            let told = self.state.borrow_mut().enricher.lifecycle(
                "policy.load",
                None,
                path.display().to_string(),
                Outcome::Success,
                None,
            );
            let told = Event { agent_role: agent, policy_hash: Some(hash), ..told };
            self.publish(&Arc::new(told));
        }
    }
}
