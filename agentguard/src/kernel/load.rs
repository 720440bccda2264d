//! Loading and attaching the kernel programs: offsets from BTF, maps from their
//! pins where there are any, each program by its hook's name.

use std::path::Path;
use std::time::{Duration, Instant};

use agentguard_common::map::PINNED;
use agentguard_common::offset::{HOLD_KEYS, HOST_NAMESPACE, RENAME_LOCK};
use aya::programs::links::FdLink;
use aya::programs::{CgroupAttachMode, CgroupSkbAttachType, Program, ProgramInfo};
use aya::{Btf, Ebpf, EbpfLoader};
use aya_obj::btf::BtfKind;

use super::{OBJECT, Tables, btf};
use crate::error::{Error, Result};

/// What is known of a program after an attempt to load it.
#[derive(Debug)]
pub struct LoadedProgram {
    /// Its name, which is that of its hook.
    pub name: String,
    /// Its type: "lsm", "tp_btf" or "cgroup_skb".
    pub kind: &'static str,
    /// How many instructions the kernel made of it, where it says so.
    pub instructions: Option<u32>,
    /// How many the verifier walked, where the kernel says so.
    pub verified: Option<u32>,
    /// How long loading took, verification included.
    pub time: Duration,
    /// Whether it was loaded and attached, or why not. `None` where this kernel has no
    /// such hook, and asks another one instead.
    pub outcome: Option<Result<(), String>>,
}

/// Hooks that came with later kernels, which before had one hook for both purposes.
const LATER: [&str; 3] = ["file_ioctl_compat", "inode_set_acl", "inode_remove_acl"];

/// The hook of a program: its name, but for the further programs that hooks have.
fn hook_of(name: &str) -> &str {
    name.strip_suffix("_too").or_else(|| name.strip_suffix("_host")).unwrap_or(name)
}

/// Whether this kernel has no such hook, and needs none.
fn is_absent(name: &str, btf: &Btf) -> bool {
    let function = format!("bpf_lsm_{}", hook_of(name));
    LATER.contains(&hook_of(name)) && btf.id_by_type_name_kind(&function, BtfKind::Func).is_err()
}

/// The list of security modules that decide, in order, or why it is unknown.
///
/// # Errors
///
/// [`Error::NoLsm`] where the list cannot be read.
pub fn lsm_list() -> Result<String> {
    let path = "/sys/kernel/security/lsm";
    let read = || std::fs::read_to_string(path);
    let list = read().or_else(|_| {
        // The file needs securityfs, which minimal systems do not mount.
        let none: Option<&str> = None;
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(none, "/sys/kernel/security", Some("securityfs"), flags, none)?;
        read()
    });
    let list = list.map_err(|error| Error::NoLsm { why: format!("{path}: {error}") })?;
    Ok(list.trim().to_owned())
}

/// Makes the maps, or opens those that are pinned in `pins`, and readies the
/// programs.
pub(super) fn open(pins: Option<&Path>) -> Result<Ebpf> {
    if OBJECT.is_empty() {
        return Err(Error::NoObject);
    }
    let offsets = btf::globals(Path::new(btf::VMLINUX))?;
    let mut loader = EbpfLoader::new();
    // Task storage, see `Map`.
    loader.allow_unsupported_maps();
    for (global, number) in &offsets {
        loader.override_global(global, number, true);
    }
    let host = host_namespace()?;
    loader.override_global(HOST_NAMESPACE, &host, true);
    // Without it no path is told reliably, and what policies say of files is refused.
    let lock = rename_lock().unwrap_or(0);
    loader.override_global(RENAME_LOCK, &lock, true);
    let keys = random()?;
    for (name, key) in HOLD_KEYS.iter().zip(&keys) {
        loader.override_global(name, key, true);
    }
    if let Some(pins) = pins {
        for name in PINNED {
            loader.map_pin_path(name, pins.join(name));
        }
    }
    loader.load(OBJECT).map_err(|error| failed("object", &error))
}

/// Two numbers that nobody can guess.
fn random() -> Result<[u64; 2]> {
    use std::io::Read as _;
    let path = "/dev/urandom";
    let mut bytes = [0; 16];
    let mut file = std::fs::File::open(path).map_err(Error::io("open", path))?;
    file.read_exact(&mut bytes).map_err(Error::io("read", path))?;
    Ok(bytemuck::cast(bytes))
}

/// The number of the host's network namespace, which is the one we are in: its inode's,
/// of which the kernel knows the lower half.
fn host_namespace() -> Result<u32> {
    use std::os::unix::fs::MetadataExt as _;
    let path = "/proc/self/ns/net";
    let inode = std::fs::metadata(path).map_err(Error::io("look at", path))?.ino();
    u32::try_from(inode).map_err(|error| {
        Error::system("number the network namespace")(std::io::Error::other(error))
    })
}

/// Where the kernel keeps its lock on renamings, with the count of them.
///
/// # Errors
///
/// [`Error::NoSymbol`] where the kernel does not say.
pub fn rename_lock() -> Result<u64> {
    use std::io::BufRead as _;
    let path = "/proc/kallsyms";
    let file = std::fs::File::open(path).map_err(Error::io("open", path))?;
    for line in std::io::BufReader::new(file).split(b'\n') {
        let line = line.map_err(Error::io("read", path))?;
        let Ok(line) = std::str::from_utf8(&line) else { continue };
        let mut fields = line.split(' ');
        if let (Some(address), Some(_), Some("rename_lock")) =
            (fields.next(), fields.next(), fields.next())
        {
            match u64::from_str_radix(address, 16) {
                Ok(address) if address != 0 => return Ok(address),
                _ => break,
            }
        }
    }
    Err(Error::NoSymbol { symbol: "rename_lock" })
}

/// Loads and attaches every program, and hands out the links that keep them.
pub(super) fn attach(ebpf: &mut Ebpf) -> Result<Vec<(String, FdLink)>> {
    let btf = kernel_btf()?;
    let mut links = Vec::new();
    for (name, program) in ebpf.programs_mut().filter(|(name, _)| !is_absent(name, &btf)) {
        let link = load_one(name, program, &btf).map_err(|why| match is_lsm(program) {
            true if !lsm_list().is_ok_and(|list| has_bpf(&list)) => Error::NoLsm { why },
            _ => Error::Load { program: name.to_owned(), why: both_ends(&why) },
        })?;
        links.push((name.to_owned(), link));
    }
    Ok(links)
}

/// The first line of a text and its last ones.
fn both_ends(text: &str) -> String {
    const LAST: usize = 8;
    let lines: Vec<&str> = text.lines().collect();
    match lines.as_slice() {
        [first, rest @ ..] if rest.len() > LAST => {
            let last = rest.split_at(rest.len() - LAST).1;
            format!(
                "{first}\n  … (`agentguard load --verifier-log` prints all of it)\n{}",
                last.join("\n")
            )
        }
        _ => text.to_owned(),
    }
}

/// Whether the list of security modules holds BPF.
#[must_use]
pub(super) fn has_bpf(list: &str) -> bool {
    list.split(',').any(|name| name == "bpf")
}

/// Loads and attaches each program that is wanted by itself, without pins, measures, and takes
/// all of it off again.
///
/// # Errors
///
/// Where the object as a whole, or its maps, cannot be loaded.
pub fn measure(wanted: &dyn Fn(&str) -> bool) -> Result<Vec<LoadedProgram>> {
    let mut ebpf = open(None)?;
    let btf = kernel_btf()?;
    let mut seen = Vec::new();
    // Kept until all are measured, then detached one after another: kernels have
    // panicked on concurrent detaching of LSM programs.
    let mut links = Vec::new();
    for (name, program) in ebpf.programs_mut().filter(|(name, _)| wanted(name)) {
        let start = Instant::now();
        let outcome = match is_absent(name, &btf) {
            true => None,
            false => Some(load_one(name, program, &btf).map(|link| links.push(link))),
        };
        let time = start.elapsed();
        let info = program.info().ok();
        let info = info.as_ref();
        seen.push(LoadedProgram {
            name: name.to_owned(),
            kind: kind(program),
            instructions: info.and_then(ProgramInfo::size_translated).map(|bytes| bytes / 8),
            verified: info.and_then(ProgramInfo::verified_instruction_count),
            time,
            outcome,
        });
    }
    seen.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(seen)
}

fn kernel_btf() -> Result<Btf> {
    Btf::from_sys_fs()
        .map_err(|error| Error::NoBtf { source: std::io::Error::other(error.to_string()) })
}

/// What `agentguard load` calls a program's type.
const fn kind(program: &Program) -> &'static str {
    match program {
        Program::Lsm(_) => "lsm",
        Program::CgroupSkb(_) => "cgroup_skb",
        _ => "tp_btf",
    }
}

const fn is_lsm(program: &Program) -> bool {
    matches!(program, Program::Lsm(_))
}

/// Loads and attaches a program, whose name is that of its hook.
fn load_one(name: &str, program: &mut Program, btf: &Btf) -> Result<FdLink, String> {
    let attached: Result<FdLink, Box<dyn std::error::Error>> = (|| match program {
        Program::Lsm(lsm) => {
            lsm.load(hook_of(name), btf)?;
            let link = lsm.attach()?;
            Ok(lsm.take_link(link)?.into())
        }
        Program::BtfTracePoint(tracepoint) => {
            tracepoint.load(name, btf)?;
            let link = tracepoint.attach()?;
            Ok(tracepoint.take_link(link)?.into())
        }
        Program::CgroupSkb(skb) => {
            skb.load()?;
            let way = match name {
                "cgroup_skb_ingress" => CgroupSkbAttachType::Ingress,
                _ => CgroupSkbAttachType::Egress,
            };
            // A link always lets others attach beside it.
            let link = skb.attach(root_cgroup()?, way, CgroupAttachMode::Single)?;
            Ok(skb.take_link(link)?.try_into()?)
        }
        other => Err(format!("programs of type {:?} are not expected", other.prog_type()).into()),
    })();
    attached.map_err(|error| describe(error.as_ref()))
}

/// The root of the cgroup v2 hierarchy: what is attached there is asked for every socket.
fn root_cgroup() -> Result<std::fs::File> {
    let path = crate::session::cgroup_mount()?;
    std::fs::File::open(&path).map_err(Error::io("open", path))
}

fn failed(program: &str, error: &dyn std::error::Error) -> Error {
    Error::Load { program: program.to_owned(), why: describe(error) }
}

/// An error with all that caused it.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The programs in force for as long as this lives, without pins: for trials on a
/// host that no daemon guards.
pub struct Temporary {
    // In this order: the links go first.
    _links: Vec<(String, FdLink)>,
    tables: Tables,
    _programs: Ebpf,
}

impl Temporary {
    /// Loads and attaches.
    ///
    /// # Errors
    ///
    /// Where the kernel does not let us.
    pub fn load() -> Result<Self> {
        let mut programs = open(None)?;
        let tables = Tables::of(&programs)?;
        let links = attach(&mut programs)?;
        Ok(Self { _links: links, tables, _programs: programs })
    }

    /// The tables that the programs decide by.
    #[must_use]
    pub const fn tables(&self) -> &Tables {
        &self.tables
    }
}
