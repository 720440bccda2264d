//! Pins: what keeps the programs enforcing when the daemon is gone.
//!
//! `<root>/v<layout>/maps/<name>` and `<root>/v<layout>/links/<build>/<program>`.
//! A daemon of the same build adopts what is there; one of another build but the
//! same layout takes over the maps, attaches its own programs, and then removes
//! the old links, so that there is no moment without enforcement.

use std::path::{Path, PathBuf};

use agentguard_common::map::{LAYOUT, PINNED};
use aya::maps::MapData;

use super::{Tables, load};
use crate::error::{Error, Result};

/// Where BPF objects are pinned.
const BPFFS: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC` of `linux/magic.h`.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// A place for pins.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
}

/// What [`Pins::enforce`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing: everything was loaded afresh.
    Nothing,
    /// The programs of this very build, already enforcing.
    Same,
    /// Maps of this layout under programs of another build, which were replaced.
    OtherBuild,
}

impl Default for Pins {
    fn default() -> Self {
        Self { root: Path::new(BPFFS).join("agentguard") }
    }
}

impl Pins {
    /// The place of the pins.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether programs are pinned.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.links().is_dir()
    }

    fn layout(&self) -> PathBuf {
        self.root.join(format!("v{LAYOUT}"))
    }

    fn maps(&self) -> PathBuf {
        self.layout().join("maps")
    }

    fn links(&self) -> PathBuf {
        self.layout().join("links")
    }

    /// Loads, attaches and pins, or adopts what is pinned already.
    ///
    /// # Errors
    ///
    /// Where the kernel cannot do it, see [`Error`]; what was enforced before still
    /// is.
    pub fn enforce(&self) -> Result<(Tables, Found)> {
        ensure_bpffs()?;
        self.refuse_foreign()?;
        let list = load::lsm_list()?;
        if !load::has_bpf(&list) {
            return Err(Error::NoLsm { why: format!("the active modules are {list}") });
        }
        let mine = self.links().join(super::object_name());
        if mine.is_dir() {
            return Ok((self.tables()?, Found::Same));
        }
        let fresh = !self.links().is_dir();
        create(&self.maps())?;
        create(&self.links())?;
        let attached = self.attach(&mine);
        if attached.is_err() && fresh {
            // Nothing was enforced before, so nothing half done may stay.
            remove(&self.root)?;
        }
        attached?;
        let tables = self.tables()?;
        self.remove_other_links(&mine)?;
        Ok((tables, if fresh { Found::Nothing } else { Found::OtherBuild }))
    }

    /// Attaches the programs and pins their links under `mine`, which appears only
    /// when all are in place.
    fn attach(&self, mine: &Path) -> Result<()> {
        let mut ebpf = load::open(Some(&self.maps()))?;
        let part = self.links().join("incomplete");
        remove(&part)?;
        create(&part)?;
        for (name, link) in load::attach(&mut ebpf)? {
            let path = part.join(&name);
            // The pin holds the link from here on.
            link.pin(&path)
                .map_err(|error| Error::Load { program: name, why: error.to_string() })?;
        }
        std::fs::rename(&part, mine).map_err(Error::io("complete", mine))
    }

    fn remove_other_links(&self, mine: &Path) -> Result<()> {
        for entry in entries(&self.links())? {
            if entry != mine {
                remove(&entry)?;
            }
        }
        Ok(())
    }

    /// The tables behind the pins.
    ///
    /// # Errors
    ///
    /// Where a pin is missing or is not what its name says.
    pub fn tables(&self) -> Result<Tables> {
        let maps = self.maps();
        Tables::new(&|name| {
            debug_assert!(PINNED.contains(&name), "{name} is pinned");
            MapData::from_pin(maps.join(name)).map_err(|error| Error::Load {
                program: format!("pinned map {name}"),
                why: error.to_string(),
            })
        })
    }

    /// The pins of this build's programs, each with its program's name.
    ///
    /// # Errors
    ///
    /// Where they cannot be listed.
    pub fn programs(&self) -> Result<Vec<PathBuf>> {
        entries(&self.links().join(super::object_name()))
    }

    fn refuse_foreign(&self) -> Result<()> {
        if !self.root.is_dir() {
            return Ok(());
        }
        let layout = self.layout();
        match entries(&self.root)?.into_iter().find(|entry| *entry != layout) {
            Some(path) => Err(Error::ForeignPins { path }),
            None => Ok(()),
        }
    }
}

/// Takes everything off: programs, links and maps. Links first, one at a time.
///
/// # Errors
///
/// [`Error::Io`] for a pin that cannot be removed.
pub fn unload(pins: &Pins) -> Result<bool> {
    if !pins.root.is_dir() {
        return Ok(false);
    }
    remove(&pins.links())?;
    remove(&pins.root)?;
    Ok(true)
}

fn ensure_bpffs() -> Result<()> {
    let is_bpffs =
        || nix::sys::statfs::statfs(BPFFS).is_ok_and(|fs| fs.filesystem_type().0 == BPF_FS_MAGIC);
    if is_bpffs() {
        return Ok(());
    }
    let none: Option<&str> = None;
    nix::mount::mount(none, BPFFS, Some("bpf"), nix::mount::MsFlags::empty(), none)
        .map_err(Error::system(format!("mount the BPF file system on {BPFFS}")))
}

fn create(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(Error::io("create", path))
}

fn entries(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(path).map_err(Error::io("list", path))?;
    entries.map(|entry| Ok(entry.map_err(Error::io("list", path))?.path())).collect()
}

/// Removes a tree of pins, or nothing.
fn remove(path: &Path) -> Result<()> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("look at", path)(error)),
    };
    if !metadata.is_dir() {
        return std::fs::remove_file(path).map_err(Error::io("unpin", path));
    }
    for entry in entries(path)? {
        remove(&entry)?;
    }
    std::fs::remove_dir(path).map_err(Error::io("remove", path))
}
