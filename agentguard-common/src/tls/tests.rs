//! Hellos made by hand, hellos that programs sent, and hellos made at random, which a
//! server, that of rustls, reads as well.

extern crate std;

use proptest::prelude::*;
use proptest::sample::Index;
use rustls::server::Acceptor;
use std::string::String;
use std::vec;
use std::vec::Vec;

use super::*;
use crate::name::NAME_BYTES;

const NAME: &[u8] = b"api.example.com";

/// What programs sent, and whether the name is in it.
const REAL: &[(&str, &[u8], bool)] = &[
    ("curl", include_bytes!("../../../tests/fuzz/seeds/tls/curl"), true),
    ("node", include_bytes!("../../../tests/fuzz/seeds/tls/node"), true),
    ("openssl", include_bytes!("../../../tests/fuzz/seeds/tls/openssl"), true),
    // In three records.
    ("openssl", include_bytes!("../../../tests/fuzz/seeds/tls/openssl-split"), true),
    // TLS 1.2 alone.
    ("rustls", include_bytes!("../../../tests/fuzz/seeds/tls/rustls-12"), true),
    // With a key share of X25519MLKEM768, as all that follow.
    ("rustls", include_bytes!("../../../tests/fuzz/seeds/tls/rustls-plain"), true),
    ("rustls", include_bytes!("../../../tests/fuzz/seeds/tls/rustls-grease"), true),
    // In records of 64 bytes.
    ("rustls", include_bytes!("../../../tests/fuzz/seeds/tls/rustls-small"), true),
    ("rustls", include_bytes!("../../../tests/fuzz/seeds/tls/rustls-no-name"), false),
];

/// What a walk through `bytes` says, and the name.
fn walk(bytes: &[u8]) -> (Outcome, Vec<u8>) {
    pieces(bytes, bytes.len())
}

/// The same when the bytes come `size` at a time, and earlier ones are gone.
fn pieces(bytes: &[u8], size: usize) -> (Outcome, Vec<u8>) {
    let mut name = [0; NAME_ROOM];
    let mut walk = Walk::new(0);
    let mut len = 0;
    let mut steps = 0;
    for piece in bytes.chunks(size.max(1)) {
        let mut here = Piece(piece, len);
        len += piece.len();
        walk.more(u32::try_from(len).unwrap());
        while walk.step(&mut here, &mut name) {
            steps += 1;
        }
        assert!(steps <= len, "each step but the last takes a byte");
    }
    let outcome = walk.outcome();
    let Outcome::Done(hello) = outcome else { return (outcome, Vec::new()) };
    assert!(hello.end as usize <= len, "{hello:?}");
    (outcome, name[..hello.name_len as usize].to_vec())
}

/// A piece of the bytes, and where it begins. Who asks for others gets none.
struct Piece<'a>(&'a [u8], usize);

impl Bytes for Piece<'_> {
    fn byte(&mut self, at: u32) -> u8 {
        self.0[at as usize - self.1]
    }
}

/// The name and the flags of a hello that is whole.
fn done(bytes: &[u8]) -> (Vec<u8>, u32) {
    let (Outcome::Done(hello), name) = walk(bytes) else { panic!("{:?}", walk(bytes).0) };
    (name, hello.flags)
}

/// `bytes` behind their number, which has `width` bytes.
fn sized(width: usize, bytes: &[u8]) -> Vec<u8> {
    let number = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&number[4 - width..], bytes].concat()
}

/// An extension.
fn extension(kind: u16, bytes: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &sized(2, bytes)].concat()
}

/// A `server_name` with these names, each of the type of hosts' names.
fn names(names: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = names.iter().flat_map(|name| [vec![0], sized(2, name)].concat()).collect();
    extension(0, &sized(2, &list))
}

/// The message, with these extensions, or without the field for them.
fn message(session: &[u8], extensions: Option<&[Vec<u8>]>) -> Vec<u8> {
    let mut body = [&[3, 3][..], &[7; 32], &sized(1, session)].concat();
    body.extend(sized(2, &[0x13, 1, 0x13, 2]));
    body.extend(sized(1, &[0]));
    body.extend(extensions.map(|all| sized(2, &all.concat())).unwrap_or_default());
    [vec![1], sized(3, &body)].concat()
}

/// A message in records of these sizes; the last is for the rest.
fn records(message: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut rest = message;
    let mut all = Vec::new();
    for size in sizes.iter().chain([&message.len()]) {
        let (record, behind) = rest.split_at((*size).min(rest.len()));
        if !record.is_empty() {
            all.extend([&[22, 3, 1][..], &sized(2, record)].concat());
        }
        rest = behind;
    }
    all
}

/// A hello in one record.
fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    records(&message(&[5; 32], Some(extensions)), &[])
}

/// What rustls makes of the bytes: the name of a hello that it takes, and `Err` for
/// everything else.
fn server(bytes: &[u8]) -> Result<Option<String>, ()> {
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        acceptor.read_tls(&mut rest).map_err(drop)?;
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                return Ok(accepted.client_hello().server_name().map(Into::into));
            }
            Ok(None) => {}
            Err(_) => return Err(()),
        }
    }
    Err(())
}

#[test]
fn the_names_in_real_hellos_are_found() {
    for (program, bytes, has_name) in REAL {
        let (name, flags) = done(bytes);
        assert_eq!(name, if *has_name { NAME } else { b"" }, "{program}");
        assert_eq!(flags & flag::NO_NAME == 0, *has_name, "{program}");
        assert_eq!(server(bytes).unwrap().is_some(), *has_name, "{program}");
    }
    let flags: Vec<u32> = REAL.iter().map(|(_, bytes, _)| done(bytes).1).collect();
    let (none, many) = (flag::NO_NAME, flag::FRAGMENTED);
    assert_eq!(flags, [0, 0, 0, many, 0, 0, flag::ECH, many, none]);
}

#[test]
fn a_real_hello_cut_anywhere_needs_more() {
    for (program, bytes, _) in REAL {
        for len in 0..bytes.len() {
            assert_eq!(walk(&bytes[..len]).0, Outcome::NeedMore, "{program} {len}");
        }
    }
}

#[test]
fn a_hello_may_have_no_name_and_no_extensions() {
    assert_eq!(done(&hello(&[])), (vec![], flag::NO_NAME));
    assert_eq!(done(&hello(&[extension(10, &[0, 0])])), (vec![], flag::NO_NAME));
    for session in [0, 1, 32] {
        let bytes = records(&message(&[5; 32][..session], None), &[]);
        assert_eq!(done(&bytes), (vec![], flag::NO_NAME), "{session}");
    }
}

#[test]
fn what_goes_before_the_server_answers_is_told() {
    let with = |kind, bytes: &[u8]| done(&hello(&[names(&[NAME]), extension(kind, bytes)]));
    assert_eq!(with(0xfe0d, &[0, 0, 1, 0, 1, 9]), (NAME.to_vec(), flag::ECH));
    assert_eq!(with(0xfe0d, &[1]), (NAME.to_vec(), 0), "what was encrypted, decrypted");
    assert_eq!(with(0xfe0d, &[]), (NAME.to_vec(), 0), "of no type, and nothing in it");
    assert_eq!(with(42, &[]), (NAME.to_vec(), flag::EARLY_DATA));
    assert_eq!(with(0x2a2a, &[1, 2, 3]), (NAME.to_vec(), 0));
    assert_eq!(done(&hello(&[extension(0xfe0d, &[0])])), (vec![], flag::ECH | flag::NO_NAME));
}

#[test]
fn a_name_is_put_together_from_any_records() {
    let schemes = extension(13, &[0, 2, 4, 3]);
    let extensions = [extension(0x5000, &[1; 1700]), schemes, names(&[NAME])];
    let message = message(&[5; 32], Some(&extensions));
    for size in 1..message.len() {
        let sizes = vec![size; message.len().div_ceil(size)];
        let bytes = records(&message, &sizes);
        assert_eq!(done(&bytes), (NAME.to_vec(), flag::FRAGMENTED), "{size}");
        assert_eq!(server(&bytes).unwrap().unwrap().as_bytes(), NAME, "{size}");
    }
}

#[test]
fn two_names_are_refused() {
    for extensions in [
        vec![names(&[NAME, b"b.test"])],
        vec![names(&[NAME]), names(&[NAME])],
        vec![names(&[NAME]), extension(10, &[0, 0]), names(&[b"b.test"])],
    ] {
        assert_eq!(walk(&hello(&extensions)).0, Outcome::Malformed);
    }
}

#[test]
fn broken_names_are_refused() {
    for bytes in [
        &b""[..],
        b"\0",
        b"\0\0",
        b"\0\x01\0",
        b"\0\x03\0\0\0",
        // Another type; a list that is too short, and too long; the same of the name.
        b"\0\x04\x01\0\x01a",
        b"\0\x03\0\0\x01a",
        b"\0\x05\0\0\x01a",
        b"\0\x04\0\0\0a",
        b"\0\x04\0\0\x02a",
        b"\0\x04\0\0\x01ab",
        // An extension in what is left of the list.
        b"\0\x08\0\0\x01a\x40\0\0\0",
    ] {
        let bytes = hello(&[extension(0, bytes), extension(10, &[0; 20])]);
        assert_eq!(walk(&bytes).0, Outcome::Malformed);
    }
    assert_eq!(done(&hello(&[names(&[&[b'a'; NAME_MAX]])])).0, [b'a'; NAME_MAX]);
    assert_eq!(walk(&hello(&[names(&[&[b'a'; NAME_MAX + 1]])])).0, Outcome::Malformed);
}

#[test]
fn other_protocols_are_not_tls() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        // SSL 2; an alert; application data; a version that is none; a ServerHello.
        b"\x80\x2e\x01\x03\x01",
        b"\x15\x03\x01\0\x02\x01\0",
        b"\x17\x03\x03\0\x01a",
        b"\x16\x02\x01\0\x05\x01",
        b"\x16\x03\x01\0\x05\x02",
    ] {
        assert_eq!(walk(bytes).0, Outcome::NotTls, "{bytes:?}");
        assert!(server(bytes).is_err());
    }
    assert_eq!(walk(b"").0, Outcome::NeedMore);
    assert_eq!(walk(b"\x16").0, Outcome::NeedMore);
}

#[test]
fn broken_records_are_refused() {
    let good = message(&[], Some(&[names(&[NAME])]));
    let (first, rest) = good.split_at(20);
    let record =
        |kind: u8, version: u8, bytes: &[u8]| [&[kind, version, 3][..], &sized(2, bytes)].concat();
    let begun = record(22, 3, first);
    for (bytes, why) in [
        (vec![22, 3, 1, 0, 0], "an empty record"),
        (vec![22, 3, 1, 0x40, 1], "a long record"),
        ([begun.clone(), record(22, 3, &[])].concat(), "an empty record in between"),
        ([begun.clone(), record(23, 3, rest)].concat(), "another type in between"),
        ([begun.clone(), record(22, 2, rest)].concat(), "another version in between"),
        (record(22, 3, &[&good[..], b"\x01"].concat()), "something behind the message"),
        ([begun, record(22, 3, &[rest, b"\x01"].concat())].concat(), "the same, later"),
    ] {
        assert_eq!(walk(&bytes).0, Outcome::Malformed, "{why}");
    }
    let all = [record(22, 3, &good), record(20, 3, &[1])].concat();
    assert_eq!(done(&all), (NAME.to_vec(), 0), "what follows in other records is not read");
}

#[test]
fn every_length_must_add_up() {
    let good = message(&[5; 32], Some(&[names(&[NAME]), extension(10, &[0; 4])]));
    // The message, session, ciphers, compressions, extensions, name, list, name, last.
    for at in [3, 38, 72, 77, 80, 84, 86, 89, 108] {
        for change in [1, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = bytes[at].wrapping_add(change);
            // What is beyond the message is malformed by itself.
            let more: &[u8] = if at == 3 { &[0] } else { &[] };
            let bytes = records(&[&bytes[..], more].concat(), &[]);
            assert_eq!(walk(&bytes).0, Outcome::Malformed, "{at} {change}");
        }
    }
    let mut bytes = good;
    bytes[4] = 2;
    assert_eq!(walk(&records(&bytes, &[])).0, Outcome::Malformed, "the version");
}

#[test]
fn lists_have_their_bounds() {
    let hello = |session: usize, ciphers: usize, compressions: usize| {
        let lists = [
            sized(1, &vec![5; session]),
            sized(2, &vec![0x13; ciphers]),
            sized(1, &vec![0; compressions]),
        ];
        let body = [&[3, 3][..], &[7; 32], &lists.concat(), &sized(2, &names(&[NAME]))].concat();
        walk(&records(&[vec![1], sized(3, &body)].concat(), &[])).1
    };
    for good in [(0, 2, 1), (32, 2, 1), (0, 400, 1), (0, 2, 255)] {
        assert_eq!(hello(good.0, good.1, good.2), NAME, "{good:?}");
    }
    for bad in [(33, 2, 1), (0, 0, 1), (0, 3, 1), (0, 2, 0)] {
        assert_eq!(hello(bad.0, bad.1, bad.2), b"", "{bad:?}");
    }
}

#[test]
fn longer_messages_are_refused() {
    let of = |len: usize| {
        let short = hello(&[names(&[NAME]), extension(51, &[])]).len();
        hello(&[names(&[NAME]), extension(51, &vec![1; len - short])])
    };
    assert_eq!(done(&of(BYTES)), (NAME.to_vec(), 0));
    let long = of(BYTES + 1);
    assert_eq!(walk(&long[..8]).0, Outcome::NeedMore);
    assert_eq!(walk(&long[..9]).0, Outcome::Malformed);
    // Many records make a message too long that would fit.
    let many = records(&of(4000)[5..], &vec![1; 4000]);
    assert_eq!(walk(&many[..BYTES - 1]).0, Outcome::NeedMore);
    assert_eq!(walk(&many[..BYTES]).0, Outcome::Malformed);
    // No length that is claimed leads out of the bytes.
    let more = records(&of(BYTES)[5..], &[4; 9]);
    let (mut piece, mut name) = (Piece(&more[..BYTES], 0), [0; NAME_ROOM]);
    assert_eq!(Walk::new(u32::MAX).run(&mut piece, &mut name), Outcome::Malformed);
}

#[test]
fn a_second_hello_is_found_behind_the_first() {
    let walk = |bytes: &[u8]| {
        let mut walk = Walk::again(u32::try_from(bytes.len()).unwrap());
        let mut name = [0; NAME_ROOM];
        let outcome = walk.run(&mut Piece(bytes, 0), &mut name);
        let Outcome::Done(hello) = outcome else { return (outcome, Vec::new()) };
        (outcome, name[..hello.name_len as usize].to_vec())
    };
    let change: &[u8] = &[20, 3, 3, 0, 1, 1];
    let second = hello(&[names(&[NAME])]);
    assert_eq!(walk(&second).1, NAME);
    assert_eq!(walk(&[change, &second].concat()).1, NAME);
    for len in 0..change.len() + second.len() {
        let cut = &[change, &second].concat()[..len];
        assert_eq!(walk(cut).0, Outcome::NeedMore, "{len}");
    }
    // What comes as a rule: data, or another message of the handshake.
    assert_eq!(walk(&[23, 3, 3, 0, 9]).0, Outcome::NotTls);
    assert_eq!(walk(&[change, &[23, 3, 3, 0, 9]].concat()).0, Outcome::NotTls);
    assert_eq!(walk(&[22, 3, 3, 0, 9, 16, 0, 0]).0, Outcome::NotTls);
    // Nothing but that one byte is passed over.
    assert_eq!(walk(&[20, 3, 3, 0, 2, 1, 1]).0, Outcome::Malformed);
    // A first hello has no such record before it.
    assert_eq!(super::tests::walk(&[change, &second].concat()).0, Outcome::NotTls);
}

/// The key of a name, where it is one.
fn spelled(text: &[u8]) -> Option<Key> {
    let mut name = [0xee; NAME_ROOM];
    name[..text.len()].copy_from_slice(text);
    let end = end_of(&name, u32::try_from(text.len()).unwrap());
    let mut key = Key { bits: 0, policy: 0, name: [0; NAME_BYTES] };
    let right = (0..end).all(|at| spell(&name, end, at, &mut key));
    (right && end != 0).then_some(key)
}

#[test]
fn a_name_is_spelled_as_the_tables_have_it() {
    let longest = vec!["a".repeat(61); 4].join(".") + ".exam";
    for (text, name) in [
        ("api.Example.COM", "api.example.com"),
        ("a.b.", "a.b"),
        ("_x-1.y", "_x-1.y"),
        (longest.as_str(), longest.as_str()),
    ] {
        let expected = Key::exact(0, name).unwrap().name;
        assert_eq!(spelled(text.as_bytes()).unwrap().name, expected, "{text}");
    }
    for wrong in [&b""[..], b".", b".a.b", b"a..b", b"a.b..", b"a b", b"a\0b", b"a/b", b"\xc3\xa9"]
    {
        assert_eq!(spelled(wrong), None, "{wrong:?}");
    }
}

/// Extensions that rustls has no opinion on, in any order, with a name among them or not.
fn any_extensions() -> impl Strategy<Value = (Vec<Vec<u8>>, Option<String>)> {
    let unknown = (0x4000u16..0x8000, proptest::collection::vec(any::<u8>(), 0..300));
    let name = "[a-z][a-z0-9-]{0,20}[a-z](\\.[a-z][a-z0-9]{0,30}){0,6}";
    let kinds = proptest::collection::btree_map(unknown.0, unknown.1, 0..12);
    (kinds, proptest::option::of(name), any::<Index>(), any::<u64>()).prop_map(
        |(kinds, name, at, turn)| {
            let mut all: Vec<_> =
                kinds.iter().map(|(kind, bytes)| extension(*kind, bytes)).collect();
            all.sort_by_key(|bytes| {
                bytes.iter().fold(turn, |sum, byte| {
                    sum.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(*byte))
                })
            });
            // No server goes without signature algorithms.
            all.insert(at.index(all.len() + 1), extension(13, &[0, 2, 4, 3]));
            if let Some(name) = &name {
                all.insert(at.index(all.len() + 1), names(&[name.as_bytes()]));
            }
            (all, name)
        },
    )
}

/// A hello in one record or more, and the name in it.
fn any_hello() -> impl Strategy<Value = (Vec<u8>, Option<String>)> {
    let session = proptest::collection::vec(any::<u8>(), 0..=32);
    let sizes = proptest::collection::vec(prop_oneof![1usize..4, 1usize..600], 0..8);
    (session, any_extensions(), sizes).prop_map(|(session, (extensions, name), sizes)| {
        (records(&message(&session, Some(&extensions)), &sizes), name)
    })
}

proptest! {
    #[test]
    fn servers_find_the_same_name((bytes, name) in any_hello()) {
        let (found, flags) = done(&bytes);
        prop_assert_eq!(flags & flag::NO_NAME == 0, name.is_some());
        prop_assert_eq!(&found, name.as_deref().unwrap_or_default().as_bytes());
        prop_assert_eq!(server(&bytes), Ok(name));
    }

    #[test]
    fn it_does_not_matter_in_which_pieces_they_come((bytes, _) in any_hello(), size in 1usize..99) {
        prop_assert_eq!(pieces(&bytes, size), walk(&bytes));
    }

    #[test]
    fn a_hello_cut_anywhere_needs_more((bytes, _) in any_hello(), at in any::<Index>()) {
        prop_assert_eq!(walk(&bytes[..at.index(bytes.len())]).0, Outcome::NeedMore);
    }

    #[test]
    fn no_server_finds_another_name_in_a_broken_one(
        (mut bytes, _) in any_hello(),
        changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..5),
    ) {
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let (outcome, name) = walk(&bytes);
        if let Ok(theirs) = server(&bytes) {
            prop_assert!(matches!(outcome, Outcome::Done(_) | Outcome::Malformed), "{:?}", outcome);
            if let (Outcome::Done(_), Some(theirs)) = (outcome, theirs) {
                // rustls tells names in small letters.
                prop_assert_eq!(name.to_ascii_lowercase(), theirs.into_bytes());
            }
        }
    }

    #[test]
    fn what_was_said_of_a_beginning_stays_true(
        (mut bytes, _) in any_hello(),
        change in any::<Index>(),
        byte in any::<u8>(),
        at in any::<Index>(),
    ) {
        let change = change.index(bytes.len());
        bytes[change] = byte;
        let (beginning, _) = walk(&bytes[..at.index(bytes.len())]);
        prop_assert!(beginning == Outcome::NeedMore || beginning == walk(&bytes).0);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        walk(&bytes);
        walk(&[&[22, 3, 1, 2, 0, 1, 0, 1, 0xf0, 3, 3][..], &bytes].concat());
    }

    #[test]
    fn no_walk_makes_it_panic_or_go_on(numbers in any::<[u32; 17]>(), begun in any::<bool>()) {
        let mut walk: Walk = bytemuck::cast(numbers);
        if begun {
            walk.state = NEED_MORE;
            walk.at &= ROOM - 1;
            walk.field &= 15;
        }
        let (buffer, mut name) = ([0x16; BYTES], [0; NAME_ROOM]);
        walk.run(&mut Piece(&buffer, 0), &mut name);
        prop_assert!(!walk.step(&mut Piece(&buffer, 0), &mut name));
    }
}
