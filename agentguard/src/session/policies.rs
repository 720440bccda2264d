//! Policies on their way into the kernel: those that files declare, and those
//! that stand in the kernel's slots, some of them only because sessions that
//! started under an older file still run.

use std::collections::BTreeMap;
use std::sync::Arc;

use agentguard_common::egress::MAX_POLICIES;

use super::Store;
use crate::error::{Error, Result};
use crate::kernel::Tables;
use crate::policy::{Policy, PolicySet};

/// The slot that `doctor` tries denials in.
pub const PROBE_POLICY: u32 = MAX_POLICIES - 1;

/// Declared policies and those in the kernel.
pub struct Policies {
    declared: PolicySet,
    directory: String,
    loaded: BTreeMap<u32, Loaded>,
}

struct Loaded {
    tag: u64,
    policy: Option<Arc<Policy>>,
}

impl Policies {
    /// Takes stock: what the files declare, and what the kernel has from before.
    ///
    /// # Errors
    ///
    /// Where the kernel's table cannot be read.
    pub fn new(
        declared: PolicySet,
        directory: String,
        tables: &Tables,
        store: &Store,
    ) -> Result<Self> {
        let mut loaded = BTreeMap::new();
        for (slot, entry) in tables.policies()? {
            if slot == PROBE_POLICY {
                continue;
            }
            let path = store.policy(&crate::hex(&entry.hash));
            let policy = Policy::load(&path)
                .inspect_err(
                    |error| tracing::warn!(slot, %error, "a policy in force has no source"),
                )
                .ok()
                .map(Arc::new);
            loaded.insert(slot, Loaded { tag: entry.tag, policy });
        }
        Ok(Self { declared, directory, loaded })
    }

    /// The policy that a file declares for an agent.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownAgent`] where none does.
    pub fn declared(&self, agent: &str) -> Result<&Policy> {
        self.declared.get(agent).ok_or_else(|| {
            let names: Vec<&str> =
                self.declared.iter().map(|policy| policy.agent.as_str()).collect();
            Error::UnknownAgent {
                agent: agent.to_owned(),
                declared: if names.is_empty() { "none".into() } else { names.join(", ") },
                directory: self.directory.clone(),
            }
        })
    }

    /// How many agents are declared.
    #[must_use]
    pub fn count(&self) -> usize {
        self.declared.iter().count()
    }

    /// The slot of an agent's declared policy, put into the kernel if it is not
    /// there yet.
    ///
    /// # Errors
    ///
    /// Where there is none, it does not compile, or the kernel's tables are full.
    pub fn slot(&mut self, agent: &str, tables: &Tables, store: &Store) -> Result<u32> {
        let policy = self.declared(agent)?.clone();
        let tag = policy.tag();
        if let Some((slot, _)) = self.loaded.iter().find(|(_, loaded)| loaded.tag == tag) {
            return Ok(*slot);
        }
        let slot =
            (0..PROBE_POLICY).find(|slot| !self.loaded.contains_key(slot)).ok_or(Error::Full {
                what: "policies",
                limit: PROBE_POLICY,
                mend: "end sessions that run under older policies",
            })?;
        let compiled = policy.compile()?;
        store.keep_policy(&crate::hex(&policy.hash), &policy.source)?;
        tables.add_policy(slot, &compiled)?;
        self.loaded.insert(slot, Loaded { tag, policy: Some(Arc::new(policy)) });
        Ok(slot)
    }

    /// The policy in a slot.
    #[must_use]
    pub fn in_slot(&self, slot: u32) -> Option<&Arc<Policy>> {
        self.loaded.get(&slot)?.policy.as_ref()
    }

    /// The policy with a tag, which events carry.
    #[must_use]
    pub fn by_tag(&self, tag: u64) -> Option<&Arc<Policy>> {
        self.loaded.values().find(|loaded| loaded.tag == tag)?.policy.as_ref()
    }

    /// The policy that decided, by the line of the event.
    #[must_use]
    pub fn of_line(&self, line: &str) -> Option<&Policy> {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        let hash = event.get("policy_hash")?.as_str()?;
        let all = self.loaded.values().filter_map(|loaded| loaded.policy.as_deref());
        all.chain(self.declared.iter()).find(|policy| crate::hex(&policy.hash) == hash)
    }

    /// Takes policies out of the kernel that no file declares any more and no
    /// session uses.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses.
    pub fn sweep(
        &mut self,
        used: &dyn Fn(u32) -> bool,
        tables: &Tables,
        store: &Store,
    ) -> Result<()> {
        let current: Vec<u64> = self.declared.iter().map(Policy::tag).collect();
        let stale: Vec<u32> = self
            .loaded
            .iter()
            .filter(|(slot, loaded)| !used(**slot) && !current.contains(&loaded.tag))
            .map(|(slot, _)| *slot)
            .collect();
        for slot in stale {
            tables.remove_policy(slot)?;
            if let Some(policy) = self.loaded.remove(&slot).and_then(|loaded| loaded.policy) {
                store.forget_policy(&crate::hex(&policy.hash));
            }
        }
        Ok(())
    }
}
