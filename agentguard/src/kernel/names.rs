//! The tables that names are decided by: those of the policies, the servers that may be
//! asked, and the addresses that sessions learned.

use std::collections::{BTreeMap, BTreeSet};

use agentguard_common::egress::PolicyEntry;
use agentguard_common::name::{Key, Named};
use agentguard_common::net::Address;
use agentguard_common::resolve::{self, LearnKey, Learned, Reference, ResolverKey, SYSTEM};

use super::{Map, Tables};
use crate::error::Result;
use crate::policy::{Carried, Compiled};

const NANOSECONDS: u64 = 1_000_000_000;

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

    /// Lets a session that goes on under another policy know what it learned under the one of
    /// before, as far as it is something there. What it knew stays for now.
    pub(super) fn carry(&self, carry: &Carry<'_>, now: u32) -> Result<()> {
        let until = now.saturating_add(carry.to.cap);
        let carried = |old: Reference| {
            let new = carry.names.of(old).filter(|_| old.lives(now))?;
            Some(new.ending(old.until().min(until)))
        };
        let mut lost = 0;
        for key in self.learned.keys()? {
            let old = key.session == carry.session && key.lists == carry.from.lists;
            if !old || !resolve::may_learn(carry.to, key.address) {
                continue;
            }
            let new = LearnKey { lists: carry.to.lists, ..key };
            let Some(learned) = self.learned.get(&key)? else { continue };
            let there = self.learned.get(&new)?.unwrap_or_default();
            let more = learned.references.into_iter().filter_map(|of| carried(Reference(of)));
            let value = joined(there, more, now);
            // Without room for it the name has to be asked for again. That must not keep the
            // session from changing: sessions could fill the table for just that.
            if value != there && self.learned.set(&new, &value).is_err() {
                lost += 1;
            }
        }
        if lost > 0 {
            tracing::warn!(lost, session = carry.session, "no room for addresses that it knew");
        }
        Ok(())
    }

    /// Forgets what a session learned under a policy.
    pub(super) fn forget_lists(&self, session: u64, lists: u32) -> Result<()> {
        for key in self.learned.keys()? {
            if key.session == session && key.lists == lists {
                self.learned.remove(&key)?;
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

impl Tables {
    /// Makes these the resolvers of policies that let sessions ask the host's own.
    ///
    /// # Errors
    ///
    /// [`Error::System`](crate::Error::System) where the kernel refuses.
    pub fn set_system_resolvers(&self, addresses: &BTreeSet<Address>) -> Result<()> {
        self.names.set_system(addresses)
    }
    /// Forgets what sessions learned and is not good any more, at a time in seconds since
    /// boot.
    ///
    /// # Errors
    ///
    /// [`Error::System`](crate::Error::System) where the kernel refuses.
    pub fn forget_learned(&self, now: u32) -> Result<()> {
        self.names.forget(now)
    }
    /// Lets a session know under another policy what it learned under the one of before.
    ///
    /// # Errors
    ///
    /// [`Error::System`](crate::Error::System) where the kernel refuses.
    pub fn carry_learned(&self, carry: &Carry<'_>) -> Result<()> {
        let now = crate::event::now_since_boot() / NANOSECONDS;
        self.names.carry(carry, u32::try_from(now).unwrap_or(u32::MAX))
    }
    /// Forgets what a session learned under a policy.
    ///
    /// # Errors
    ///
    /// [`Error::System`](crate::Error::System) where the kernel refuses.
    pub fn forget_learned_by(&self, session: u64, of: &PolicyEntry) -> Result<()> {
        self.names.forget_lists(session, of.lists)
    }
}

/// A session's change from one policy to another.
#[derive(Clone, Copy, Debug)]
pub struct Carry<'c> {
    /// The session.
    pub session: u64,
    /// The policy of before.
    pub from: &'c PolicyEntry,
    /// The policy from now on.
    pub to: &'c PolicyEntry,
    /// What the names of the one are in the other.
    pub names: &'c Carried,
}

/// What is known of an address, with more references, of which those that are good for the
/// longest are kept.
fn joined(there: Learned, more: impl Iterator<Item = Reference>, now: u32) -> Learned {
    let mut of: BTreeMap<u32, Reference> = BTreeMap::new();
    let all = there.references.into_iter().map(Reference).chain(more);
    for reference in all.filter(|reference| reference.lives(now)) {
        let kept = of.entry(reference.list()).or_insert(reference);
        *kept = kept.with(reference);
    }
    let mut all: Vec<Reference> = of.into_values().collect();
    all.sort_unstable_by_key(|reference| std::cmp::Reverse(reference.until()));
    let mut learned = Learned::default();
    learned.references.iter_mut().zip(all).for_each(|(place, of)| *place = of.0);
    learned
}

const fn resolver(address: Address, policy: u32) -> ResolverKey {
    ResolverKey { address, policy, reserved: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_joined_by_list() {
        let of = |list, until| Reference::of(list, list).ending(until);
        let there = Learned { references: [of(1, 50).0, 0, of(2, 9).0, 0] };
        let more = [of(1, 70), of(3, 60), of(4, 5)];
        let joined = joined(there, more.into_iter(), 10);
        assert_eq!(joined.references, [of(1, 70).0, of(3, 60).0, 0, 0]);
    }
}
