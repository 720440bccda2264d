//! Where the members of kernel structures stand, read from the running kernel's
//! BTF (`Documentation/bpf/btf.rst`). aya reads BTF too, but keeps members to
//! itself.
//!
//! Members of anonymous structures and unions count as members of the one around
//! them, as they do in C: kernels wrap members in those over time.

use std::collections::HashMap;
use std::path::Path;

use agentguard_common::offset::{OFFSETS, Offset};

use crate::error::{Error, Result};

/// The running kernel's BTF.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
/// Anonymous structures nest a few levels deep; a file that goes on is broken.
const DEPTH: u8 = 16;

/// A parsed BTF file: just its structures and unions.
struct Btf<'a> {
    strings: &'a [u8],
    types: HashMap<u32, Structure<'a>>,
    by_name: HashMap<&'a [u8], u32>,
}

struct Structure<'a> {
    /// Twelve bytes each: name, type, offset in bits.
    members: &'a [u8],
    bitfields: bool,
}

/// The offset in bytes of every member in [`OFFSETS`], in that order.
///
/// # Errors
///
/// [`Error::NoBtf`] where the file cannot be read or is no BTF,
/// [`Error::NoMember`] where a member is not in it.
pub fn offsets(path: &Path) -> Result<Vec<(Offset, u32)>> {
    let bytes = std::fs::read(path).map_err(|source| Error::NoBtf { source })?;
    let btf = Btf::parse(&bytes).ok_or_else(|| Error::NoBtf {
        source: std::io::Error::other(format!("{} is not valid BTF", path.display())),
    })?;
    OFFSETS
        .iter()
        .map(|offset| match btf.offset(offset.structure, offset.member) {
            Some(bytes) => Ok((*offset, bytes)),
            None => Err(Error::NoMember { structure: offset.structure, member: offset.member }),
        })
        .collect()
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
        let mut btf = Self { strings, types: HashMap::new(), by_name: HashMap::new() };
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
            rest = rest.get(12 + tail.len()..)?;
            id += 1;
        }
        Some(())
    }

    fn name(&self, at: u32) -> Option<&'a [u8]> {
        self.strings.get(at as usize..)?.split(|byte| *byte == 0).next()
    }

    /// The offset of `a` or `a.b` in bytes.
    fn offset(&self, structure: &str, member: &str) -> Option<u32> {
        let mut id = *self.by_name.get(structure.as_bytes())?;
        let mut bytes = 0;
        for part in member.split('.') {
            let (at, of) = self.member(id, part.as_bytes(), DEPTH)?;
            bytes += at;
            id = of;
        }
        Some(bytes)
    }

    /// The offset and type of a member, searched through anonymous ones.
    fn member(&self, id: u32, wanted: &[u8], depth: u8) -> Option<(u32, u32)> {
        let structure = self.types.get(&id)?;
        for member in structure.members.chunks_exact(12) {
            let (name, of, at) = (word(member, 0)?, word(member, 4)?, word(member, 8)?);
            let (bits, width) =
                if structure.bitfields { (at & 0x00ff_ffff, at >> 24) } else { (at, 0) };
            let name = self.name(name)?;
            if name == wanted {
                // A bit field has no address.
                return (width == 0 && bits % 8 == 0).then_some((bits / 8, of));
            }
            if name.is_empty()
                && depth > 0
                && let Some((inner, of)) = self.member(of, wanted, depth - 1)
            {
                return Some((bits / 8 + inner, of));
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
        let found = offsets(path).unwrap();
        assert_eq!(found.len(), OFFSETS.len());
        let name = found.iter().find(|(offset, _)| offset.global == "MSGHDR_NAME").unwrap();
        assert_eq!(name.1, 0, "msg_name is the first member of msghdr");
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
