//! The kernel's tables, by what they hold. Slots are given out here, and a
//! session or policy is put in place in an order that never leaves a moment in
//! which a label points to nothing.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use agentguard_common::adopt::{MatchKey, StandbyKey};
use agentguard_common::counter::{self, COUNTS, Count};
use agentguard_common::egress::{
    Block, BlockKey, Entry, Key, MAX_BLOCKS, MAX_ENTRIES, MAX_POLICIES, PolicyEntry,
};
use agentguard_common::event::{KINDS, Kind};
use agentguard_common::map as name;
use agentguard_common::own::InodeKey;
use agentguard_common::session::{MAX_SESSIONS, SessionCount, SessionEntry, Taint, TaskLabel};
use agentguard_common::unix;
use aya::maps::{Map as AyaMap, MapData, PerCpuArray};
use bytemuck::{Pod, Zeroable as _};

use super::holds::HoldTables;
use super::names::NameTables;
use super::paths::{PathTables, Stand};
use super::places::{PlaceTables, Standing};
use super::{Map, Ring};
use crate::error::{Error, Result};
use crate::policy::{Automaton, Compiled};

/// A counter of the kernel side, summed over all CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Of which kind of event.
    pub kind: Kind,
    /// What is counted.
    pub count: Count,
    /// How many.
    pub number: u64,
}

/// All tables.
pub struct Tables {
    tasks: Map<i32, TaskLabel>,
    sessions: Map<u32, SessionEntry>,
    counts: Map<u32, SessionCount>,
    policies: Map<u32, PolicyEntry>,
    pub(super) egress: Map<Key, Entry>,
    pub(super) blocks: Map<BlockKey, Block>,
    sockets: Map<unix::Key, unix::Rule>,
    pub(super) names: NameTables,
    pub(super) places: PlaceTables,
    pub(super) paths: PathTables,
    pub(super) matches: Map<MatchKey, u32>,
    match_count: Map<u32, u32>,
    pub(super) standby: Map<StandbyKey, u32>,
    pub(super) own: Map<InodeKey, u32>,
    tainted: Map<u64, Taint>,
    pub(super) holds: HoldTables,
    counters: PerCpuArray<MapData, u64>,
    decisions: MapData,
    activity: MapData,
}

impl Tables {
    /// Opens the tables; `open` finds a map by its name.
    pub(super) fn new(open: &dyn Fn(&str) -> Result<MapData>) -> Result<Self> {
        let counters = AyaMap::PerCpuArray(open(name::COUNTERS)?);
        let counters = PerCpuArray::try_from(counters).map_err(|error| Error::Load {
            program: format!("map {}", name::COUNTERS),
            why: error.to_string(),
        })?;
        Ok(Self {
            tasks: Map::new(name::TASKS, &open(name::TASKS)?)?,
            sessions: Map::new(name::SESSIONS, &open(name::SESSIONS)?)?,
            counts: Map::new(name::SESSION_COUNTS, &open(name::SESSION_COUNTS)?)?,
            policies: Map::new(name::POLICIES, &open(name::POLICIES)?)?,
            egress: Map::new(name::EGRESS, &open(name::EGRESS)?)?,
            blocks: Map::new(name::EGRESS_BLOCKS, &open(name::EGRESS_BLOCKS)?)?,
            sockets: Map::new(name::UNIX, &open(name::UNIX)?)?,
            names: NameTables {
                names: Map::new(name::NAMES, &open(name::NAMES)?)?,
                resolvers: Map::new(name::RESOLVERS, &open(name::RESOLVERS)?)?,
                learned: Map::new(name::LEARNED, &open(name::LEARNED)?)?,
            },
            places: PlaceTables {
                devices: Map::new(name::DEVICES, &open(name::DEVICES)?)?,
                places: Map::new(name::PLACES, &open(name::PLACES)?)?,
                mounts: Map::new(name::MOUNTS, &open(name::MOUNTS)?)?,
                paths: Map::new(name::PATHS, &open(name::PATHS)?)?,
            },
            paths: PathTables {
                edges: Map::new(name::PATHS, &open(name::PATHS)?)?,
                rows: Map::new(name::ROWS, &open(name::ROWS)?)?,
                mounts: Map::new(name::MOUNTS, &open(name::MOUNTS)?)?,
            },
            matches: Map::new(name::MATCHES, &open(name::MATCHES)?)?,
            match_count: Map::new(name::MATCH_COUNT, &open(name::MATCH_COUNT)?)?,
            standby: Map::new(name::STANDBY, &open(name::STANDBY)?)?,
            own: Map::new(name::OWN, &open(name::OWN)?)?,
            tainted: Map::new(name::TAINTED, &open(name::TAINTED)?)?,
            holds: HoldTables {
                holds: Map::new(name::HOLDS, &open(name::HOLDS)?)?,
                dropped: Map::new(name::DROPPED, &open(name::DROPPED)?)?,
                seen: Map::new(name::SEEN, &open(name::SEEN)?)?,
            },
            counters,
            decisions: open(name::DECISIONS)?,
            activity: open(name::ACTIVITY)?,
        })
    }

    /// Tables that no program uses, on a kernel that takes maps but no LSM
    /// programs: for measuring the daemon.
    ///
    /// # Errors
    ///
    /// Where maps cannot be made.
    pub fn without_programs() -> Result<Self> {
        Self::of(&super::load::open(None)?)
    }

    /// The tables of programs that are not pinned.
    pub(super) fn of(ebpf: &aya::Ebpf) -> Result<Self> {
        Self::new(&|wanted| {
            let (_, map) = ebpf.maps().find(|(name, _)| *name == wanted).ok_or(Error::NoObject)?;
            let data = match map {
                AyaMap::Array(data)
                | AyaMap::HashMap(data)
                | AyaMap::PerCpuArray(data)
                | AyaMap::RingBuf(data)
                | AyaMap::LpmTrie(data)
                | AyaMap::LruHashMap(data)
                | AyaMap::Unsupported(data) => data,
                _ => return Err(Error::NoObject),
            };
            let fd =
                data.fd().as_fd().try_clone_to_owned().map_err(Error::system("duplicate a map"))?;
            MapData::from_fd(fd)
                .map_err(|error| Error::Load { program: wanted.to_owned(), why: error.to_string() })
        })
    }

    /// Says where file systems stand.
    ///
    /// # Errors
    ///
    /// Where the tables cannot be written.
    pub fn set_standing(&self, standing: &Standing) -> Result<()> {
        self.places.set(standing)
    }

    /// Writes an automaton of rules on paths beside those that stand there. The session that
    /// is to use it comes afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] where there is no room for it; nothing of it is left then.
    pub fn add_paths(&self, automaton: &Automaton, taken: &[&Stand]) -> Result<Stand> {
        self.paths.add(automaton, taken)
    }

    /// Removes an automaton that no session uses any more. Without the automaton at hand,
    /// its edges are looked for.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the kernel refuses.
    pub fn remove_paths(&self, stand: &Stand, automaton: Option<&Automaton>) -> Result<()> {
        self.paths.remove(stand, automaton)
    }

    /// Removes what belongs to none of these automata.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the kernel refuses.
    pub fn sweep_paths(&self, known: &[&Stand]) -> Result<()> {
        self.paths.sweep(known)
    }

    /// The two ring buffers: decisions, activity.
    ///
    /// # Errors
    ///
    /// Where they cannot be mapped.
    pub fn rings(&self) -> Result<(Ring, Ring)> {
        Ok((Ring::new(&self.decisions)?, Ring::new(&self.activity)?))
    }

    /// The label of the task behind a pidfd.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the kernel refuses to say.
    pub fn label(&self, pidfd: BorrowedFd<'_>) -> Result<Option<TaskLabel>> {
        self.tasks.get(&pidfd.as_raw_fd())
    }

    /// Labels the one task of the process behind a pidfd, which must not have run
    /// anything of the session yet.
    ///
    /// # Errors
    ///
    /// [`Error::System`], for example when the process is gone.
    pub fn enrol(&self, pidfd: BorrowedFd<'_>, label: TaskLabel) -> Result<()> {
        self.counts.set(&label.slot, &SessionCount { tasks: 1, ..SessionCount::default() })?;
        self.tasks.set(&pidfd.as_raw_fd(), &label)
    }

    /// Sessions in the kernel, with their slots.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the table cannot be read.
    pub fn sessions(&self) -> Result<Vec<(u32, SessionEntry)>> {
        let mut found = Vec::new();
        for slot in 0..MAX_SESSIONS {
            match self.sessions.get(&slot)? {
                Some(entry) if entry.session != 0 => found.push((slot, entry)),
                _ => {}
            }
        }
        Ok(found)
    }

    /// Puts a session into a free slot.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] without a free slot.
    pub fn add_session(&self, taken: &dyn Fn(u32) -> bool, entry: SessionEntry) -> Result<u32> {
        let slot = (0..MAX_SESSIONS).find(|slot| !taken(*slot)).ok_or(Error::Full {
            what: "sessions",
            limit: MAX_SESSIONS,
            mend: "end some: `agentguard ps`, `agentguard kill`",
        })?;
        self.counts.set(&slot, &SessionCount::zeroed())?;
        self.holds.dropped.set(&slot, &0)?;
        self.set_session(slot, entry)?;
        Ok(slot)
    }

    /// Changes a session in one step.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the kernel refuses.
    pub fn set_session(&self, slot: u32, entry: SessionEntry) -> Result<()> {
        self.sessions.set(&slot, &entry)
    }

    /// Frees a slot. Only for a session that has no tasks.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the kernel refuses.
    pub fn remove_session(&self, slot: u32) -> Result<()> {
        self.sessions.set(&slot, &SessionEntry::zeroed())
    }

    /// The sessions that have read a secret, those that ended a while ago included.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the table cannot be read.
    pub fn tainted(&self) -> Result<Vec<u64>> {
        self.tainted.keys()
    }

    /// Whether a session has read a secret.
    ///
    /// # Errors
    ///
    /// As for [`Self::tainted`].
    pub fn is_tainted(&self, session: u64) -> Result<bool> {
        Ok(self.tainted.get(&session)?.is_some())
    }

    /// Takes the mark off a session.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the kernel refuses.
    pub fn clear_taint(&self, session: u64) -> Result<()> {
        self.tainted.remove(&session).map(drop)
    }

    /// How many tasks the session in a slot has.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the table cannot be read.
    pub fn tasks_of(&self, slot: u32) -> Result<u64> {
        Ok(self.counts.get(&slot)?.map_or(0, |counts| counts.tasks))
    }

    /// Policies in the kernel, with their slots.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the table cannot be read.
    pub fn policies(&self) -> Result<Vec<(u32, PolicyEntry)>> {
        let mut found = Vec::new();
        for slot in 0..MAX_POLICIES {
            match self.policies.get(&slot)? {
                Some(entry) if entry.tag != 0 => found.push((slot, entry)),
                _ => {}
            }
        }
        Ok(found)
    }

    /// The policy in a slot.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the table cannot be read.
    pub fn policy(&self, slot: u32) -> Result<Option<PolicyEntry>> {
        Ok(self.policies.get(&slot)?.filter(|entry| entry.tag != 0))
    }

    /// Puts a policy into a slot that no session uses: its rules first, and only
    /// when all are there the entry that makes it one. On failure nothing of it is
    /// left.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] where the rules do not fit.
    pub fn add_policy(&self, slot: u32, policy: &Compiled) -> Result<()> {
        let (keys, values): (Vec<Key>, Vec<Entry>) = policy.entries_at(slot).unzip();
        let (block_keys, blocks): (Vec<BlockKey>, Vec<Block>) = policy.blocks_at(slot).unzip();
        let (names, rules): (Vec<unix::Key>, Vec<unix::Rule>) = policy.sockets_at(slot).unzip();
        let done = self
            .egress
            .set_all(&keys, &values)
            .and_then(|()| self.blocks.set_all(&block_keys, &blocks))
            .and_then(|()| self.sockets.set_all(&names, &rules))
            .and_then(|()| self.names.add_policy(slot, policy))
            .and_then(|()| self.policies.set(&slot, &policy.entry));
        if done.is_err() {
            self.remove_policy(slot)?;
        }
        done.map_err(|error| match error {
            Error::System { source, .. }
                if matches!(source.raw_os_error(), Some(libc::E2BIG | libc::ENOSPC)) =>
            {
                Error::Full {
                    what: "egress prefixes, names and unix sockets",
                    limit: MAX_ENTRIES.min(MAX_BLOCKS * 32),
                    mend: "use fewer or wider prefixes, or fewer policies",
                }
            }
            other => other,
        })
    }

    /// Writes a policy's entry, without rules.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the kernel refuses.
    pub fn set_policy(&self, slot: u32, entry: &PolicyEntry) -> Result<()> {
        self.policies.set(&slot, entry)
    }

    /// Removes a policy that no session uses: the entry first, then its rules.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the kernel refuses.
    pub fn remove_policy(&self, slot: u32) -> Result<()> {
        self.set_policy(slot, &PolicyEntry::zeroed())?;
        for key in self.egress.keys()? {
            if key.policy == slot {
                self.egress.remove(&key)?;
            }
        }
        for key in self.blocks.keys()? {
            if key.policy == slot {
                self.blocks.remove(&key)?;
            }
        }
        for key in self.sockets.keys()? {
            if key.policy == slot {
                self.sockets.remove(&key)?;
            }
        }
        self.names.remove_policy(slot)
    }

    /// Writes the rules that are built in, over those of an earlier version.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the kernel refuses.
    pub fn set_builtin(&self, rules: &BTreeMap<unix::Key, unix::Rule>) -> Result<()> {
        for (key, rule) in rules {
            self.sockets.set(key, rule)?;
        }
        for key in self.sockets.keys()? {
            if key.policy == unix::BUILTIN && !rules.contains_key(&key) {
                self.sockets.remove(&key)?;
            }
        }
        Ok(())
    }

    /// What is matched, and for which pool.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the table cannot be read.
    pub fn matches(&self) -> Result<BTreeMap<MatchKey, u32>> {
        read_all(&self.matches)
    }

    /// Changes what is matched: what is new is added before what is old goes.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the kernel refuses.
    pub fn set_matches(
        &self,
        wanted: &BTreeMap<MatchKey, u32>,
        written: &BTreeMap<MatchKey, u32>,
    ) -> Result<()> {
        for (key, pool) in wanted.iter().filter(|(key, pool)| written.get(key) != Some(pool)) {
            self.matches.set(key, pool)?;
        }
        self.match_count.set(&0, &u32::try_from(wanted.len()).unwrap_or(u32::MAX))?;
        for key in written.keys().filter(|key| !wanted.contains_key(key)) {
            self.matches.remove(key)?;
        }
        Ok(())
    }

    /// The slots that stand by.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the table cannot be read.
    pub fn standby(&self) -> Result<BTreeMap<StandbyKey, u32>> {
        read_all(&self.standby)
    }

    /// Puts a session on standby.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the kernel refuses.
    pub fn stand_by(&self, key: StandbyKey, slot: u32) -> Result<()> {
        self.standby.set(&key, &slot)
    }

    /// Takes a session off standby; true when no process had taken it.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the kernel refuses.
    pub fn stand_down(&self, key: StandbyKey) -> Result<bool> {
        self.standby.remove(&key)
    }

    /// The counters.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where they cannot be read.
    pub fn counters(&self) -> Result<Vec<Counter>> {
        let mut counters = Vec::new();
        for kind in KINDS {
            for count in COUNTS {
                let values =
                    self.counters.get(&counter::slot(kind, count), 0).map_err(|error| {
                        Error::System {
                            action: "read the kernel's counters".into(),
                            source: std::io::Error::other(error),
                        }
                    })?;
                counters.push(Counter { kind, count, number: values.iter().sum() });
            }
        }
        Ok(counters)
    }
}

/// A table as it stands, but for keys that go while it is read.
pub(super) fn read_all<K: Pod + Ord>(map: &Map<K, u32>) -> Result<BTreeMap<K, u32>> {
    let mut all = BTreeMap::new();
    for key in map.keys()? {
        if let Some(value) = map.get(&key)? {
            all.insert(key, value);
        }
    }
    Ok(all)
}
