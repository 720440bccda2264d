//! Adoption: what the policies' `match:` lists ask for, put into the kernel's
//! table, and sessions kept on standby for what matches. See
//! `agentguard_common::adopt` for the kernel's part.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use agentguard_common::adopt::{
    EXE_LEN, MAX_MATCHES, MAX_POOLS, MatchKey, MatchKind, STANDBY, StandbyKey,
};

use crate::error::{Error, Result};
use crate::kernel::Tables;
use crate::policy::{Match, Policy, PolicySet, User};

/// How deep cgroups are searched for a unit.
const UNIT_DEPTH: usize = 5;

/// What is to be adopted.
pub struct Adoption {
    /// By number. An agent keeps its number, as sessions stand by under it.
    pools: Vec<Pool>,
    cgroups: PathBuf,
    /// What the kernel's table holds.
    written: BTreeMap<MatchKey, u32>,
}

struct Pool {
    agent: String,
    /// None, for an agent that takes nothing in any more.
    matches: Vec<Match>,
}

impl Adoption {
    /// Holds the policies' lists against this host.
    ///
    /// # Errors
    ///
    /// [`Error::Match`] for what can never match on this host, [`Error::Full`] for
    /// more than the kernel holds.
    pub fn check(declared: &PolicySet) -> Result<()> {
        let lists = || declared.iter().map(|policy| policy.matches.len()).filter(|len| *len > 0);
        let full = |what, limit| Error::Full { what, limit, mend: "use fewer `match:` entries" };
        if lists().count() > MAX_POOLS as usize {
            return Err(full("policies with `match:`", MAX_POOLS));
        }
        // A program can take two entries: its path, and what that leads to.
        if lists().sum::<usize>() > MAX_MATCHES as usize / 2 {
            return Err(full("`match:` entries", MAX_MATCHES / 2));
        }
        declared.iter().try_for_each(check)
    }

    /// Reads the policies' lists, and what the kernel's table has from before.
    ///
    /// # Errors
    ///
    /// Where that cannot be read.
    pub fn new(declared: &PolicySet, cgroups: PathBuf, tables: &Tables) -> Result<Self> {
        let mut adoption = Self { pools: Vec::new(), cgroups, written: tables.matches()? };
        adoption.replace(declared);
        Ok(adoption)
    }

    /// Goes by other policies' lists from now on. Who stands by for an agent that takes nothing
    /// in any more is for the caller to find.
    pub fn replace(&mut self, declared: &PolicySet) {
        for pool in &mut self.pools {
            pool.matches.clear();
        }
        for policy in declared.iter().filter(|policy| !policy.matches.is_empty()) {
            let (agent, matches) = (policy.agent.clone(), policy.matches.clone());
            let own = self.pools.iter().position(|pool| pool.agent == agent);
            // Its number is another agent's now: who stands by there is a stranger.
            let free = || self.pools.iter().position(|pool| pool.matches.is_empty());
            let full = self.pools.len() >= MAX_POOLS as usize;
            match own.or_else(|| full.then(free).flatten()) {
                Some(at) => {
                    if let Some(pool) = self.pools.get_mut(at) {
                        *pool = Pool { agent, matches };
                    }
                }
                None => self.pools.push(Pool { agent, matches }),
            }
        }
    }

    /// Those of the pools that take something in, in the order of agents.
    fn in_use(&self) -> Vec<(u32, &Pool)> {
        let pools = (0u32..).zip(&self.pools).filter(|(_, pool)| !pool.matches.is_empty());
        let mut pools: Vec<_> = pools.collect();
        pools.sort_by_key(|(_, pool)| &pool.agent);
        pools
    }

    /// Brings the kernel's table up to date: cgroups come and go. What matches
    /// only from now on is added before what does not any more is removed.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses.
    pub fn refresh(&mut self, tables: &Tables) -> Result<()> {
        let mut wanted = BTreeMap::new();
        for (number, pool) in self.in_use() {
            for key in pool.matches.iter().flat_map(|matched| self.keys(matched)) {
                // The first policy, in the order of agents, has it.
                wanted.entry(key).or_insert(number);
            }
        }
        if wanted == self.written {
            return Ok(());
        }
        tables.set_matches(&wanted, &self.written)?;
        self.written = wanted;
        Ok(())
    }

    /// Puts a session on standby wherever one is missing. `make` makes one for an
    /// agent and returns its slot.
    ///
    /// # Errors
    ///
    /// Where none can be made.
    pub fn fill(&self, tables: &Tables, make: &mut dyn FnMut(&str) -> Result<u32>) -> Result<()> {
        let taken: BTreeSet<StandbyKey> = tables.standby()?.into_keys().collect();
        for (pool, of) in self.in_use() {
            for place in 0..STANDBY {
                let key = StandbyKey { pool, place };
                if !taken.contains(&key) {
                    tables.stand_by(key, make(&of.agent)?)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a pool is that of an agent that takes something in.
    #[must_use]
    pub fn is_of(&self, pool: u32, agent: &str) -> bool {
        let pool = self.pools.get(pool as usize);
        pool.is_some_and(|pool| pool.agent == agent && !pool.matches.is_empty())
    }

    /// The agent of a pool.
    #[must_use]
    pub fn agent(&self, pool: u32) -> &str {
        self.pools.get(pool as usize).map_or("unknown", |pool| pool.agent.as_str())
    }

    /// Whether anything is to be adopted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    fn keys(&self, matched: &Match) -> Vec<MatchKey> {
        match matched {
            Match::Exe(path) => exe_keys(path),
            Match::User(user) => uid(user)
                .map(|uid| MatchKey::number(MatchKind::User, u64::from(uid)))
                .into_iter()
                .collect(),
            Match::Cgroup(path) => {
                let path = self.cgroups.join(path.strip_prefix("/").unwrap_or(path));
                cgroup_key(&path).into_iter().collect()
            }
            Match::Unit(unit) => {
                let mut found = Vec::new();
                find_unit(&self.cgroups, unit, UNIT_DEPTH, &mut found);
                found
            }
        }
    }
}

/// What can never match is an error, and not a silent gap.
fn check(policy: &Policy) -> Result<()> {
    let bad = |what: String| Error::Match { path: policy.path.clone(), what };
    for matched in &policy.matches {
        match matched {
            Match::Exe(path) if exe_keys(path).is_empty() => {
                return Err(bad(format!(
                    "exe {}: paths of up to {} bytes can be matched",
                    path.display(),
                    EXE_LEN - 1
                )));
            }
            Match::User(user) if uid(user).is_none() => {
                return Err(bad(format!("user {user:?}: this host has no such user")));
            }
            Match::User(user) if uid(user) == Some(0) => {
                return Err(bad("user root: that would take in this host's own services".into()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A program's path as written, and what it leads to.
fn exe_keys(path: &Path) -> Vec<MatchKey> {
    let real = std::fs::canonicalize(path).ok();
    let paths = [Some(path.to_owned()), real];
    paths
        .into_iter()
        .flatten()
        .filter_map(|path| MatchKey::exe(path.as_os_str().as_bytes()))
        .collect()
}

fn uid(user: &User) -> Option<u32> {
    match user {
        User::Id(uid) => Some(*uid),
        User::Name(name) => nix::unistd::User::from_name(name).ok()?.map(|user| user.uid.as_raw()),
    }
}

fn cgroup_key(path: &Path) -> Option<MatchKey> {
    Some(MatchKey::number(MatchKind::Cgroup, std::fs::metadata(path).ok()?.ino()))
}

fn find_unit(directory: &Path, unit: &str, depth: usize, found: &mut Vec<MatchKey>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
    {
        if entry.file_name() == unit {
            found.extend(cgroup_key(&entry.path()));
        } else if depth > 0 {
            find_unit(&entry.path(), unit, depth - 1, found);
        }
    }
}
