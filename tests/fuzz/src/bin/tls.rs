//! Whatever a task sends, the name of the server is read in bounded time, from whole
//! messages only, the same in whatever pieces and records they come, and never another
//! than a server reads.

#![no_main]

use agentguard_common::tls::{BYTES, Bytes, NAME_ROOM, Outcome, STEPS, Walk};
use libfuzzer_sys::fuzz_target;
use rustls::server::Acceptor;

fuzz_target!(|bytes: &[u8]| {
    let Some(bytes) = bytes.get(..bytes.len().min(BYTES)) else { return };
    let (outcome, name) = walk(bytes);
    for len in [bytes.len() / 2, bytes.len().saturating_sub(1)] {
        let (beginning, _) = walk(&bytes[..len]);
        assert!(beginning == Outcome::NeedMore || beginning == outcome, "{len}: {beginning:?}");
    }
    assert_eq!(one_by_one(bytes), (outcome, name.clone()));
    if let Outcome::Done(hello) = outcome {
        let otherwise = spread(&bytes[..hello.end as usize]);
        if otherwise.len() <= BYTES {
            let (outcome, found) = walk(&otherwise);
            assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?} in other records");
            assert_eq!(found, name);
        }
    }
    if let Some(theirs) = server(bytes) {
        assert!(matches!(outcome, Outcome::Done(_) | Outcome::Malformed), "{outcome:?}");
        if let (Outcome::Done(_), Some(theirs)) = (outcome, theirs) {
            assert_eq!(name.to_ascii_lowercase(), theirs.into_bytes());
        }
    }
});

/// Bytes that begin somewhere; there are no others.
struct Piece<'a>(&'a [u8], usize);

impl Bytes for Piece<'_> {
    fn byte(&mut self, at: u32) -> u8 {
        self.0[at as usize - self.1]
    }
}

/// What a walk through all bytes says, and the name.
fn walk(bytes: &[u8]) -> (Outcome, Vec<u8>) {
    let mut buffer = [0xaa; NAME_ROOM];
    let mut walk = Walk::new(bytes.len() as u32);
    let mut steps = 1;
    while walk.step(&mut Piece(bytes, 0), &mut buffer) {
        steps += 1;
    }
    assert!(steps <= STEPS && steps <= bytes.len() as u32 + 1, "{steps} steps");
    (walk.outcome(), name(&walk, bytes.len(), &buffer))
}

/// The same, when each byte comes alone and is gone before the next.
fn one_by_one(bytes: &[u8]) -> (Outcome, Vec<u8>) {
    let mut buffer = [0; NAME_ROOM];
    let mut walk = Walk::new(0);
    for (at, byte) in bytes.iter().enumerate() {
        assert_eq!(walk.outcome(), Outcome::NeedMore);
        walk.more(at as u32 + 1);
        walk.run(&mut Piece(&[*byte], at), &mut buffer);
        if walk.outcome() != Outcome::NeedMore {
            break;
        }
    }
    (walk.outcome(), name(&walk, bytes.len(), &buffer))
}

fn name(walk: &Walk, len: usize, buffer: &[u8; NAME_ROOM]) -> Vec<u8> {
    let Outcome::Done(hello) = walk.outcome() else { return Vec::new() };
    assert!(hello.end as usize <= len, "{hello:?}");
    buffer[..hello.name_len as usize].to_vec()
}

/// The same message in other records, of one byte to eight.
fn spread(bytes: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    let mut rest = bytes;
    while let [_, _, _, high, low, behind @ ..] = rest {
        let (record, behind) = behind.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        message.extend_from_slice(record);
        rest = behind;
    }
    let mut rest = &message[..];
    let mut all = Vec::new();
    while let [first, ..] = rest {
        let (record, behind) = rest.split_at(rest.len().min(1 + usize::from(*first & 7)));
        all.extend_from_slice(&[22, 3, 3, 0, record.len() as u8]);
        all.extend_from_slice(record);
        rest = behind;
    }
    all
}

/// The name in a message that rustls takes; `None` where it does not.
fn server(bytes: &[u8]) -> Option<Option<String>> {
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        acceptor.read_tls(&mut rest).ok()?;
        if let Some(accepted) = acceptor.accept().ok()? {
            return Some(accepted.client_hello().server_name().map(str::to_owned));
        }
    }
    None
}
