//! The programs and maps that are measured, loaded without a pin and attached to
//! nothing: with the process they are gone.

use std::error::Error;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use agentguard::kernel::Map;
use agentguard_common::counter::{self, Count};
use agentguard_common::egress::{Block, BlockKey, Entry, Key, PolicyEntry};
use agentguard_common::event::Kind;
use agentguard_common::map as name;
use agentguard_common::name::Named;
use agentguard_common::net;
use agentguard_common::resolve::{Asked, ResolverKey};
use agentguard_common::session::{SessionEntry, SocketLabel, State, TaskLabel, Terms};
use aya::maps::{Map as AyaMap, MapData, PerCpuArray, RingBuf};
use aya::programs::{CgroupSkb, ProgramError, TestRun as _, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use bytemuck::{Pod, Zeroable};

use crate::bench_request::{CURSOR, Cursor, LABEL, MAX_REQUESTS, REQUESTS, Request, WAITING};
use crate::machine;
use crate::rules::Ready;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The number of the session that this process is put into.
const SESSION: u64 = 7;
/// Its slot, one in the middle.
const SLOT: u32 = 5000;
/// As long as the shortest packet that the kernel takes for a trial: 14 bytes of
/// Ethernet and an IPv4 header, which no program looks at.
pub(crate) const PACKET: [u8; 64] = [0; 64];
/// Records that a ring buffer has room for, and some to spare.
const RECORDS: u32 = 15_000;

/// A set of programs with maps of its own.
pub(crate) struct Programs {
    ebpf: Ebpf,
    pidfd: OwnedFd,
    /// Programs that the kernel did not take, and why.
    pub(crate) refused: Vec<(String, String)>,
}

impl Programs {
    /// Loads the object that `cargo xtask bench` built.
    pub(crate) fn load(object: &Path) -> Result<Self> {
        let mut loader = EbpfLoader::new();
        // Task storage, which aya does not know.
        loader.allow_unsupported_maps();
        let mut ebpf = loader.load_file(object)?;
        let mut refused = Vec::new();
        for (name, program) in ebpf.programs_mut() {
            let program: &mut CgroupSkb = program.try_into()?;
            if let Err(error) = program.load() {
                refused.push((name.to_owned(), last_words(&error)));
            }
        }
        let pid = i32::try_from(std::process::id())?;
        let pidfd = agentguard::session::pidfd_open(pid).ok_or("no descriptor of this process")?;
        Ok(Self { ebpf, pidfd, refused })
    }

    /// Whether the kernel took a program.
    pub(crate) fn has(&self, program: &str) -> bool {
        !self.refused.iter().any(|(name, _)| name == program)
    }

    fn map<K: Pod, V: Pod>(&self, name: &'static str) -> Result<Map<K, V>> {
        Ok(Map::new(name, data(&self.ebpf, name)?)?)
    }

    /// Puts policies in place, the first one into slot 0.
    pub(crate) fn fill(&self, policies: &[Ready]) -> Result<()> {
        let egress: Map<Key, Entry> = self.map(name::EGRESS)?;
        let blocks: Map<BlockKey, Block> = self.map(name::EGRESS_BLOCKS)?;
        let entries: Map<u32, PolicyEntry> = self.map(name::POLICIES)?;
        for (slot, policy) in (0u32..).zip(policies) {
            let (keys, values): (Vec<Key>, Vec<Entry>) = policy.compiled.entries_at(slot).unzip();
            egress.set_all(&keys, &values)?;
            let (keys, values): (Vec<BlockKey>, Vec<Block>) =
                policy.compiled.blocks_at(slot).unzip();
            blocks.set_all(&keys, &values)?;
            entries.set(&slot, &policy.compiled.entry)?;
        }
        Ok(())
    }

    /// Puts a policy with rules by name into slot 0, and its resolvers.
    pub(crate) fn fill_names(&self, policy: &Ready) -> Result<()> {
        let (keys, values): (Vec<_>, Vec<_>) = policy.compiled.names_at(0).unzip();
        self.map::<agentguard_common::name::Key, Named>(name::NAMES)?.set_all(&keys, &values)?;
        for address in &policy.compiled.resolvers {
            let key = ResolverKey { address: *address, policy: 0, reserved: 0 };
            self.map(name::RESOLVERS)?.set(&key, &1u32)?;
        }
        let (keys, values): (Vec<Key>, Vec<Entry>) = policy.compiled.entries_at(0).unzip();
        self.map::<Key, Entry>(name::EGRESS)?.set_all(&keys, &values)?;
        Ok(self.map(name::POLICIES)?.set(&0u32, &policy.compiled.entry)?)
    }

    /// Sets the label of the socket that packets are of.
    pub(crate) fn of_session(&self, label: &SocketLabel) -> Result<()> {
        Ok(self.map(LABEL)?.set(&0u32, label)?)
    }

    /// Sets the question that answers are for.
    pub(crate) fn waits(&self, asked: &Asked) -> Result<()> {
        Ok(self.map(WAITING)?.set(&0u32, asked)?)
    }

    /// Puts the same networks into the trie, without the markers of the search.
    pub(crate) fn fill_trie(&self, policies: &[Ready]) -> Result<()> {
        let trie: Map<TrieKey, Entry> = self.map("TRIE")?;
        for (slot, policy) in (0u32..).zip(policies) {
            let entries = policy.compiled.egress.iter();
            let (keys, values): (Vec<TrieKey>, Vec<Entry>) = entries
                .filter(|(key, _)| policy.networks.contains(key))
                .map(|(key, entry)| (TrieKey::new(slot, key), *entry))
                .unzip();
            trie.set_all(&keys, &values)?;
        }
        Ok(())
    }

    /// Puts this process into a session under the policy in a slot: by task storage,
    /// and by its cgroup for the programs of the stand-in.
    pub(crate) fn guard(&self, policy: u32) -> Result<()> {
        let label = TaskLabel { session: SESSION, slot: SLOT, refused: 0 };
        let entry = SessionEntry {
            session: SESSION,
            cgroup: 0,
            terms: Terms {
                policy,
                tainted: policy,
                state: State::Enforce as u32,
                ..Terms::default()
            }
            .pack(),
            rates: Default::default(),
        };
        self.map(name::SESSIONS)?.set(&SLOT, &entry)?;
        self.map(name::TASKS)?.set(&self.pidfd.as_raw_fd(), &label)?;
        self.map("CGROUPS")?.set(&machine::own_cgroup()?, &label)?;
        Ok(())
    }

    /// Takes this process out of its session.
    pub(crate) fn unguard(&self) -> Result<()> {
        self.map::<i32, TaskLabel>(name::TASKS)?.remove(&self.pidfd.as_raw_fd())?;
        self.map::<u64, TaskLabel>("CGROUPS")?.remove(&machine::own_cgroup()?)?;
        Ok(())
    }

    /// Sets what is asked for, in turn. The number must be a power of two.
    pub(crate) fn ask(&self, destinations: &[SocketAddr]) -> Result<()> {
        let count = u32::try_from(destinations.len())?;
        if !count.is_power_of_two() || count > MAX_REQUESTS {
            return Err(format!("{count} requests cannot be asked in turn").into());
        }
        let requests: Map<u32, Request> = self.map(REQUESTS)?;
        let keys: Vec<u32> = (0..count).collect();
        let values: Vec<Request> = destinations.iter().map(request).collect();
        requests.set_all(&keys, &values)?;
        self.map(CURSOR)?.set(&0u32, &Cursor { next: 0, mask: count - 1 })?;
        Ok(())
    }

    /// Runs a program so many times; what it returned last, and the time of one run.
    pub(crate) fn run(&self, program: &str, repeat: u32) -> Result<(u32, Duration)> {
        self.run_on(program, &PACKET, repeat)
    }

    /// The same on a packet.
    pub(crate) fn run_on(
        &self,
        program: &str,
        packet: &[u8],
        repeat: u32,
    ) -> Result<(u32, Duration)> {
        let program: &CgroupSkb = self
            .ebpf
            .program(program)
            .ok_or_else(|| format!("no program {program}"))?
            .try_into()?;
        let result = program.test_run(TestRunOptions {
            data_in: Some(packet),
            repeat,
            ..Default::default()
        })?;
        Ok((result.return_value, result.duration))
    }

    /// Runs a program that makes records of a kind, in pieces for which there is room, and
    /// takes the records out in between. An error where one was lost.
    pub(crate) fn run_recording(
        &mut self,
        program: &str,
        kind: Kind,
        packet: &[u8],
        repeat: u32,
    ) -> Result<(u32, f64)> {
        let (mut done, mut nanoseconds, mut verdict) = (0u32, 0.0, 0);
        let (before, mut taken) = (self.counted(kind, Count::Sent)?, 0u64);
        while done < repeat {
            let (returned, time) = self.run_on(program, packet, RECORDS)?;
            (done, verdict) = (done + RECORDS, returned);
            nanoseconds += time.as_secs_f64() * 1e9 * f64::from(RECORDS);
            for ring in [name::DECISIONS, name::ACTIVITY] {
                let mut ring = RingBuf::try_from(self.ebpf.map_mut(ring).ok_or("no ring buffer")?)?;
                while ring.next().is_some() {
                    taken += 1;
                }
            }
        }
        let sent = self.counted(kind, Count::Sent)? - before;
        if sent != u64::from(done) || taken != sent {
            return Err(format!("of {done} records {sent} were sent and {taken} arrived").into());
        }
        Ok((verdict, nanoseconds / f64::from(done)))
    }

    fn counted(&self, kind: Kind, what: Count) -> Result<u64> {
        let map = self.ebpf.map(name::COUNTERS).ok_or("no counters")?;
        let counters: PerCpuArray<_, u64> = PerCpuArray::try_from(map)?;
        Ok(counters.get(&counter::slot(kind, what), 0)?.iter().sum())
    }
}

fn data<'a>(ebpf: &'a Ebpf, wanted: &str) -> Result<&'a MapData> {
    let found = ebpf.maps().find(|(name, _)| *name == wanted).map(|(_, map)| map);
    match found {
        Some(
            AyaMap::Array(data)
            | AyaMap::HashMap(data)
            | AyaMap::LpmTrie(data)
            | AyaMap::LruHashMap(data)
            | AyaMap::Unsupported(data),
        ) => Ok(data),
        _ => Err(format!("no map {wanted}").into()),
    }
}

/// `struct bpf_lpm_trie_key_u8`, with policy and address.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct TrieKey {
    bits: u32,
    data: [u8; 20],
}

impl TrieKey {
    fn new(policy: u32, key: &Key) -> Self {
        let mut data = [0; 20];
        data[..4].copy_from_slice(&policy.to_ne_bytes());
        data[4..].copy_from_slice(&key.address.octets());
        Self { bits: 32 + key.bits, data }
    }
}

/// A request for a TCP connection.
fn request(to: &SocketAddr) -> Request {
    let mut sockaddr = [0; 32];
    sockaddr[2..4].copy_from_slice(&to.port().to_be_bytes());
    let (family, len) = match to {
        SocketAddr::V4(to) => {
            sockaddr[4..8].copy_from_slice(&to.ip().octets());
            (net::AF_INET, 16)
        }
        SocketAddr::V6(to) => {
            sockaddr[8..24].copy_from_slice(&to.ip().octets());
            (net::AF_INET6, 28)
        }
    };
    sockaddr[..2].copy_from_slice(&family.to_ne_bytes());
    Request { sockaddr, len, family, protocol: net::IPPROTO_TCP }
}

/// Why the kernel did not take a program: the last line of what the verifier said.
fn last_words(error: &ProgramError) -> String {
    let text = match error {
        ProgramError::LoadError { verifier_log, .. } => verifier_log.to_string(),
        other => other.to_string(),
    };
    let said = |line: &&str| !line.is_empty() && !line.starts_with("processed ");
    text.lines().rev().map(str::trim).find(said).unwrap_or_default().to_owned()
}
