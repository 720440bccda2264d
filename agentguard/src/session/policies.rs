//! Policies on their way into the kernel: those that files declare, and those
//! that stand in the kernel's slots, some of them only because sessions that
//! started under an older file still run.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use agentguard_common::egress::MAX_POLICIES;

use super::paths::LINGER;
use super::{Relearned, Store};
use crate::error::{Error, Result};
use crate::kernel::Tables;
use crate::policy::{Carried, Compiled, Policy, PolicySet};

/// The slot that `doctor` tries denials in.
pub const PROBE_POLICY: u32 = MAX_POLICIES - 1;

/// Declared policies and those in the kernel.
pub struct Policies {
    declared: PolicySet,
    directory: String,
    loaded: BTreeMap<u32, Loaded>,
    past: VecDeque<Arc<Policy>>,
}

struct Loaded {
    tag: u64,
    policy: Option<Arc<Policy>>,
    /// Since when neither a file declares it nor a session has it.
    left: Option<Instant>,
}

/// How many policies are remembered that are not in the kernel any more, for explaining what
/// they decided.
const PAST: usize = 64;

/// Where a policy stands in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// Its slot.
    pub policy: u32,
    /// That of what holds once a session is tainted; the same, where nothing else does.
    pub tainted: u32,
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
            // One file says what holds before a session is tainted and what does after.
            let policy = policy.and_then(|policy| match &policy.tainted {
                Some(tainted) if tainted.tag() == entry.tag => Some(Arc::clone(tainted)),
                _ => Some(policy).filter(|policy| policy.tag() == entry.tag),
            });
            loaded.insert(slot, Loaded { tag: entry.tag, policy, left: None });
        }
        Ok(Self { declared, directory, loaded, past: VecDeque::new() })
    }

    /// Where the files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        Path::new(&self.directory)
    }

    /// What the files declare from now on; what they declared before is handed back.
    pub fn replace(&mut self, declared: PolicySet) -> PolicySet {
        std::mem::replace(&mut self.declared, declared)
    }

    /// How what sessions learned under one policy is known under another, where anything is:
    /// a policy without rules by name looks at no answers.
    ///
    /// # Errors
    ///
    /// Where one of them does not compile.
    pub fn relearned(old: &Policy, new: &Policy) -> Result<Option<Relearned>> {
        if old.egress.lookups().is_none() || new.egress.lookups().is_none() {
            return Ok(None);
        }
        let (old, new) = (old.compile()?, new.compile()?);
        let names = Carried::new(&old, &new);
        Ok(Some(Relearned { from: old.entry, to: new.entry, names }))
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

    /// The policies that are declared.
    pub fn all_declared(&self) -> impl Iterator<Item = &Policy> {
        self.declared.iter()
    }

    /// Whether a policy takes processes in that nobody started as sessions.
    #[must_use]
    pub fn takes_in(&self) -> bool {
        self.declared.iter().any(|policy| !policy.matches.is_empty())
    }

    /// The slots of a policy, put into the kernel if it is not there yet. One that no file
    /// declares stays for as long as a session uses it.
    ///
    /// # Errors
    ///
    /// Where it does not compile, or the kernel's tables are full.
    pub fn slots(&mut self, policy: Policy, tables: &Tables, store: &Store) -> Result<Slots> {
        store.keep_policy(&crate::hex(&policy.hash), &policy.source)?;
        let policy = Arc::new(policy);
        let slot = self.slot(&policy, tables, || Ok(policy.compile()?))?;
        let tainted = match &policy.tainted {
            Some(tainted) => self.slot(tainted, tables, || Ok(tainted.compile_after(&policy)?))?,
            None => slot,
        };
        Ok(Slots { policy: slot, tainted })
    }

    fn slot(
        &mut self,
        policy: &Arc<Policy>,
        tables: &Tables,
        compile: impl FnOnce() -> Result<Compiled>,
    ) -> Result<u32> {
        let tag = policy.tag();
        if let Some((slot, loaded)) = self.loaded.iter_mut().find(|(_, loaded)| loaded.tag == tag) {
            loaded.left = None;
            return Ok(*slot);
        }
        let slot =
            (0..PROBE_POLICY).find(|slot| !self.loaded.contains_key(slot)).ok_or(Error::Full {
                what: "policies",
                limit: PROBE_POLICY,
                mend: "end sessions that run under older policies",
            })?;
        tables.add_policy(slot, &compile()?)?;
        self.loaded.insert(slot, Loaded { tag, policy: Some(Arc::clone(policy)), left: None });
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

    /// A policy that is in force, by its hash in hexadecimal digits.
    #[must_use]
    pub fn of_hash(&self, hash: &str) -> Option<Arc<Policy>> {
        let mut all = self.loaded.values().filter_map(|loaded| loaded.policy.as_ref());
        all.find(|policy| crate::hex(&policy.hash) == hash).cloned()
    }

    /// The policy that decided, by the line of the event.
    #[must_use]
    pub fn of_line(&self, line: &str) -> Option<&Policy> {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        let hash = event.get("policy_hash")?.as_str()?;
        self.all().find(|policy| crate::hex(&policy.hash) == hash)
    }

    /// Those in the kernel, then those that files declare (many are both), then those that are
    /// gone.
    pub fn all(&self) -> impl Iterator<Item = &Policy> {
        let all = self.loaded.values().filter_map(|loaded| loaded.policy.as_deref());
        all.chain(self.declared.iter()).chain(self.past.iter().map(Arc::as_ref))
    }

    /// Takes policies out of the kernel that no file declares any more and no
    /// session uses, once no decision can be reading them.
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
        let tainted = self.declared.iter().filter_map(|policy| policy.tainted.as_deref());
        let current: Vec<u64> = self.declared.iter().chain(tainted).map(Policy::tag).collect();
        let mut stale = Vec::new();
        for (slot, loaded) in &mut self.loaded {
            if used(*slot) || current.contains(&loaded.tag) {
                loaded.left = None;
            } else if loaded.left.get_or_insert_with(Instant::now).elapsed() >= LINGER {
                stale.push(*slot);
            }
        }
        for slot in stale {
            tables.remove_policy(slot)?;
            if let Some(policy) = self.loaded.remove(&slot).and_then(|loaded| loaded.policy) {
                store.forget_policy(&crate::hex(&policy.hash));
                self.past.push_front(policy);
                self.past.truncate(PAST);
            }
        }
        Ok(())
    }
}
