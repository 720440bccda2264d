//! Calls that are held: what a rule says `ask` of waits inside the system call until a person
//! or a program answers, and then goes on or is refused.
//!
//! The hook lets the kernel start the call again and again (`-ERESTARTNOINTR`), and the daemon
//! makes the process stand still meanwhile. Each time the facts are looked at anew: what has
//! been answered is one question, known by a [`digest`], and a call that has become another
//! one meanwhile is another question.

use bytemuck::{Pod, Zeroable};

use crate::file::Deed;
use crate::verdict::{Reason, Ruling, Verdict};

/// How many questions and answers there can be at once, on a host.
pub const MAX_HOLDS: u32 = 65_536;
/// How many calls of one session can be held at once; what comes on top is refused.
pub const MAX_HELD: u64 = 1_024;
/// How long a call is held where the policy does not say, in seconds.
pub const PATIENCE: u32 = 300;
/// How long the daemon counts as there after it was last seen, in nanoseconds.
pub const LEASE: u64 = 10_000_000_000;
/// How long a connection that was let through once may take until its TLS handshake.
pub const HELLO: u64 = 60_000_000_000;

/// What a hook returns for a call that is to be started again: `-ERESTARTNOINTR` of
/// `linux/errno.h`. No program sees it, as long as a signal is about to be delivered.
pub const AGAIN: i32 = -513;

/// Whose question it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct HoldKey {
    /// The session.
    pub session: u64,
    /// What is asked, see [`digest`].
    pub digest: u64,
    /// The thread whose call is held, the process for an exec; 0 for an answer to all of the
    /// session's.
    pub thread: u32,
    /// Zero.
    pub reserved: u32,
}

impl HoldKey {
    /// The key of one thread's question, or with 0 that of all.
    #[inline(always)]
    #[must_use]
    pub const fn new(session: u64, digest: u64, thread: u32) -> Self {
        Self { session, digest, thread, reserved: 0 }
    }
}

/// A question, or what it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Hold {
    /// Until when, in nanoseconds since boot: the question waits, the answer is good. 0 for an
    /// answer that is good as long as the session lives.
    pub until: u64,
    /// A [`state`].
    pub state: u32,
    /// For [`state::REFUSED`] and [`state::DENIED`] a [`Reason`]; for [`state::USED`] the
    /// system call.
    pub detail: u32,
    /// For [`state::USED`] how far the call has come, a [`step`].
    pub step: u32,
    /// The process whose call it is.
    pub process: u32,
}

/// States of a [`Hold`].
pub mod state {
    /// Nobody has answered yet.
    pub const WAITING: u32 = 1;
    /// This call may go on.
    pub const ONCE: u32 = 2;
    /// It may, and has begun to: what else the kernel asks about it is answered too.
    pub const USED: u32 = 3;
    /// This call is refused.
    pub const REFUSED: u32 = 4;
    /// All such calls of the session may go on.
    pub const ALLOWED: u32 = 5;
    /// All such calls of the session are refused.
    pub const DENIED: u32 = 6;
}

/// What is to become of a call: an outcome, a reason, and whether the question is a new one,
/// in one number for the kernel's verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held(pub u64);

impl Held {
    /// It is started again, and was told of.
    pub const AGAIN: Self = Self(2);
    /// It is started again, and is to be told of.
    pub const NEW: Self = Self(3);

    /// It goes on.
    pub const PASSES: Self = Self((Reason::Approved as u64) << 8 | 1);

    /// It is refused.
    #[inline(always)]
    #[must_use]
    pub const fn refused(reason: Reason) -> Self {
        Self((reason as u64) << 8)
    }

    /// The same for the number of a [`Reason`].
    #[inline(always)]
    #[must_use]
    pub const fn refused_as(reason: u32) -> Self {
        Self((reason as u64 & 0xff) << 8)
    }

    /// Whether it goes on.
    #[inline(always)]
    #[must_use]
    pub const fn passes(self) -> bool {
        self.0 & 3 == 1
    }

    /// Whether it is started again.
    #[inline(always)]
    #[must_use]
    pub const fn waits(self) -> bool {
        self.0 & 2 != 0
    }

    /// The number of the [`Reason`] of what does not wait.
    #[inline(always)]
    #[must_use]
    pub const fn reason(self) -> u8 {
        (self.0 >> 8 & 0xff) as u8
    }
}

impl Held {
    /// As a ruling, of what does not wait.
    #[inline(always)]
    #[must_use]
    pub const fn ruling(self, rule: u32) -> Ruling {
        let verdict = if self.passes() { Verdict::Allow } else { Verdict::Deny };
        let reason = match Reason::from_u8(self.reason()) {
            Some(reason) => reason,
            None => Reason::Malformed,
        };
        Ruling { verdict, reason, rule }
    }
}

/// What kind of question it is.
pub mod class {
    /// A connection, or a message to an address.
    pub const ADDRESS: u64 = 1;
    /// The same where a name led there.
    pub const NAME: u64 = 2;
    /// A TLS handshake on a connection that was let through once, by address or by name.
    pub const HELLO: u64 = 4;
    /// To read a file.
    pub const READ: u64 = 8;
    /// To change one.
    pub const WRITE: u64 = 9;
    /// To execute one.
    pub const EXEC: u64 = 10;
    /// To connect to a unix socket, or to send to it.
    pub const UNIX: u64 = 11;
}

/// How far within a system call a deed is: the kernel asks about an open that makes a file,
/// then about the open, then about cutting it short.
pub mod step {
    /// The first thing.
    pub const FIRST: u32 = 1;
    /// To open it.
    pub const OPEN: u32 = 2;
    /// What follows from that: to cut it short, to map a program.
    pub const AFTER: u32 = 3;
}

/// The [`step`] of a deed.
#[inline(always)]
#[must_use]
pub const fn step_of(deed: u8) -> u32 {
    const OPENS: u32 = 1 << Deed::Read as u32 | 1 << Deed::Write as u32 | 1 << Deed::Exec as u32;
    const AFTER: u32 = 1 << Deed::Truncate as u32 | 1 << Deed::Map as u32;
    let bit = 1u32 << (deed & 31);
    if bit & AFTER != 0 {
        step::AFTER
    } else if bit & OPENS != 0 {
        step::OPEN
    } else {
        step::FIRST
    }
}

/// Whether a call that may go on, and has come to a step, may take another one. Several of what
/// follows are one.
#[inline(always)]
#[must_use]
pub const fn goes_on(hold: &Hold, step: u32, call: u32) -> bool {
    let farther = step > hold.step || step == step::AFTER && hold.step == step::AFTER;
    hold.detail == call && farther
}

/// Whether a system call of `x86_64` can be started again: it returns what the hook does, and
/// has done nothing until then.
#[inline(always)]
#[must_use]
pub const fn can_wait(call: u64) -> bool {
    // connect, sendto, sendmsg, sendmmsg
    let sends = matches!(call, 42 | 44 | 46 | 307);
    // open, creat, openat, openat2, mmap; execve, execveat
    let opens = matches!(call, 2 | 85 | 257 | 437 | 9 | 59 | 322);
    // rename, mkdir, rmdir, link, unlink, symlink, mknod; those with `at`
    let names = matches!(call, 82..=84 | 86..=88 | 133 | 258 | 259 | 263..=266 | 316);
    // truncate, chmod, chown, lchown, utime, utimes; those with `at`; setxattr, lsetxattr,
    // removexattr, lremovexattr
    let marks = matches!(call, 76 | 90 | 92 | 94 | 132 | 235 | 260 | 261 | 268 | 280 | 452)
        || matches!(call, 188 | 189 | 197 | 198);
    sends || opens || names || marks
}

/// What is asked, as one number that nobody can aim at who does not know the keys: `SipHash`
/// (Aumasson and Bernstein, 2012), with two rounds a word and four at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Digest {
    v: [u64; 4],
    words: u64,
}

impl Digest {
    /// Begins.
    #[inline(always)]
    #[must_use]
    pub const fn new(keys: [u64; 2]) -> Self {
        let v = [
            keys[0] ^ 0x736f_6d65_7073_6575,
            keys[1] ^ 0x646f_7261_6e64_6f6d,
            keys[0] ^ 0x6c79_6765_6e65_7261,
            keys[1] ^ 0x7465_6462_7974_6573,
        ];
        Self { v, words: 0 }
    }

    #[inline(always)]
    const fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.v;
        a = a.wrapping_add(b);
        c = c.wrapping_add(d);
        b = b.rotate_left(13) ^ a;
        d = d.rotate_left(16) ^ c;
        a = a.rotate_left(32);
        c = c.wrapping_add(b);
        a = a.wrapping_add(d);
        b = b.rotate_left(17) ^ c;
        d = d.rotate_left(21) ^ a;
        c = c.rotate_left(32);
        self.v = [a, b, c, d];
    }

    /// Takes a word.
    #[inline(always)]
    pub const fn word(&mut self, word: u64) {
        self.v[3] ^= word;
        self.round();
        self.round();
        self.v[0] ^= word;
        self.words = self.words.wrapping_add(1);
    }

    /// The number, never 0. What was taken are whole words, so nothing is left over for the
    /// last one but how many bytes it was.
    #[inline(always)]
    #[must_use]
    pub const fn end(mut self) -> u64 {
        self.word(self.words << 3 << 56);
        self.v[2] ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.round();
        let digest = self.v[0] ^ self.v[1] ^ self.v[2] ^ self.v[3];
        if digest == 0 { 1 } else { digest }
    }
}

/// The digest of four words.
#[inline(always)]
#[must_use]
pub const fn digest(keys: [u64; 2], words: [u64; 4]) -> u64 {
    let mut digest = Digest::new(keys);
    digest.word(words[0]);
    digest.word(words[1]);
    digest.word(words[2]);
    digest.word(words[3]);
    digest.end()
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::hash::Hasher as _;

    proptest! {
        #[test]
        #[expect(deprecated, reason = "the standard library's has keys")]
        fn the_digest_is_siphash(keys: [u64; 2], words in prop::collection::vec(any::<u64>(), 0..40)) {
            let mut theirs = std::hash::SipHasher::new_with_keys(keys[0], keys[1]);
            let mut ours = Digest::new(keys);
            for word in words {
                theirs.write(&word.to_le_bytes());
                ours.word(word);
            }
            prop_assert_eq!(ours.end(), theirs.finish());
        }
    }

    #[test]
    fn calls_are_known_by_their_numbers() {
        for (call, waits) in [
            (libc::SYS_connect, true),
            (libc::SYS_sendto, true),
            (libc::SYS_openat2, true),
            (libc::SYS_execveat, true),
            (libc::SYS_renameat2, true),
            (libc::SYS_fchmodat2, true),
            (libc::SYS_utimensat, true),
            (libc::SYS_io_uring_enter, false),
            (libc::SYS_write, false),
            (libc::SYS_sendfile, false),
            (libc::SYS_recvmsg, false),
            (libc::SYS_restart_syscall, false),
        ] {
            assert_eq!(can_wait(call.cast_unsigned()), waits, "{call}");
        }
        assert!(!can_wait(u64::MAX));
        assert_eq!((0..1024).filter(|call| can_wait(*call)).count(), 40);
    }

    #[test]
    fn an_open_that_makes_a_file_is_one_call() {
        let used =
            |step, call| Hold { until: 0, state: state::USED, detail: call, step, process: 1 };
        let order = [Deed::Create, Deed::Write, Deed::Truncate];
        for pair in order.windows(2) {
            let (before, after) = (step_of(pair[0] as u8), step_of(pair[1] as u8));
            assert!(goes_on(&used(before, 257), after, 257), "{pair:?}");
            assert!(!goes_on(&used(before, 257), after, 2), "another call");
            assert!(!goes_on(&used(after, 257), before, 257), "it is over");
        }
        let (exec, map) = (step_of(Deed::Exec as u8), step_of(Deed::Map as u8));
        assert!(goes_on(&used(exec, 59), map, 59));
        assert!(goes_on(&used(map, 59), map, 59));
        assert!(!goes_on(&used(exec, 59), exec, 59));
        assert!(!goes_on(&used(step::FIRST, 87), step_of(Deed::Delete as u8), 87));
    }

    #[test]
    fn what_becomes_of_a_call_is_told_apart() {
        let refused = Held::refused(Reason::Unanswered);
        assert_eq!(Reason::from_u8(refused.reason()), Some(Reason::Unanswered));
        assert!(!refused.passes() && !refused.waits());
        assert!(Held::PASSES.passes() && !Held::PASSES.waits());
        for held in [Held::AGAIN, Held::NEW] {
            assert!(held.waits() && !held.passes());
        }
    }
}
