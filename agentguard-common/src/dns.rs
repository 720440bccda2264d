//! Questions and answers of the domain name system (RFC 1035, 4), as far as a guard has
//! to read them: which name is asked for, and which addresses an answer gives.
//!
//! Written for a kernel hook as well as for user space. A message stands in an array whose
//! size is a power of two, so that an index that is cut to it needs no check; and the walk
//! through an answer goes in steps of bounded work, for `bpf_loop` or a `for` to drive.
//! Nothing follows compression pointers, so there is no loop to fall into: the name that
//! counts is the one in the question, which may not be compressed.

use bytemuck::{Pod, Zeroable};

use crate::name::{Key, NAME_BYTES};
use crate::net::Address;
use crate::opaque::cut;

/// The most bytes of a message that are read; a longer answer is refused.
pub const BYTES: usize = 16_384;
#[expect(clippy::cast_possible_truncation, reason = "a small number")]
const MASK: u32 = BYTES as u32 - 1;
/// The longest question: header, the longest name, type and class, and an `OPT` record
/// (RFC 6891) with as many bytes of options as are let through.
pub const QUESTION_MAX: u32 = 12 + 255 + 4 + 11 + OPTIONS_MAX;
/// How many bytes of options a question may bring: a cookie (RFC 7873) and some padding.
const OPTIONS_MAX: u32 = 128;
/// The bytes of a header.
pub const HEADER: u32 = 12;
/// The port of servers.
pub const PORT: u16 = 53;
/// Ports on which hosts ask one another for names: mDNS (RFC 6762) and LLMNR (RFC 4795).
pub const NEIGHBOUR_PORTS: [u16; 2] = [5353, 5355];

/// The class of the internet.
const IN: u32 = 1;
const A: u32 = 1;
const CNAME: u32 = 5;
const AAAA: u32 = 28;
const OPT: u32 = 41;
const SVCB: u32 = 64;
const HTTPS: u32 = 65;
/// Parameters of a service that hold addresses (RFC 9460, 7.3).
const IPV4HINT: u32 = 4;
const IPV6HINT: u32 = 6;

/// The most labels that a name can have (RFC 1035, 2.3.4), and one more for the end.
const LABELS: u32 = 128;
/// What a label's length byte says at the most; above it is a pointer.
const LABEL_MAX: u32 = 63;
const POINTER: u32 = 0xc0;

/// Bits of the header's second word.
mod bit {
    pub(super) const ANSWER: u32 = 0x8000;
    pub(super) const CUT: u32 = 0x0200;
    /// What a question may say beside that it is one: recursion desired, authentic data
    /// (RFC 6840, 5.7), checking disabled.
    pub(super) const ASKING: u32 = 0x0100 | 0x0020 | 0x0010;
    pub(super) const CODE: u32 = 0x000f;
}

#[inline(always)]
fn byte(bytes: &[u8; BYTES], at: u32) -> u32 {
    u32::from(bytes[cut(at, MASK)])
}

#[inline(always)]
fn word(bytes: &[u8; BYTES], at: u32) -> u32 {
    byte(bytes, at) << 8 | byte(bytes, at + 1)
}

#[inline(always)]
fn long(bytes: &[u8; BYTES], at: u32) -> u32 {
    word(bytes, at) << 16 | word(bytes, at + 2)
}

/// The header of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What ties an answer to its question.
    pub id: u16,
    flags: u32,
    questions: u32,
    answers: u32,
    others: u32,
    additional: u32,
}

impl Header {
    /// Reads it from a message of [`HEADER`] bytes or more.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a word")]
    pub fn read(bytes: &[u8; BYTES]) -> Self {
        Self {
            id: word(bytes, 0) as u16,
            flags: word(bytes, 2),
            questions: word(bytes, 4),
            answers: word(bytes, 6),
            others: word(bytes, 8),
            additional: word(bytes, 10),
        }
    }

    /// Whether it is that of a plain question: one, a standard query, nothing beside it
    /// but an `OPT` record. Whatever else a header can say is room for a message to whom
    /// the name belongs.
    #[inline(always)]
    #[must_use]
    pub const fn asks(&self) -> bool {
        (self.flags & !bit::ASKING)
            | (self.questions ^ 1)
            | self.answers
            | self.others
            | (self.additional & !1)
            == 0
    }

    /// Whether it is that of an answer to one question.
    #[inline(always)]
    #[must_use]
    pub const fn answers(&self) -> bool {
        self.flags & bit::ANSWER != 0 && self.questions == 1
    }

    /// Whether it is that of a refusal that does not even repeat the question.
    #[inline(always)]
    #[must_use]
    pub const fn gives_up(&self) -> bool {
        self.flags & bit::ANSWER != 0
            && self.flags & bit::CODE != 0
            && self.questions | self.answers | self.others == 0
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Question {
    /// Where the question ends.
    pub end: u32,
    /// The bytes of the name without its last dot, 0 for the root.
    pub name_len: u32,
    /// How many labels the name has.
    labels: u32,
    /// The type of records.
    pub kind: u16,
    /// Zero.
    pub reserved: u16,
}

/// Reads the question behind the header of a message of `len` bytes, and puts its name
/// into `key`, whose name must be all zeros. False where there is none in order: a name
/// that is compressed or too long, has a dot or a NUL within a label, or ends beyond the
/// message; a class that is not the internet's.
///
/// Puts dots in the place of the lengths between labels, in the message itself.
///
/// What is found goes through memory, and the parts are functions of their own, so that
/// the kernel's verifier forgets from one part to the next by which of hundreds of ways it
/// came.
#[inline(never)]
#[expect(clippy::cast_possible_truncation, reason = "a word")]
pub fn question(bytes: &mut [u8; BYTES], len: u32, key: &mut Key, to: &mut Question) -> bool {
    if !mark(bytes, len, to) || to.end + 5 > len {
        return false;
    }
    let end = to.end;
    let (kind, class) = (word(bytes, end + 1), word(bytes, end + 3));
    to.kind = kind as u16;
    to.end = end + 5;
    class == IN && reverse(bytes, key, to)
}

/// Finds the NUL that ends the name in the question, and how many labels there are; puts
/// dots between them.
#[inline(never)]
fn mark(bytes: &mut [u8; BYTES], len: u32, to: &mut Question) -> bool {
    let mut at = HEADER;
    for labels in 0..LABELS {
        if at >= len {
            return false;
        }
        let label = byte(bytes, at);
        if label == 0 {
            to.end = at;
            to.labels = labels;
            // Neither the length in front nor the NUL has a place. The root has none at all.
            to.name_len = (at - HEADER).saturating_sub(1);
            return true;
        }
        if label > LABEL_MAX {
            return false;
        }
        bytes[cut(at, NEAR)] = b'.';
        at += label + 1;
    }
    false
}

/// A name begins behind the header and ends within so many bytes: the length that was
/// checked, as the kernel's verifier sees it.
const NEAR: u32 = 0x1ff;

/// Each byte of a word the same.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The highest bit of each byte that is zero.
#[inline(always)]
const fn zeros(word: u64) -> u64 {
    const REST: u64 = each(0x7f);
    !(((word & REST) + REST) | word | REST)
}

/// In small letters.
#[inline(always)]
const fn lower(word: u64) -> u64 {
    const REST: u64 = each(0x7f);
    let seven = word & REST;
    // The highest bit says, in turn: at least `A`; more than `Z`; no letter of ASCII.
    let upper = (seven + each(0x80 - b'A')) & !(seven + each(0x7f - b'Z')) & !word & !REST;
    word | upper >> 2
}

/// How many bytes have their highest bit set, where the others have none at all.
#[inline(always)]
const fn count(bits: u64) -> u64 {
    (bits >> 7).wrapping_mul(each(1)) >> 56
}

/// Writes the name of a question into the key: reversed, in small letters. False where it
/// is too long, or has a dot or a NUL within a label.
///
/// Goes by words, from the name's end: eight bytes with a dozen instructions, and nothing
/// for the verifier to choose.
#[inline(never)]
fn reverse(bytes: &[u8; BYTES], key: &mut Key, of: &Question) -> bool {
    if of.name_len as usize >= NAME_BYTES {
        return false;
    }
    let mut left = of.name_len;
    let mut odd = 0;
    let (words, rest) = key.name.as_chunks_mut::<8>();
    for place in words {
        if left == 0 {
            break;
        }
        let (word, here) = last_word(bytes, left);
        *place = word.to_le_bytes();
        odd += here;
        left = left.saturating_sub(8);
    }
    if left > 0 {
        let (word, here) = last_word(bytes, left);
        let [a, b, c, d, e, f, _, _] = word.to_le_bytes();
        if let Ok(rest) = <&mut [u8; 6]>::try_from(rest) {
            *rest = [a, b, c, d, e, f];
        }
        odd += here;
    }
    // Every dot is one that was put there.
    odd == of.labels.saturating_sub(1)
}

/// The last eight of the `left` bytes behind the name's first length, reversed, and zeros
/// where there are fewer; and how many dots they have, a NUL counting a thousand.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a small number")]
fn last_word(bytes: &[u8; BYTES], left: u32) -> (u64, u32) {
    // What stands before the name is in the header, and is cut off again.
    let at = cut(HEADER + 1 + left - 8, NEAR);
    let mut word = 0;
    for (number, byte) in (0u32..8).zip(&bytes[at..at + 8]) {
        word |= u64::from(*byte) << (56 - 8 * number);
    }
    let fill = if left < 8 { u64::MAX << (8 * left) } else { 0 };
    let word = lower(word & !fill);
    let (dots, nuls) = (count(zeros(word ^ each(b'.'))), count(zeros(word | fill)));
    (word, (dots + 1000 * nuls) as u32)
}

/// Whether what follows the question, in a message of `len` bytes, is nothing but an `OPT`
/// record where the header promises one.
#[inline(always)]
#[must_use]
pub fn ends_well(bytes: &[u8; BYTES], len: u32, header: &Header, end: u32) -> bool {
    if header.additional == 0 {
        return end == len;
    }
    if end + 11 > len {
        return false;
    }
    let options = word(bytes, end + 9);
    byte(bytes, end) == 0
        && word(bytes, end + 1) == OPT
        && options <= OPTIONS_MAX
        && end + 11 + options == len
}

/// What [`Walk::step`] came upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Step {
    /// Nothing yet.
    On = 0,
    /// An address, see [`Walk::address`] and [`Walk::ttl`].
    Address = 1,
    /// The end: every record was read.
    End = 2,
    /// The message is not in order.
    Malformed = 3,
}

/// How many steps an answer may take; one that takes more is not in order.
pub const STEPS: u32 = 4096;

/// Where a walk stands.
const NAME: u32 = 0;
const TARGET: u32 = 1;
const PARAMETER: u32 = 2;
const HINT: u32 = 3;

/// A walk through the records of an answer.
///
/// Every address in the answer section counts for the name that was asked for, whatever
/// name its record bears: whoever answers for that name could give each address itself.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Walk {
    /// The address that was found.
    pub address: Address,
    /// For how many seconds it is good: no longer than the aliases on the way to it.
    pub ttl: u32,
    at: u32,
    len: u32,
    left: u32,
    state: u32,
    /// Where the record's data ends.
    stop: u32,
    /// Where the hint ends.
    hint: u32,
    /// The bytes of an address in the hint.
    size: u32,
    /// The shortest life of an alias so far.
    alias: u32,
    record_ttl: u32,
}

impl Walk {
    /// The walk through a message of `len` bytes from where its question ends.
    #[inline(always)]
    #[must_use]
    pub const fn new(header: &Header, end: u32, len: u32) -> Self {
        // A refusal has no answers, whatever its header says.
        let left = if header.flags & bit::CODE == 0 { header.answers } else { 0 };
        Self {
            address: Address::ANY6,
            ttl: 0,
            at: end,
            len,
            left,
            state: NAME,
            stop: 0,
            hint: 0,
            size: 0,
            alias: u32::MAX,
            record_ttl: 0,
        }
    }

    /// Goes a step.
    #[inline(always)]
    pub fn step(&mut self, bytes: &[u8; BYTES]) -> Step {
        match self.state {
            NAME => self.owner(bytes),
            TARGET => self.target(bytes),
            PARAMETER => self.parameter(bytes),
            _ => self.hinted(bytes),
        }
    }

    /// A label of the name that the record is about; after the last, the record.
    #[inline(always)]
    fn owner(&mut self, bytes: &[u8; BYTES]) -> Step {
        if self.left == 0 {
            return Step::End;
        }
        if self.at >= self.len {
            return Step::Malformed;
        }
        let label = byte(bytes, self.at);
        if label != 0 && label <= LABEL_MAX {
            self.at += label + 1;
            return Step::On;
        }
        if label == 0 {
            self.at += 1;
        } else if label >= POINTER {
            self.at += 2;
        } else {
            return Step::Malformed;
        }
        self.record(bytes)
    }

    #[inline(always)]
    fn record(&mut self, bytes: &[u8; BYTES]) -> Step {
        let data = self.at + 10;
        if data > self.len {
            return Step::Malformed;
        }
        let (kind, class) = (word(bytes, self.at), word(bytes, self.at + 2));
        let size = word(bytes, self.at + 8);
        // The highest bit set counts as 0 (RFC 2181, 8).
        let ttl = long(bytes, self.at + 4);
        self.record_ttl = if ttl >> 31 == 0 { ttl } else { 0 };
        self.stop = data + size;
        if self.stop > self.len {
            return Step::Malformed;
        }
        self.left -= 1;
        self.at = self.stop;
        if class != IN {
            return Step::On;
        }
        match (kind, size) {
            (A, 4) | (AAAA, 16) => self.found(bytes, data, size),
            (A | AAAA, _) => Step::Malformed,
            (CNAME, _) => {
                if self.record_ttl < self.alias {
                    self.alias = self.record_ttl;
                }
                Step::On
            }
            // Behind the priority.
            (SVCB | HTTPS, 3..) => {
                (self.at, self.state) = (data + 2, TARGET);
                Step::On
            }
            (SVCB | HTTPS, _) => Step::Malformed,
            _ => Step::On,
        }
    }

    /// A label of the name where a service is, which may not be compressed (RFC 9460, 2.2).
    #[inline(always)]
    fn target(&mut self, bytes: &[u8; BYTES]) -> Step {
        if self.at >= self.stop {
            return Step::Malformed;
        }
        let label = byte(bytes, self.at);
        if label > LABEL_MAX {
            return Step::Malformed;
        }
        self.at += label + 1;
        if label == 0 {
            self.state = PARAMETER;
        }
        Step::On
    }

    #[inline(always)]
    fn parameter(&mut self, bytes: &[u8; BYTES]) -> Step {
        if self.at == self.stop {
            self.state = NAME;
            return Step::On;
        }
        let value = self.at + 4;
        if value > self.stop {
            return Step::Malformed;
        }
        let (key, size) = (word(bytes, self.at), word(bytes, self.at + 2));
        let end = value + size;
        if end > self.stop {
            return Step::Malformed;
        }
        self.at = end;
        let each = match key {
            IPV4HINT => 4,
            IPV6HINT => 16,
            _ => return Step::On,
        };
        if size & (each - 1) != 0 {
            return Step::Malformed;
        }
        (self.at, self.hint, self.size, self.state) = (value, end, each, HINT);
        Step::On
    }

    #[inline(always)]
    fn hinted(&mut self, bytes: &[u8; BYTES]) -> Step {
        if self.at >= self.hint {
            self.state = PARAMETER;
            return Step::On;
        }
        let at = self.at;
        self.at += self.size;
        self.found(bytes, at, self.size)
    }

    #[inline(always)]
    fn found(&mut self, bytes: &[u8; BYTES], at: u32, size: u32) -> Step {
        self.ttl = if self.record_ttl < self.alias { self.record_ttl } else { self.alias };
        self.address = if size == 4 {
            Address::v4(long(bytes, at))
        } else {
            let half = |at| u64::from(long(bytes, at)) << 32 | u64::from(long(bytes, at + 4));
            Address { high: half(at), low: half(at + 8) }
        };
        Step::Address
    }
}

/// Whether an answer was cut short (TC): what there is of it counts, the rest is asked for
/// by TCP.
#[inline(always)]
#[must_use]
pub const fn is_cut(header: &Header) -> bool {
    header.flags & bit::CUT != 0
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
