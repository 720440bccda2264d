//! What a session was doing at the moment it was ended: its processes, their open files and
//! their connections. Taken while they stand still, and bounded, so that it keeps nobody
//! waiting: what there is more of is counted.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;

use procfs::net::{TcpNetEntry, UdpNetEntry};
use procfs::process::{FDTarget, Process};
use schemars::JsonSchema;
use serde::Serialize;

use super::cgroup::Cgroup;

/// How many processes are described.
const PROCESSES: usize = 32;
/// How many open files of each, and connections of each.
const OPEN: usize = 64;
/// How many of both for the session as a whole.
const ALL_OPEN: usize = 512;
/// How many arguments, and how many characters of each text.
const ARGUMENTS: usize = 16;
const CHARACTERS: usize = 256;
/// How many lines of a table of connections are looked at.
const TABLE: usize = 16_384;

/// What a session was doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Snapshot {
    /// Its processes, as far as there is room.
    pub processes: Vec<Running>,
    /// How many more there were in its cgroup.
    #[serde(skip_serializing_if = "is_zero")]
    pub more: usize,
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Running {
    /// Its number.
    pub pid: i32,
    /// Its parent.
    pub ppid: i32,
    /// Its program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// Its arguments, as far as there is room.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Its working directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The files that it had open.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Where it was connected to, and where it listened: `tcp 10.0.0.2:51000 10.0.0.1:443`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<String>,
}

/// Takes snapshots.
#[derive(Default)]
pub struct Camera {
    taken: Snapshot,
    open: usize,
    /// The connections of each network namespace, by the number of the socket.
    tables: HashMap<u64, BTreeMap<u64, String>>,
}

impl Camera {
    /// Takes in the processes of a cgroup and of those below it.
    pub fn cgroup(&mut self, cgroup: &Cgroup) {
        for pid in cgroup.processes() {
            self.process(pid);
        }
    }

    /// Takes in a process. One that is gone, or dead already, shows nothing and is left out.
    pub fn process(&mut self, pid: i32) {
        if self.taken.processes.iter().any(|known| known.pid == pid) {
            return;
        }
        if self.taken.processes.len() >= PROCESSES {
            self.taken.more += 1;
            return;
        }
        let Ok(process) = Process::new(pid) else { return };
        let Ok(stat) = process.stat() else { return };
        let path = |path: procfs::ProcResult<std::path::PathBuf>| {
            path.ok().map(|path| short(&path.to_string_lossy()))
        };
        let exe = path(process.exe());
        if exe.is_none() {
            return;
        }
        let args = process.cmdline().unwrap_or_default();
        let mut running = Running {
            pid,
            ppid: stat.ppid,
            exe,
            args: args.iter().take(ARGUMENTS).map(|arg| short(arg)).collect(),
            cwd: path(process.cwd()),
            ..Running::default()
        };
        self.open(&process, &mut running);
        self.taken.processes.push(running);
    }

    /// What was taken; `None` where there was nothing to see.
    #[must_use]
    pub fn taken(self) -> Option<Snapshot> {
        (!self.taken.processes.is_empty()).then_some(self.taken)
    }

    fn open(&mut self, process: &Process, running: &mut Running) {
        let Ok(open) = process.fd() else { return };
        for descriptor in open.flatten() {
            if self.open >= ALL_OPEN {
                return;
            }
            let (list, text) = match descriptor.target {
                FDTarget::Path(path) => (&mut running.files, Some(short(&path.to_string_lossy()))),
                FDTarget::MemFD(name) => {
                    (&mut running.files, Some(short(&format!("memfd:{name}"))))
                }
                FDTarget::Socket(inode) => {
                    let table = table_of(process, &mut self.tables);
                    (&mut running.sockets, table.and_then(|table| table.get(&inode).cloned()))
                }
                _ => continue,
            };
            if let Some(text) = text.filter(|_| list.len() < OPEN) {
                list.push(text);
                self.open += 1;
            }
        }
    }
}

impl Cgroup {
    /// The processes in it and below it.
    #[must_use]
    pub fn processes(&self) -> Vec<i32> {
        fn add(directory: &Path, depth: usize, found: &mut Vec<i32>) {
            let text = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
            let below = std::fs::read_dir(directory).into_iter().flatten().flatten();
            for entry in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                if depth > 0 {
                    add(&entry.path(), depth - 1, found);
                }
            }
        }
        let mut found = Vec::new();
        add(self.path(), 4, &mut found);
        found
    }
}

/// The connections in the network namespace of a process.
fn table_of<'t>(
    process: &Process,
    tables: &'t mut HashMap<u64, BTreeMap<u64, String>>,
) -> Option<&'t BTreeMap<u64, String>> {
    let namespaces = process.namespaces().ok()?;
    let number = namespaces.0.get(std::ffi::OsStr::new("net"))?.identifier;
    Some(tables.entry(number).or_insert_with(|| connections(process)))
}

fn connections(process: &Process) -> BTreeMap<u64, String> {
    let mut all = BTreeMap::new();
    let mut add = |inode, transport: &str, local: SocketAddr, remote: SocketAddr| {
        if all.len() < TABLE {
            all.insert(inode, format!("{transport} {local} {remote}"));
        }
    };
    let tcp = [process.tcp(), process.tcp6()].into_iter().flatten().flatten();
    for TcpNetEntry { local_address, remote_address, inode, .. } in tcp {
        add(inode, "tcp", local_address, remote_address);
    }
    let udp = [process.udp(), process.udp6()].into_iter().flatten().flatten();
    for UdpNetEntry { local_address, remote_address, inode, .. } in udp {
        add(inode, "udp", local_address, remote_address);
    }
    all
}

fn short(text: &str) -> String {
    text.chars().take(CHARACTERS).collect()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_seen_with_what_it_has_open_and_where_it_is_connected_to() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(directory.path().join("open-one")).unwrap();
        let mut camera = Camera::default();
        let me = i32::try_from(std::process::id()).unwrap();
        camera.process(me);
        camera.process(me);
        camera.process(i32::MAX);
        let taken = camera.taken().unwrap();
        assert_eq!(taken.processes.len(), 1, "each is seen once");
        let seen = &taken.processes[0];
        assert!(seen.files.iter().any(|file| file.ends_with("/open-one")), "{seen:?}");
        let listens = format!("tcp {place} 0.0.0.0:0");
        assert!(seen.sockets.contains(&listens), "{seen:?}");
        assert!(seen.exe.is_some() && seen.cwd.is_some() && !seen.args.is_empty());
        drop((listener, file));
    }

    #[test]
    fn nothing_is_no_snapshot() {
        let mut camera = Camera::default();
        camera.cgroup(&Cgroup::at("/no/such/cgroup".into()));
        assert_eq!(camera.taken(), None);
    }
}
