//! What the first bytes of a connection say about where it leads. A connection that was let
//! through because of a name is watched until its TLS ClientHello has come, which must carry
//! a name that the policy allows on that port: many sites share an address.
//!
//! A socket's [`SocketLabel::hello`](crate::session::SocketLabel::hello) says how far that
//! is ([`state`]). What has been read stands in a [`Watch`] beside the socket.

use bytemuck::{Pod, Zeroable};

use crate::answer::Answer;
use crate::egress::{self, PolicyEntry, dns};
use crate::name::{self, Key, Named, list_key};
use crate::net::Protocols;
use crate::tls::{self, Hello, NAME_ROOM, Outcome, Walk, flag};
use crate::verdict::{RULE_NONE, Reason, Ruling, Verdict};

/// How far the reading of a socket's first bytes is.
pub mod state {
    /// There is nothing to read: no name led there.
    pub const NONE: u32 = 0;
    /// The hello is to come.
    pub const WAITING: u32 = 1;
    /// It has come, and what comes next could be a second one: a server can ask for that.
    pub const AGAIN: u32 = 2;
    /// All is well.
    pub const CLEARED: u32 = 3;
    /// It was refused: nothing more goes out.
    pub const REFUSED: u32 = 4;
}

/// The port on which strict policies want TLS and nothing else.
const HTTPS: u16 = 443;

/// What has been read of a socket's first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Watch {
    /// The sequence number (RFC 9293, 3.4) of the first byte.
    pub first: u32,
    /// That of the next byte to be read.
    pub next: u32,
    /// How many bytes have been read since the walk began.
    pub fed: u32,
    /// The walk.
    pub walk: Walk,
    /// The verdict and the reason of what needs no name for that; 0 and [`BY_NAME`] where the
    /// name decides.
    pub verdict: u32,
    /// See there.
    pub reason: u32,
    /// The length of the name, once it has come whole.
    pub name_len: u32,
    /// The [`tls::flag`]s of the hello.
    pub flags: u32,
    /// Where it ends.
    pub end: u32,
    /// The name, as far as it has come.
    pub name: [u8; NAME_ROOM],
}

/// In the place of a reason: the name decides.
pub const BY_NAME: u32 = u32::MAX;

/// What a segment brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brings {
    /// Nothing that has not been read.
    Nothing,
    /// Bytes that have not been read, behind so many that have.
    Behind(u32),
    /// Bytes from farther on: those before them are missing.
    Gap,
}

impl Watch {
    /// Begins at a sequence number.
    #[inline(always)]
    pub const fn begin(&mut self, first: u32) {
        self.first = first;
        self.next = first;
        self.fed = 0;
        self.walk = Walk::new(0);
    }

    /// What a segment of `len` bytes from a sequence number on brings. Numbers wrap, and are
    /// compared as the kernel does (`before()` in `net/tcp.h`).
    #[inline(always)]
    #[must_use]
    pub const fn brings(&self, from: u32, len: u32) -> Brings {
        let read = self.next.wrapping_sub(from);
        if read.cast_signed() < 0 {
            return Brings::Gap;
        }
        if read >= len { Brings::Nothing } else { Brings::Behind(read) }
    }

    /// Takes so many more bytes.
    #[inline(always)]
    pub const fn feed(&mut self, len: u32) {
        self.fed = self.fed.saturating_add(len);
        self.next = self.next.wrapping_add(len);
        self.walk.more(self.fed);
    }

    /// Goes on behind the hello: there may be another.
    #[inline(always)]
    pub const fn again(&mut self) {
        self.fed = self.fed.saturating_sub(self.end);
        self.walk = Walk::again(self.fed);
    }

    /// Puts down what is to be decided: a ruling, or a name.
    #[inline(always)]
    pub const fn ruled(&mut self, ruling: Ruling) {
        self.verdict = ruling.verdict as u32;
        self.reason = ruling.reason as u32;
    }

    /// See [`Self::ruled`].
    #[inline(always)]
    pub const fn named(&mut self, hello: Hello) {
        (self.verdict, self.reason) = (0, BY_NAME);
        (self.name_len, self.flags, self.end) = (hello.name_len, hello.flags, hello.end);
    }
}

/// What is to be done about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More has to be seen; what has come may go on.
    More,
    /// It is in order, and there is nothing to tell.
    Clear,
    /// It has a ruling that does not depend on a name.
    Ruled(Ruling),
    /// The name in it decides.
    Name(Hello),
}

/// What to do about a walk. `second` is whether it is behind a hello that was in order.
#[inline(always)]
#[must_use]
pub const fn next(outcome: Outcome, second: bool, port: u16, bits: u8) -> Next {
    match outcome {
        Outcome::NeedMore => Next::More,
        Outcome::NotTls if second => Next::Clear,
        Outcome::NotTls if port != HTTPS => Next::Clear,
        Outcome::NotTls => Next::Ruled(undecided(Reason::NotTls, bits)),
        Outcome::Malformed => Next::Ruled(undecided(Reason::Malformed, bits)),
        Outcome::Done(hello) if hello.flags & flag::NO_NAME != 0 => {
            Next::Ruled(undecided(Reason::NoSni, bits))
        }
        Outcome::Done(hello) => Next::Name(hello),
    }
}

/// The ruling on what shows no name that could be decided.
#[inline(always)]
#[must_use]
pub const fn undecided(reason: Reason, bits: u8) -> Ruling {
    let strict = bits & dns::TLS_STRICT != 0;
    let verdict = if strict { Verdict::Deny } else { Verdict::Audit };
    Ruling { verdict, reason, rule: RULE_NONE }
}

/// The ruling on a hello with a name: `answer` is what the policy says of the name and the
/// port, `flags` those of the hello.
#[inline(always)]
#[must_use]
pub const fn named(answer: Answer, flags: u32, bits: u8) -> Ruling {
    let ruling = answer.or_closed();
    if !ruling.verdict.passes() {
        return Ruling { verdict: Verdict::Deny, reason: Reason::Sni, rule: ruling.rule };
    }
    // The name that counts is encrypted, or a second hello could be hidden behind data.
    if flags & (flag::ECH | flag::EARLY_DATA) != 0 {
        return undecided(Reason::Hidden, bits);
    }
    ruling
}

/// What a policy says of a name on a TCP port. The key has the policy's slot and all bits.
#[inline(always)]
pub fn answer<T: name::Table + egress::Table>(
    table: &T,
    policy: &PolicyEntry,
    key: &Key,
    port: u16,
) -> Answer {
    let default = Answer::raw(policy.egress_default, Reason::Default, RULE_NONE);
    let Some(&Named { list, rule, verdict, .. }) = name::Table::longest(table, key) else {
        return default;
    };
    if list == 0 {
        return Answer::raw(verdict, Reason::Rule, rule);
    }
    let slot = u32::from(key.policy);
    let answer = egress::Table::says(table, &list_key(slot, list), port, Protocols::TCP);
    if answer.0 == Answer::NONE.0 { default } else { answer }
}

/// Whether a walk goes no farther than it may.
const _: () = assert!(tls::BYTES < i32::MAX as usize);

#[cfg(test)]
#[path = "hello_tests.rs"]
mod tests;
