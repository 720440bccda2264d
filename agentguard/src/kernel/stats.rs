//! How full the tables are, and how long the programs run. Both cost something, so
//! they are read when somebody asks, and the second is counted only on demand.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use aya::sys::{Stats, enable_stats};

use super::map::bpf;
use super::{Map, Pins, Tables};
use crate::error::{Error, Result};

const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// How full a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The table.
    pub map: &'static str,
    /// How many entries it has.
    pub entries: u64,
    /// How many it has room for.
    pub max: u64,
}

impl Tables {
    /// How full the hash tables are. The kernel does not keep count of that, so every
    /// entry is copied: see docs/metrics.md for what that takes. The tables that are
    /// tries are left out, as walking one takes time that grows with the square of its
    /// size.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where a table cannot be read.
    pub fn fill(&self) -> Result<Vec<Fill>> {
        Ok(vec![
            of(&self.egress)?,
            of(&self.blocks)?,
            of(&self.names.resolvers)?,
            of(&self.names.learned)?,
            of(&self.paths.edges)?,
            of(&self.places.devices)?,
            of(&self.places.places)?,
            of(&self.matches)?,
            of(&self.standby)?,
            of(&self.own)?,
        ])
    }
}

fn of<K: bytemuck::Pod, V: bytemuck::Pod>(map: &Map<K, V>) -> Result<Fill> {
    Ok(Fill { map: map.name(), entries: map.count()?, max: u64::from(map.max_entries()) })
}

/// How often and how long a program ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramRun {
    /// Its name.
    pub program: String,
    /// How often.
    pub runs: u64,
    /// How long altogether.
    pub time: Duration,
}

/// Makes the kernel count how its programs run, for as long as this lives.
pub struct ProgramStats {
    _counting: OwnedFd,
    /// The programs' names by their numbers.
    names: BTreeMap<u32, String>,
}

impl ProgramStats {
    /// Begins to count, for the programs behind these pins.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses, or a pin cannot be read.
    pub fn start(pins: &Pins) -> Result<Self> {
        let counting = enable_stats(Stats::RunTime)
            .map_err(|error| Error::system("count how programs run")(io::Error::other(error)))?;
        let mut names = BTreeMap::new();
        for path in pins.programs()? {
            let program = program_of(&path).map_err(Error::io("read the pin", &path))?;
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            names.insert(program, name.unwrap_or_default());
        }
        Ok(Self { _counting: counting, names })
    }

    /// What was counted so far: of each program since it was loaded, while anybody let
    /// the kernel count.
    ///
    /// # Errors
    ///
    /// Where the kernel does not say.
    pub fn read(&self) -> Result<Vec<ProgramRun>> {
        let mut runs = Vec::new();
        for info in aya::programs::loaded_programs() {
            let info =
                info.map_err(|error| Error::system("list programs")(io::Error::other(error)))?;
            if let Some(program) = self.names.get(&info.id()) {
                let (runs_of, time) = (info.run_count(), info.run_time());
                runs.push(ProgramRun { program: program.clone(), runs: runs_of, time });
            }
        }
        Ok(runs)
    }
}

/// `union bpf_attr` for opening a pin.
#[repr(C)]
#[derive(Default)]
struct Get {
    path: u64,
    fd: u32,
    flags: u32,
}

/// `union bpf_attr` for asking about a descriptor.
#[repr(C)]
#[derive(Default)]
struct Ask {
    fd: u32,
    len: u32,
    info: u64,
}

/// The beginning of `struct bpf_link_info`.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    pad: u32,
}

/// The number of the program behind a pinned link.
fn program_of(path: &Path) -> io::Result<u32> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut get = Get { path: path.as_ptr().addr() as u64, ..Get::default() };
    // SAFETY: the path ends with a NUL and lives through the call.
    let fd = unsafe { bpf(BPF_OBJ_GET, &mut get) }?;
    // SAFETY: the kernel has just made this descriptor for us.
    let link = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut info = LinkInfo::default();
    let mut ask = Ask {
        fd: u32::try_from(link.as_raw_fd()).map_err(io::Error::other)?,
        len: u32::try_from(size_of::<LinkInfo>()).map_err(io::Error::other)?,
        info: (&raw mut info).addr() as u64,
    };
    // SAFETY: the kernel writes at most `len` bytes, for which there is room.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut ask) }?;
    Ok(info.program)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Needs root and a kernel that takes maps. Elsewhere it says so and does nothing.
    #[test]
    fn entries_are_counted_in_batches() {
        let tables = match Tables::without_programs() {
            Ok(tables) => tables,
            Err(error) => return eprintln!("skipped: {error}"),
        };
        let before = entries(&tables, "LEARNED");
        assert_eq!(before, 0);
        let key = |number: u32| {
            let mut key: agentguard_common::resolve::LearnKey = bytemuck::Zeroable::zeroed();
            bytemuck::bytes_of_mut(&mut key)[..4].copy_from_slice(&number.to_ne_bytes());
            key
        };
        for number in 0..5000 {
            tables.names.learned.set(&key(number), &bytemuck::Zeroable::zeroed()).unwrap();
        }
        assert_eq!(entries(&tables, "LEARNED"), 5000);
        tables.names.learned.remove(&key(7)).unwrap();
        assert_eq!(entries(&tables, "LEARNED"), 4999);
    }

    fn entries(tables: &Tables, map: &str) -> u64 {
        let fills = tables.fill().unwrap();
        let fill = fills.iter().find(|fill| fill.map == map).unwrap();
        assert!(fill.max >= fill.entries);
        fill.entries
    }
}
