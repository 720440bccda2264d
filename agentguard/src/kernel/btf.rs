//! Where the members of kernel structures stand, read from the running kernel's
//! BTF (`Documentation/bpf/btf.rst`). aya reads BTF too, but keeps members to
//! itself.
//!
//! Members of anonymous structures and unions count as members of the one around
//! them, as they do in C: kernels wrap members in those over time.

use std::collections::HashMap;
use std::path::Path;

use agentguard_common::offset::{BITS, OFFSETS, OPTIONAL, Offset, SETATTR, SETATTR_PARAMETERS};

use crate::error::{Error, Result};

/// The running kernel's BTF.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_FUNCTION: u32 = 12;
const KIND_PROTOTYPE: u32 = 13;
/// What stands before a type without changing it: typedef, volatile, const.
const MODIFIERS: [u32; 3] = [8, 9, 10];
/// Anonymous structures nest a few levels deep; a file that goes on is broken.
const DEPTH: u8 = 16;

/// A parsed BTF file: just its structures and unions.
struct Btf<'a> {
    strings: &'a [u8],
    types: HashMap<u32, Structure<'a>>,
    by_name: HashMap<&'a [u8], u32>,
    /// Of types that are another one with a modifier, that one.
    modified: HashMap<u32, u32>,
    /// The prototypes of functions by their names.
    functions: HashMap<&'a [u8], u32>,
    /// How many parameters prototypes have.
    prototypes: HashMap<u32, u32>,
}

/// Where a member stands, in bits, how many bits it has if it is a bit field, and its
/// type.
struct Member {
    bits: u32,
    width: u32,
    of: u32,
}

struct Structure<'a> {
    /// Twelve bytes each: name, type, offset in bits.
    members: &'a [u8],
    bitfields: bool,
}

/// What the loader sets before programs are loaded: the globals and their numbers.
///
/// # Errors
///
/// [`Error::NoBtf`] where the file cannot be read or is no BTF,
/// [`Error::NoMember`] where a member is not in it.
pub fn globals(path: &Path) -> Result<Vec<(&'static str, u32)>> {
    let bytes = std::fs::read(path).map_err(|source| Error::NoBtf { source })?;
    let btf = Btf::parse(&bytes).ok_or_else(|| Error::NoBtf {
        source: std::io::Error::other(format!("{} is not valid BTF", path.display())),
    })?;
    let known = |offset: &Offset, found: Option<u32>| match found {
        Some(number) => Ok((offset.global, number)),
        None => Err(Error::NoMember { structure: offset.structure, member: offset.member }),
    };
    let bytes = OFFSETS.iter().map(|offset| {
        let other = OPTIONAL.iter().find(|(global, _)| *global == offset.global);
        let found = btf.offset(offset.structure, offset.member);
        known(offset, found.or_else(|| btf.offset(offset.structure, other?.1)))
    });
    let bits = BITS.iter().map(|o| known(o, btf.bits(o.structure, o.member)));
    let parameters = btf.parameters(SETATTR).map(|count| Ok((SETATTR_PARAMETERS, count)));
    bytes.chain(bits).chain(parameters).collect()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

impl<'a> Btf<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        if u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?) != MAGIC {
            return None;
        }
        let header = word(bytes, 4)? as usize;
        let section = |at| {
            let start = header.checked_add(word(bytes, at)? as usize)?;
            bytes.get(start..start.checked_add(word(bytes, at + 4)? as usize)?)
        };
        let (types, strings) = (section(8)?, section(16)?);
        let mut btf = Self {
            strings,
            types: HashMap::new(),
            by_name: HashMap::new(),
            modified: HashMap::new(),
            functions: HashMap::new(),
            prototypes: HashMap::new(),
        };
        btf.read_types(types)?;
        Some(btf)
    }

    fn read_types(&mut self, mut rest: &'a [u8]) -> Option<()> {
        let mut id = 1;
        while !rest.is_empty() {
            let (name, info) = (word(rest, 0)?, word(rest, 4)?);
            let (kind, count) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
            let tail = rest.get(12..12usize.checked_add(tail_len(kind, count)?)?)?;
            if kind == KIND_STRUCT || kind == KIND_UNION {
                self.types.insert(id, Structure { members: tail, bitfields: info >> 31 != 0 });
                if kind == KIND_STRUCT {
                    self.by_name.entry(self.name(name)?).or_insert(id);
                }
            }
            if MODIFIERS.contains(&kind) {
                self.modified.insert(id, word(rest, 8)?);
            }
            if kind == KIND_FUNCTION && self.name(name)? == SETATTR.as_bytes() {
                self.functions.insert(SETATTR.as_bytes(), word(rest, 8)?);
            }
            if kind == KIND_PROTOTYPE {
                self.prototypes.insert(id, u32::try_from(count).ok()?);
            }
            rest = rest.get(12 + tail.len()..)?;
            id += 1;
        }
        Some(())
    }

    fn name(&self, at: u32) -> Option<&'a [u8]> {
        self.strings.get(at as usize..)?.split(|byte| *byte == 0).next()
    }

    /// The offset of `a` or `a.b` in bytes. A bit field has no address.
    fn offset(&self, structure: &str, member: &str) -> Option<u32> {
        let found = self.find(structure, member)?;
        (found.width == 0 && found.bits.is_multiple_of(8)).then_some(found.bits / 8)
    }

    /// How many parameters a function has that was looked for.
    fn parameters(&self, function: &str) -> Option<u32> {
        self.prototypes.get(self.functions.get(function.as_bytes())?).copied()
    }

    /// The offset of a bit field of one bit, in bits.
    fn bits(&self, structure: &str, member: &str) -> Option<u32> {
        let found = self.find(structure, member)?;
        (found.width == 1).then_some(found.bits)
    }

    fn find(&self, structure: &str, member: &str) -> Option<Member> {
        let mut found = Member { bits: 0, width: 0, of: *self.by_name.get(structure.as_bytes())? };
        for part in member.split('.') {
            let inner = self.member(found.of, part.as_bytes(), DEPTH)?;
            found = Member { bits: found.bits.checked_add(inner.bits)?, ..inner };
        }
        Some(found)
    }

    /// A member, searched through anonymous ones.
    fn member(&self, id: u32, wanted: &[u8], depth: u8) -> Option<Member> {
        let Some(structure) = self.types.get(&id) else {
            let plain = *self.modified.get(&id)?;
            return if depth > 0 { self.member(plain, wanted, depth - 1) } else { None };
        };
        for member in structure.members.chunks_exact(12) {
            let (name, of, at) = (word(member, 0)?, word(member, 4)?, word(member, 8)?);
            let (bits, width) =
                if structure.bitfields { (at & 0x00ff_ffff, at >> 24) } else { (at, 0) };
            let name = self.name(name)?;
            if name == wanted {
                return Some(Member { bits, width, of });
            }
            if name.is_empty()
                && depth > 0
                && let Some(inner) = self.member(of, wanted, depth - 1)
            {
                return Some(Member { bits: bits.checked_add(inner.bits)?, ..inner });
            }
        }
        None
    }
}

/// The bytes that follow a type's twelve, by its kind.
fn tail_len(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        // int, var, decl_tag
        1 | 14 | 17 => 4,
        // pointer, forward, typedef, volatile, const, restrict, function, float, type_tag
        2 | 7..=12 | 16 | 18 => 0,
        // array
        3 => 12,
        KIND_STRUCT | KIND_UNION | 15 | 19 => count.checked_mul(12)?,
        // enum, function prototype
        6 | 13 => count.checked_mul(8)?,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_running_kernel_has_every_member() {
        let path = Path::new(VMLINUX);
        if !path.exists() {
            return;
        }
        let found = globals(path).unwrap();
        let name = found.iter().find(|(global, _)| *global == "MSGHDR_NAME").unwrap();
        assert_eq!(name.1, 0, "msg_name is the first member of msghdr");
        let entry = found.iter().find(|(global, _)| *global == "FILE_DENTRY").unwrap();
        let path = found.iter().find(|(global, _)| *global == "FILE_PATH").unwrap();
        assert_eq!(entry.1, path.1 + 8, "behind the pointer to the mount");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 24..300), len in 0u32..300) {
            bytes[..2].copy_from_slice(&MAGIC.to_ne_bytes());
            bytes[4..8].copy_from_slice(&24u32.to_ne_bytes());
            bytes[8..12].copy_from_slice(&0u32.to_ne_bytes());
            bytes[12..16].copy_from_slice(&len.to_ne_bytes());
            if let Some(btf) = Btf::parse(&bytes) {
                let _ = btf.offset("file", "f_path");
            }
        }
    }
}
