//! agentguard's own files in the kernel's tables: see `agentguard_common::own`.

use std::collections::BTreeMap;

use agentguard_common::own::InodeKey;

use super::Tables;
use super::tables::read_all;
use crate::error::Result;

impl Tables {
    /// agentguard's own files, as the kernel knows them.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the table cannot be read.
    pub fn own_files(&self) -> Result<BTreeMap<InodeKey, u32>> {
        read_all(&self.own)
    }

    /// Changes what is known of agentguard's own files: what is new comes before what is old
    /// goes.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the kernel refuses.
    pub fn set_own_files(
        &self,
        wanted: &BTreeMap<InodeKey, u32>,
        written: &BTreeMap<InodeKey, u32>,
    ) -> Result<()> {
        for (key, flags) in wanted.iter().filter(|(key, flags)| written.get(key) != Some(flags)) {
            self.own.set(key, flags)?;
        }
        for key in written.keys().filter(|key| !wanted.contains_key(key)) {
            self.own.remove(key)?;
        }
        Ok(())
    }
}
