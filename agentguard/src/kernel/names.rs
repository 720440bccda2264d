//! The tables that names are decided by: those of the policies, the servers that may be
//! asked, and the addresses that sessions learned.

use std::collections::BTreeSet;

use agentguard_common::name::{Key, Named};
use agentguard_common::net::Address;
use agentguard_common::resolve::{LearnKey, Learned, Reference, ResolverKey, SYSTEM};

use super::Map;
use crate::error::Result;
use crate::policy::Compiled;

/// The tables.
pub(super) struct NameTables {
    pub(super) names: Map<Key, Named>,
    pub(super) resolvers: Map<ResolverKey, u32>,
    pub(super) learned: Map<LearnKey, Learned>,
}

impl NameTables {
    /// Puts in what a policy says of names.
    pub(super) fn add_policy(&self, slot: u32, policy: &Compiled) -> Result<()> {
        let (keys, values): (Vec<Key>, Vec<Named>) =
            policy.names_at(u16::try_from(slot).unwrap_or(u16::MAX)).unzip();
        self.names.set_all(&keys, &values)?;
        for address in &policy.resolvers {
            self.resolvers.set(&resolver(*address, slot), &1)?;
        }
        Ok(())
    }

    /// Takes it out again.
    pub(super) fn remove_policy(&self, slot: u32) -> Result<()> {
        for key in self.names.keys()? {
            if u32::from(key.policy) == slot {
                self.names.remove(&key)?;
            }
        }
        for key in self.resolvers.keys()? {
            if key.policy == slot {
                self.resolvers.remove(&key)?;
            }
        }
        Ok(())
    }

    /// Makes these the host's own resolvers: new ones are added before old ones go.
    pub(super) fn set_system(&self, wanted: &BTreeSet<Address>) -> Result<()> {
        for address in wanted {
            self.resolvers.set(&resolver(*address, SYSTEM), &1)?;
        }
        for key in self.resolvers.keys()? {
            if key.policy == SYSTEM && !wanted.contains(&key.address) {
                self.resolvers.remove(&key)?;
            }
        }
        Ok(())
    }

    /// Forgets addresses that are good for nothing any more.
    pub(super) fn forget(&self, now: u32) -> Result<()> {
        for key in self.learned.keys()? {
            let Some(learned) = self.learned.get(&key)? else { continue };
            if !learned.references.iter().any(|of| Reference(*of).lives(now)) {
                self.learned.remove(&key)?;
            }
        }
        Ok(())
    }
}

const fn resolver(address: Address, policy: u32) -> ResolverKey {
    ResolverKey { address, policy, reserved: 0 }
}
