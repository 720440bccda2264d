//! The name of the server in the first message of a TLS connection, the ClientHello
//! (RFC 8446, 4.1.2; RFC 5246, 7.4.1.2) with its `server_name` (RFC 6066, 3).
//!
//! The hooks read it out of packets, the tests and the fuzzer out of memory, both by a
//! [`Walk`] over [`Bytes`]. A walk is made of steps, each of which takes one byte, or passes
//! over a run of bytes that nobody needs. There is no loop in a step, and each but the last
//! takes at least one byte: so [`STEPS`] of them are enough, whatever the bytes are, and the
//! kernel's `bpf_loop` can make them one by one. No byte is asked for twice, so a walk can
//! go on where the earlier bytes are gone.
//!
//! # Records
//!
//! A client can spread the message over records as it likes (RFC 8446, 5.1), even a byte
//! in each, and who hides a name does. A walk crosses from record to record at any byte.
//! The bytes of the name are put next to one another as they come.
//!
//! # Refusals
//!
//! Where servers are known to differ, or where no client goes, the walk says
//! [`Outcome::Malformed`], so that no server can read another name in a message than the
//! walk did. [`Outcome::NotTls`] is no clearance: some servers pass over an alert before
//! the message, and then find a name where a walk did not look.
//!
//! # What it cannot tell
//!
//! An encrypted ClientHello (RFC 9849) shows a name that stands for many, and hides the one
//! that counts: [`flag::ECH`]. Clients that encrypt nothing send the same extension filled
//! with noise, for practice (GREASE; RFC 9849, 6.2), and nobody but the server can tell.
//! After a HelloRetryRequest a client says everything once more (RFC 8446, 4.1.2), and some
//! servers take the name from there: whoever must be sure looks at that message, too.

use bytemuck::{Pod, Zeroable};

use crate::name::{Key, NAME_MAX};
use crate::opaque::cut;

/// The most bytes that are read. No longer message is.
pub const BYTES: usize = 16_384;
/// The room for a name, a power of two.
pub const NAME_ROOM: usize = 256;

/// Where the bytes of a walk come from.
pub trait Bytes {
    /// The byte at this place; 0 where it cannot be had.
    fn byte(&mut self, at: u32) -> u8;
}

/// How many steps a walk takes at the most: one for each byte, and one to see the end.
#[expect(clippy::cast_possible_truncation, reason = "a small number")]
pub const STEPS: u32 = BYTES as u32 + 1;

/// [`BYTES`], as positions are counted.
const ROOM: u32 = STEPS - 1;
/// The bits of a place in the name.
#[expect(clippy::cast_possible_truncation, reason = "a small number")]
const NAME_MASK: u32 = NAME_ROOM as u32 - 1;

/// The type of records that only say that keys change (RFC 8446, 5).
const CHANGE_CIPHER: u32 = 20;
/// The type of records with parts of a handshake (RFC 8446, 5.1).
const HANDSHAKE: u32 = 22;
/// The first byte of every version since SSL 3.
const MAJOR: u32 = 3;
/// The bytes of a record's header: type, version and length.
const HEADER: u32 = 5;
/// The longest record (RFC 8446, 5.1).
const RECORD_MAX: u32 = 1 << 14;
/// The type of the message (RFC 8446, 4).
const CLIENT_HELLO: u32 = 1;
/// The bytes of the client's random number.
const RANDOM: u32 = 32;
/// The longest identity of a session.
const SESSION_MAX: u32 = 32;
/// The longest name.
#[expect(clippy::cast_possible_truncation, reason = "a small number")]
const LONGEST: u32 = NAME_MAX as u32;

/// Types of extensions: `server_name` (RFC 6066, 3).
const SERVER_NAME: u32 = 0;
/// `early_data` (RFC 8446, 4.2.10).
const EARLY_DATA: u32 = 42;
/// `encrypted_client_hello` (RFC 9849, 5).
const ENCRYPTED: u32 = 0xfe0d;
/// The type of an encrypted hello that is itself what was encrypted.
const INNER: u32 = 1;
/// The type of names that are those of hosts.
const HOST_NAME: u32 = 0;
/// The shortest `server_name`: the length of the list, type, length and a name of one byte.
const SHORTEST: u32 = 6;

/// What the next number is. The numbers stand in this order in the message.
mod field {
    /// The type of the message.
    pub(super) const TYPE: u32 = 0;
    /// The length of the message.
    pub(super) const LENGTH: u32 = 1;
    /// The version.
    pub(super) const VERSION: u32 = 2;
    /// The length of the session's identity, which has the random number before it.
    pub(super) const SESSION: u32 = 3;
    /// The length of the list of ciphers.
    pub(super) const CIPHERS: u32 = 4;
    /// The length of the list of compressions.
    pub(super) const COMPRESSIONS: u32 = 5;
    /// The length of all extensions.
    pub(super) const EXTENSIONS: u32 = 6;
    /// The type of an extension.
    pub(super) const KIND: u32 = 7;
    /// The length of an extension.
    pub(super) const EXTENSION: u32 = 8;
    /// The length of the list of names.
    pub(super) const NAMES: u32 = 9;
    /// The type of a name.
    pub(super) const NAME_TYPE: u32 = 10;
    /// The length of a name.
    pub(super) const NAME_LEN: u32 = 11;
    /// A name.
    pub(super) const NAME: u32 = 12;
    /// The type of an encrypted hello.
    pub(super) const ENCRYPTED: u32 = 13;
    /// None: the message ends where nothing more is to be passed over.
    pub(super) const END: u32 = 14;
}

/// Bits of [`Hello::flags`].
pub mod flag {
    /// There is no name in it.
    pub const NO_NAME: u32 = 1;
    /// The name that counts may be encrypted, and the one in sight a stand-in.
    pub const ECH: u32 = 2;
    /// Data for the server follows at once, before it has said anything.
    pub const EARLY_DATA: u32 = 4;
    /// The message is spread over more than one record.
    pub const FRAGMENTED: u32 = 8;
}

/// A ClientHello, read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Hello {
    /// The bytes of the name, at the most [`NAME_MAX`]; 0 if there is none. They stand as they were
    /// sent: no letter is made small, no dot is taken off, and any byte may be among them.
    pub name_len: u32,
    /// [`flag`] bits.
    pub flags: u32,
    /// Where the message ends, and its last record with it.
    pub end: u32,
}

/// What came of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The bytes are the beginning of a ClientHello.
    NeedMore,
    /// The bytes do not begin with a record that has a ClientHello in it.
    NotTls,
    /// They do, and it is broken, too long, or of a kind that is refused.
    Malformed,
    /// There is a whole one.
    Done(Hello),
}

/// Values of [`Walk::state`], the outcomes of the same names.
const NEED_MORE: u32 = 0;
const NOT_TLS: u32 = 1;
const MALFORMED: u32 = 2;
const DONE: u32 = 3;

/// A walk through bytes, and how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Walk {
    /// The next byte.
    at: u32,
    /// How many bytes there are.
    len: u32,
    /// How many bytes of the record are to come; 0 in its header.
    record: u32,
    /// How many bytes of the record's header have come.
    header: u32,
    /// The length of the record, as far as it has come.
    record_len: u32,
    /// How many bytes are to be passed over.
    skip: u32,
    /// How many bytes of the number are to come then.
    wanted: u32,
    /// The number, as far as it has come.
    number: u32,
    /// What it is, a [`field`].
    field: u32,
    /// How many bytes of the message are behind what is passed over and wanted.
    left: u32,
    /// The type of the extension.
    kind: u32,
    /// The length of what the number is in: the extension, or its list.
    inside: u32,
    /// The length of the name; 0 before it is known.
    name_len: u32,
    /// [`flag`] bits.
    flags: u32,
    /// What came of it.
    state: u32,
    /// 1 for a walk behind another hello.
    again: u32,
    /// The type of the record.
    content: u32,
}

impl Walk {
    /// A walk through the first `len` bytes.
    #[inline(always)]
    #[must_use]
    pub const fn new(len: u32) -> Self {
        Self {
            at: 0,
            len,
            record: 0,
            header: 0,
            record_len: 0,
            skip: 0,
            wanted: 1,
            number: 0,
            field: field::TYPE,
            left: 0,
            kind: 0,
            inside: 0,
            name_len: 0,
            flags: 0,
            state: NEED_MORE,
            again: 0,
            content: 0,
        }
    }

    /// A walk from where another has ended: through what the client says once more, should
    /// the server have asked for that (RFC 8446, 4.1.2). A record that says nothing may stand
    /// before it (`change_cipher_spec`; RFC 8446, D.4).
    #[inline(always)]
    #[must_use]
    pub const fn again(len: u32) -> Self {
        Self { again: 1, ..Self::new(len) }
    }

    /// Goes on when there are more bytes, `len` of them altogether. Those that the walk has
    /// seen need not be there any more.
    #[inline(always)]
    pub const fn more(&mut self, len: u32) {
        self.len = len;
    }

    /// What has come of it.
    #[inline(always)]
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self.state {
            NEED_MORE => Outcome::NeedMore,
            NOT_TLS => Outcome::NotTls,
            DONE => {
                Outcome::Done(Hello { name_len: self.name_len, flags: self.flags, end: self.at })
            }
            _ => Outcome::Malformed,
        }
    }

    /// Goes on until there is nothing more to do. The kernel has a loop of its own.
    pub fn run<B: Bytes>(&mut self, bytes: &mut B, name: &mut [u8; NAME_ROOM]) -> Outcome {
        for _ in 0..STEPS {
            if !self.step(bytes, name) {
                break;
            }
        }
        self.outcome()
    }

    /// Does one step; whether there is another. The name must be the same memory each time.
    #[inline(always)]
    pub fn step<B: Bytes>(&mut self, bytes: &mut B, name: &mut [u8; NAME_ROOM]) -> bool {
        if self.state != NEED_MORE {
            return false;
        }
        if self.at >= ROOM {
            return self.end(MALFORMED);
        }
        if self.at >= self.len {
            return false;
        }
        if self.record != 0 && self.skip != 0 {
            return self.pass();
        }
        let byte = bytes.byte(self.at);
        self.at += 1;
        if self.record == 0 {
            return self.header(byte as u32);
        }
        self.record -= 1;
        if self.field == field::NAME {
            name[cut(self.name_len.wrapping_sub(self.wanted), NAME_MASK)] = byte;
        }
        self.number = self.number << 8 | byte as u32;
        self.wanted = self.wanted.saturating_sub(1);
        if self.wanted == 0 { self.come() } else { true }
    }

    /// Ends the walk.
    #[inline(always)]
    const fn end(&mut self, state: u32) -> bool {
        self.state = state;
        false
    }

    /// Passes over as many bytes as are to be, and are here, and are in the record.
    #[inline(always)]
    fn pass(&mut self) -> bool {
        let here = self.len.min(ROOM) - self.at;
        let run = self.skip.min(self.record).min(here);
        self.at += run;
        self.record -= run;
        self.skip -= run;
        if self.skip == 0 && self.field == field::END { self.whole() } else { true }
    }

    /// Takes a byte of a record's header.
    #[inline(always)]
    const fn header(&mut self, byte: u32) -> bool {
        let right = match self.header {
            0 => {
                self.content = byte;
                let change = byte == CHANGE_CIPHER && self.again != 0;
                byte == HANDSHAKE || change && self.field == field::TYPE
            }
            1 => byte == MAJOR,
            2 => true,
            _ => {
                self.record_len = self.record_len << 8 | byte;
                true
            }
        };
        if !right {
            return self.end(if self.field == field::TYPE { NOT_TLS } else { MALFORMED });
        }
        self.header += 1;
        if self.header < HEADER {
            return true;
        }
        // There are no empty records in a handshake (RFC 8446, 5.1).
        if self.record_len == 0 || self.record_len > RECORD_MAX {
            return self.end(MALFORMED);
        }
        if self.content == CHANGE_CIPHER {
            // Of one byte (RFC 8446, 5).
            self.skip = 1;
            if self.record_len != 1 {
                return self.end(MALFORMED);
            }
        }
        if self.field != field::TYPE {
            self.flags |= flag::FRAGMENTED;
        }
        self.record = self.record_len;
        self.record_len = 0;
        self.header = 0;
        true
    }

    /// Has come to the end of the message, which must be the end of a record.
    #[inline(always)]
    const fn whole(&mut self) -> bool {
        if self.record != 0 {
            return self.end(MALFORMED);
        }
        if self.name_len == 0 {
            self.flags |= flag::NO_NAME;
        }
        self.end(DONE)
    }

    /// Goes on to the next number, of `wanted` bytes, behind `skip` bytes.
    #[inline(always)]
    const fn next(&mut self, field: u32, skip: u32, wanted: u32) -> bool {
        let Some(left) = self.left.checked_sub(skip) else { return self.end(MALFORMED) };
        let Some(left) = left.checked_sub(wanted) else { return self.end(MALFORMED) };
        self.left = left;
        self.field = field;
        self.skip = skip;
        self.wanted = wanted;
        self.number = 0;
        true
    }

    /// Goes on to the next extension behind `skip` bytes, or to the end of the message.
    #[inline(always)]
    const fn next_extension(&mut self, skip: u32) -> bool {
        if self.left != skip {
            return self.next(field::KIND, skip, 2);
        }
        if skip == 0 {
            return self.whole();
        }
        self.next(field::END, skip, 0)
    }

    /// Takes a number that has come to its end.
    #[inline(always)]
    const fn come(&mut self) -> bool {
        let number = self.number;
        match self.field {
            field::TYPE if number != CLIENT_HELLO => self.end(NOT_TLS),
            field::TYPE => {
                self.left = 3;
                self.next(field::LENGTH, 0, 3)
            }
            field::LENGTH => {
                self.left = number;
                let fits = number <= ROOM.saturating_sub(self.at);
                if fits { self.next(field::VERSION, 0, 2) } else { self.end(MALFORMED) }
            }
            field::VERSION if number >> 8 == MAJOR => self.next(field::SESSION, RANDOM, 1),
            field::SESSION if number <= SESSION_MAX => self.next(field::CIPHERS, number, 2),
            field::CIPHERS if number != 0 && number & 1 == 0 => {
                self.next(field::COMPRESSIONS, number, 1)
            }
            field::COMPRESSIONS if number != 0 => {
                // Before TLS 1.3 extensions were optional (RFC 5246, 7.4.1.2).
                if self.left == number {
                    self.next(field::END, number, 0)
                } else {
                    self.next(field::EXTENSIONS, number, 2)
                }
            }
            field::EXTENSIONS if number == self.left => self.next_extension(0),
            field::KIND => {
                self.kind = number;
                self.next(field::EXTENSION, 0, 2)
            }
            field::EXTENSION => self.extension(number),
            // The list fills the extension, and the only name fills the list.
            field::NAMES if number == self.inside => self.next(field::NAME_TYPE, 0, 1),
            field::NAME_TYPE if number == HOST_NAME => self.next(field::NAME_LEN, 0, 2),
            field::NAME_LEN if number == self.inside.saturating_sub(3) => {
                self.name_len = number;
                let fits = number != 0 && number <= LONGEST;
                if fits { self.next(field::NAME, 0, number) } else { self.end(MALFORMED) }
            }
            field::NAME => self.next_extension(0),
            field::ENCRYPTED => {
                if number != INNER {
                    self.flags |= flag::ECH;
                }
                self.next_extension(self.inside)
            }
            _ => self.end(MALFORMED),
        }
    }

    /// Begins with an extension of this length.
    #[inline(always)]
    const fn extension(&mut self, len: u32) -> bool {
        if len > self.left {
            return self.end(MALFORMED);
        }
        match self.kind {
            // A second one is a name that somebody else may prefer (RFC 8446, 4.2).
            SERVER_NAME if len < SHORTEST || self.name_len != 0 => self.end(MALFORMED),
            SERVER_NAME => {
                self.inside = len - 2;
                self.next(field::NAMES, 0, 2)
            }
            ENCRYPTED if len != 0 => {
                self.inside = len - 1;
                self.next(field::ENCRYPTED, 0, 1)
            }
            EARLY_DATA => {
                self.flags |= flag::EARLY_DATA;
                self.next_extension(len)
            }
            _ => self.next_extension(len),
        }
    }
}

/// Spells a name as tables of names have it ([`Key`]): from its end on, in small letters.
///
/// Its letters are taken one by one, so that the kernel's `bpf_loop` can do it; `end` is
/// where the name has ended (a dot at its end is not part of it).
#[inline(always)]
#[must_use]
pub fn end_of(name: &[u8; NAME_ROOM], len: u32) -> u32 {
    let dotted = len != 0 && name[cut(len.wrapping_sub(1), NAME_MASK)] == b'.';
    if dotted { len - 1 } else { len }
}

/// Puts the letter number `at`, counted from the end of the name, into the key; false where
/// it is none that names have, or an empty label ends there.
#[inline(always)]
pub fn spell(name: &[u8; NAME_ROOM], end: u32, at: u32, key: &mut Key) -> bool {
    let letter = |from: u32| name[cut(end.wrapping_sub(from + 1), NAME_MASK)];
    let byte = letter(at).to_ascii_lowercase();
    let right = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    // A label before the first dot, between two, and behind the last.
    let empty = byte == b'.' && (at == 0 || at + 1 == end || letter(at + 1) == b'.');
    if at < LONGEST {
        key.name[cut(at, NAME_MASK).min(NAME_MAX)] = byte;
    }
    right && !empty
}

#[cfg(test)]
mod tests;
