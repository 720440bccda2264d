//! Kernel maps as typed tables, through `bpf(2)` itself: aya has no task storage
//! and no batches, and with these two the rest needs no second way.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use bytemuck::Pod;

use crate::error::{Error, Result};

const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const BPF_MAP_GET_NEXT_KEY: libc::c_long = 4;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
const BPF_MAP_UPDATE_BATCH: libc::c_long = 26;

/// `BPF_EXIST` of `linux/bpf.h`: what is not there is not made.
const BPF_EXIST: u64 = 2;

/// Entries that are copied at once when a map's are counted.
const COUNTED: usize = 4096;

/// `union bpf_attr` for one element.
#[repr(C)]
#[derive(Default)]
struct Element {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `union bpf_attr` for a batch.
#[repr(C)]
#[derive(Default)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// A kernel map of hash, array or task-storage type.
#[derive(Debug)]
pub struct Map<K, V> {
    fd: OwnedFd,
    name: &'static str,
    max: u32,
    types: PhantomData<fn(K) -> V>,
}

impl<K: Pod, V: Pod> Map<K, V> {
    /// Takes over a map's descriptor. The kernel copies as many bytes as the map
    /// was made with, so its sizes are checked here.
    ///
    /// # Errors
    ///
    /// [`Error::Load`] where key or value have another size.
    pub fn new(name: &'static str, data: &aya::maps::MapData) -> Result<Self> {
        let wrong = |why: String| Error::Load { program: format!("map {name}"), why };
        let info = data.info().map_err(|error| wrong(error.to_string()))?;
        let sizes = (info.key_size() as usize, info.value_size() as usize);
        if sizes != (size_of::<K>(), size_of::<V>()) {
            return Err(wrong(format!(
                "key and value have {sizes:?} bytes, expected {:?}",
                (size_of::<K>(), size_of::<V>())
            )));
        }
        let fd =
            data.fd().as_fd().try_clone_to_owned().map_err(|error| wrong(error.to_string()))?;
        Ok(Self { fd, name, max: info.max_entries(), types: PhantomData })
    }

    /// The value at a key.
    ///
    /// # Errors
    ///
    /// [`Error::System`] for anything but a key that is not there.
    pub fn get(&self, key: &K) -> Result<Option<V>> {
        let mut value = V::zeroed();
        let found = self.element(BPF_MAP_LOOKUP_ELEM, key, (&raw mut value).addr(), 0);
        match found {
            Ok(()) => Ok(Some(value)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("read", error)),
        }
    }

    /// Puts a value at a key, over what was there.
    ///
    /// # Errors
    ///
    /// [`Error::System`] with what the kernel said (`E2BIG`: full).
    pub fn set(&self, key: &K, value: &V) -> Result<()> {
        self.element(BPF_MAP_UPDATE_ELEM, key, std::ptr::from_ref(value).addr(), 0)
            .map_err(|error| self.failed("write", error))
    }

    /// Puts a value in the place of another; true when there was one.
    ///
    /// # Errors
    ///
    /// [`Error::System`] for anything but a key that is not there.
    pub fn replace(&self, key: &K, value: &V) -> Result<bool> {
        let value = std::ptr::from_ref(value).addr();
        match self.element(BPF_MAP_UPDATE_ELEM, key, value, BPF_EXIST) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed("write", error)),
        }
    }

    /// Removes a key; true when it was there.
    ///
    /// # Errors
    ///
    /// [`Error::System`] for anything but a key that is not there.
    pub fn remove(&self, key: &K) -> Result<bool> {
        match self.element(BPF_MAP_DELETE_ELEM, key, 0, 0) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed("remove from", error)),
        }
    }

    /// Puts many values, in as few calls as the kernel allows.
    ///
    /// # Errors
    ///
    /// [`Error::System`]; some of the values may then be in the map.
    pub fn set_all(&self, keys: &[K], values: &[V]) -> Result<()> {
        let count = u32::try_from(keys.len().min(values.len())).unwrap_or(u32::MAX);
        if count == 0 {
            return Ok(());
        }
        let mut attributes = Batch {
            keys: keys.as_ptr().addr() as u64,
            values: values.as_ptr().addr() as u64,
            count,
            map: self.raw(),
            ..Batch::default()
        };
        // SAFETY: keys and values live through the call and hold `count` elements
        // of the sizes that `new` checked.
        unsafe { bpf(BPF_MAP_UPDATE_BATCH, &mut attributes) }
            .map(drop)
            .map_err(|error| self.failed("fill", error))
    }

    /// All keys, as they stand at the time of asking.
    ///
    /// # Errors
    ///
    /// [`Error::System`] with what the kernel said.
    pub fn keys(&self) -> Result<Vec<K>> {
        let mut keys: Vec<K> = Vec::new();
        loop {
            let mut next = K::zeroed();
            let mut attributes = Element {
                map: self.raw(),
                key: keys.last().map_or(0, |key| std::ptr::from_ref(key).addr() as u64),
                value: (&raw mut next).addr() as u64,
                ..Element::default()
            };
            // SAFETY: both keys live through the call and have the size that `new`
            // checked; a null key asks for the first.
            match unsafe { bpf(BPF_MAP_GET_NEXT_KEY, &mut attributes) } {
                Ok(_) => keys.push(next),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(keys),
                Err(error) => return Err(self.failed("walk", error)),
            }
        }
    }

    /// The map's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// How many entries it has room for.
    #[must_use]
    pub const fn max_entries(&self) -> u32 {
        self.max
    }

    /// How many entries a hash has. All of them are copied for that, some thousands at
    /// a time.
    ///
    /// # Errors
    ///
    /// [`Error::System`] with what the kernel said.
    pub fn count(&self) -> Result<u64> {
        let (mut keys, mut values) = (vec![K::zeroed(); COUNTED], vec![V::zeroed(); COUNTED]);
        // Where the kernel is in the map: the number of a bucket.
        let mut place = 0_u64;
        let (mut begun, mut entries) = (false, 0);
        loop {
            let at = (&raw mut place).addr() as u64;
            let mut attributes = Batch {
                in_batch: if begun { at } else { 0 },
                out_batch: at,
                keys: keys.as_mut_ptr().addr() as u64,
                values: values.as_mut_ptr().addr() as u64,
                count: u32::try_from(COUNTED).unwrap_or(0),
                map: self.raw(),
                ..Batch::default()
            };
            // SAFETY: keys and values live through the call and have room for `count`
            // elements of the sizes that `new` checked; the place has room for what a
            // hash puts there, four bytes.
            let done = unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &mut attributes) };
            begun = true;
            match done {
                Ok(_) => entries += u64::from(attributes.count),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(entries + u64::from(attributes.count));
                }
                Err(error) => return Err(self.failed("count", error)),
            }
        }
    }

    fn element(&self, command: libc::c_long, key: &K, value: usize, flags: u64) -> io::Result<()> {
        let mut attributes = Element {
            map: self.raw(),
            pad: 0,
            key: std::ptr::from_ref(key).addr() as u64,
            value: value as u64,
            flags,
        };
        // SAFETY: key and value live through the call and have the sizes that
        // `new` checked.
        unsafe { bpf(command, &mut attributes) }.map(drop)
    }

    fn raw(&self) -> u32 {
        u32::try_from(self.fd.as_raw_fd()).unwrap_or(u32::MAX)
    }

    fn failed(&self, action: &str, error: io::Error) -> Error {
        Error::System { action: format!("{action} the kernel map {}", self.name), source: error }
    }
}

impl<K, V> AsFd for Map<K, V> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Calls `bpf(2)`; what it returns is a descriptor for the commands that make one.
///
/// # Safety
///
/// Every address in `attributes` must be good for what `command` does with it.
pub(super) unsafe fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: by the contract above; the size is that of the structure.
    let done = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>())
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(done).map_err(io::Error::other)
}
