//! Held against `simple-dns`, which builds the messages and reads them again.

extern crate std;

use std::boxed::Box;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::vec::Vec;

use bytemuck::Zeroable as _;
use proptest::prelude::*;
use simple_dns::rdata::{self, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, ResourceRecord, TYPE};

use super::*;

fn buffer(message: &[u8]) -> (Box<[u8; BYTES]>, u32) {
    let mut bytes = Box::new([0xa5; BYTES]);
    bytes[..message.len()].copy_from_slice(message);
    (bytes, u32::try_from(message.len()).unwrap())
}

/// The name of a key as people write it.
fn text(key: &Key, len: u32) -> std::string::String {
    let name = &key.name[..len as usize];
    name.iter().rev().map(|byte| char::from(*byte)).collect()
}

/// What a message asks for, if it is a plain question.
fn asked(message: &[u8]) -> Option<(std::string::String, u16)> {
    let (mut bytes, len) = buffer(message);
    if len < HEADER {
        return None;
    }
    let header = Header::read(&bytes);
    let mut key = Key::zeroed();
    let mut found = Question::default();
    if !question(&mut bytes, len, &mut key, &mut found) {
        return None;
    }
    let question = found;
    (header.asks() && ends_well(&bytes, len, &header, question.end))
        .then(|| (text(&key, question.name_len), question.kind))
}

/// The addresses of an answer with their lives, or whether it is not in order.
fn given(message: &[u8]) -> Result<Vec<(Address, u32)>, ()> {
    let (mut bytes, len) = buffer(message);
    if len < HEADER {
        return Err(());
    }
    let header = Header::read(&bytes);
    let mut found = Question::default();
    if !question(&mut bytes, len, &mut Key::zeroed(), &mut found) {
        return Err(());
    }
    let question = found;
    if !header.answers() {
        return Err(());
    }
    let mut walk = Walk::new(&header, question.end, len);
    let mut found = Vec::new();
    for _ in 0..STEPS {
        match walk.step(&bytes) {
            Step::On => {}
            Step::Address => found.push((walk.address, walk.ttl)),
            Step::End => return Ok(found),
            Step::Malformed => return Err(()),
        }
    }
    Err(())
}

fn query(name: &str, kind: TYPE) -> Vec<u8> {
    let mut packet = Packet::new_query(0x1234);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(simple_dns::Question::new(
        Name::new(name).unwrap(),
        QTYPE::TYPE(kind),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    packet.build_bytes_vec().unwrap()
}

#[test]
fn a_question_is_read_in_small_letters() {
    let message = query("API.GitHub.com", TYPE::A);
    assert_eq!(asked(&message), Some(("api.github.com".into(), 1)));
    let key = Key::exact(0, "api.github.com").unwrap();
    let (mut bytes, len) = buffer(&message);
    let mut read = Key::zeroed();
    assert!(question(&mut bytes, len, &mut read, &mut Question::default()));
    assert_eq!(read.name, key.name);
}

#[test]
fn words_are_read_as_bytes_are() {
    for byte in 0..=u8::MAX {
        let word = each(byte);
        assert_eq!(lower(word), each(byte.to_ascii_lowercase()), "{byte:x}");
        assert_eq!(count(zeros(word ^ u64::from(byte))), u64::from(byte == 0) * 7 + 1);
        // Neighbours do not touch one another.
        for beside in [0, 1, 0x7f, 0x80, 0xff, b'A', b'Z', b'.'] {
            let word = u64::from_be_bytes([beside, byte, beside, byte, byte, beside, 1, 0]);
            let bytes = [beside, byte, beside, byte, byte, beside, 1, 0];
            let expected = bytes.map(|byte| byte.to_ascii_lowercase());
            assert_eq!(lower(word).to_be_bytes(), expected);
            let nuls = bytes.iter().filter(|byte| **byte == 0).count();
            assert_eq!(count(zeros(word)), nuls as u64);
        }
    }
}

#[test]
fn the_root_has_no_name() {
    let message = [&[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &[0, 0, 2, 0, 1]].concat();
    assert_eq!(asked(&message), Some(("".into(), 2)));
}

#[test]
fn what_a_question_may_not_bring() {
    let plain = query("a.test", TYPE::A);
    assert!(asked(&plain).is_some());
    // More behind it; answers; another opcode; two questions; a compressed name.
    let longer = [&plain[..], b"x"].concat();
    let changed = |at: usize, to: u8| {
        let mut message = plain.clone();
        message[at] = to;
        message
    };
    let class = plain.len() - 1;
    for message in [
        longer,
        changed(2, 0x29),
        changed(3, 0x01),
        changed(3, 0x80),
        changed(5, 2),
        changed(5, 0),
        changed(7, 1),
        changed(9, 1),
        changed(11, 1),
        changed(11, 2),
        changed(12, 0xc0),
        changed(12, 0x40),
        changed(13, 0),
        changed(13, b'.'),
        changed(class, 3),
    ] {
        assert_eq!(asked(&message), None, "{message:02x?}");
    }
    // With an OPT record, as resolvers send it, and with one that is too long.
    let opt = |options: &[u8]| {
        let mut message = changed(11, 1);
        message.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0]);
        message.extend(u16::try_from(options.len()).unwrap().to_be_bytes());
        message.extend(options);
        message
    };
    assert!(asked(&opt(&[])).is_some());
    assert!(asked(&opt(&[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8])).is_some());
    assert!(asked(&opt(&[0; 129])).is_none());
}

#[test]
fn the_longest_names_are_read_and_longer_ones_are_not() {
    let label = [&[63][..], &[b'a'; 63]].concat();
    let name = |last: usize| {
        let mut message = std::vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        (0..3).for_each(|_| message.extend(&label));
        message.push(u8::try_from(last).unwrap());
        message.extend(std::vec![b'b'; last]);
        message.extend([0, 0, 1, 0, 1]);
        message
    };
    assert_eq!(asked(&name(61)).unwrap().0.len(), crate::name::NAME_MAX);
    assert_eq!(asked(&name(62)), None);
    assert_eq!(asked(&name(63)), None);
    // 127 labels of one letter.
    let mut many = std::vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    (0..127).for_each(|_| many.extend([1, b'a']));
    many.extend([0, 0, 1, 0, 1]);
    assert_eq!(asked(&many).unwrap().0.len(), 253);
}

/// A service record by hand: the library writes no hints of ours.
#[test]
fn hints_of_services_are_addresses() {
    let mut message = query("a.test", TYPE::A);
    message[2] = 0x81;
    message[7] = 1;
    let data = [
        &[0, 1, 0][..],
        &[0, 1, 0, 3, 2, b'h', b'2'],
        &[0, 4, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0, 6, 0, 16, 0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
    ]
    .concat();
    message.extend([0xc0, 12, 0, 65, 0, 1, 0, 0, 0, 60]);
    message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    message.extend(&data);
    let v6 = Address { high: 0x2001_0000_0000_0000, low: 9 };
    let expected = [(0x0102_0304, 60), (0x0506_0708, 60)].map(|(of, ttl)| (Address::v4(of), ttl));
    let expected = [&expected[..], &[(v6, 60)]].concat();
    assert_eq!(given(&message), Ok(expected));
    for cut in 1..data.len() {
        assert_eq!(given(&message[..message.len() - cut]), Err(()), "{cut}");
    }
}

#[test]
fn an_alias_shortens_the_life_of_what_it_leads_to() {
    let name = Name::new("a.test").unwrap();
    let other = Name::new("b.test").unwrap();
    let mut packet = Packet::new_reply(7);
    packet.questions.push(simple_dns::Question::new(
        name.clone(),
        QTYPE::TYPE(TYPE::A),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    let alias = RData::CNAME(rdata::CNAME(other.clone()));
    packet.answers.push(ResourceRecord::new(name, CLASS::IN, 5, alias));
    let address = RData::A(rdata::A { address: 0x0102_0304 });
    packet.answers.push(ResourceRecord::new(other, CLASS::IN, 900, address));
    let message = packet.build_bytes_vec_compressed().unwrap();
    assert_eq!(given(&message), Ok(std::vec![(Address::v4(0x0102_0304), 5)]));
}

fn name() -> impl Strategy<Value = std::string::String> {
    proptest::collection::vec("[a-zA-Z0-9_-]{1,20}", 1..6).prop_map(|labels| labels.join("."))
}

fn record() -> impl Strategy<Value = (std::string::String, u32, RData<'static>)> {
    let data = prop_oneof![
        any::<u32>().prop_map(|address| RData::A(rdata::A { address })),
        any::<u128>().prop_map(|address| RData::AAAA(rdata::AAAA { address })),
        name().prop_map(|to| RData::CNAME(rdata::CNAME(Name::new_unchecked(&to).into_owned()))),
        name().prop_map(|to| RData::NS(rdata::NS(Name::new_unchecked(&to).into_owned()))),
    ];
    (name(), 0u32..0x7fff_ffff, data)
}

fn answer(
    asked: &str,
    records: &[(std::string::String, u32, RData<'static>)],
    compressed: bool,
) -> Vec<u8> {
    let mut packet = Packet::new_reply(7);
    packet.questions.push(simple_dns::Question::new(
        Name::new_unchecked(asked),
        QTYPE::TYPE(TYPE::A),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    for (name, ttl, data) in records {
        let name = Name::new_unchecked(name);
        packet.answers.push(ResourceRecord::new(name, CLASS::IN, *ttl, data.clone()));
    }
    match compressed {
        true => packet.build_bytes_vec_compressed().unwrap(),
        false => packet.build_bytes_vec().unwrap(),
    }
}

proptest! {
    #[test]
    fn questions_are_read_as_the_library_reads_them(name in name()) {
        let message = query(&name, TYPE::AAAA);
        prop_assert_eq!(asked(&message), Some((name.to_ascii_lowercase(), 28)));
    }

    #[test]
    fn answers_are_read_as_the_library_reads_them(
        name in name(),
        records in proptest::collection::vec(record(), 0..20),
        compressed: bool,
    ) {
        let message = answer(&name, &records, compressed);
        let mut alias = u32::MAX;
        let mut expected = Vec::new();
        for (_, ttl, data) in &records {
            match data {
                RData::A(a) => expected.push((Address::v4(a.address), alias.min(*ttl))),
                RData::AAAA(a) => {
                    let address = Address::from_octets(a.address.to_be_bytes());
                    expected.push((address, alias.min(*ttl)));
                }
                RData::CNAME(_) => alias = alias.min(*ttl),
                _ => {}
            }
        }
        prop_assert_eq!(given(&message), Ok(expected));
    }

    /// Whatever is changed: where both read addresses, they read the same ones.
    #[test]
    fn changed_answers_are_not_read_otherwise(
        name in name(),
        records in proptest::collection::vec(record(), 0..6),
        changes in proptest::collection::vec((12usize..400, any::<u8>()), 0..4),
    ) {
        let mut message = answer(&name, &records, true);
        for (at, to) in changes {
            let len = message.len();
            message[12 + at % (len - 12)] = to;
        }
        let (Ok(ours), Ok(theirs)) = (given(&message), Packet::parse(&message)) else {
            return Ok(());
        };
        let theirs: Vec<Address> = theirs.answers.iter().filter(|record| record.class == CLASS::IN)
            .filter_map(|record| match &record.rdata {
                RData::A(a) => Some(Address::v4(Ipv4Addr::from(a.address).to_bits())),
                RData::AAAA(a) => Some(Address::from_octets(Ipv6Addr::from(a.address).octets())),
                _ => None,
            }).collect();
        // A service's hints are ours alone.
        prop_assert!(theirs.iter().all(|address| ours.iter().any(|(our, _)| our == address)));
    }

    #[test]
    fn no_bytes_make_it_panic(message in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = (asked(&message), given(&message));
    }

    #[test]
    fn an_answer_that_is_cut_is_not_in_order(
        name in name(),
        records in proptest::collection::vec(record(), 1..6),
        cut in 1usize..4,
    ) {
        let message = answer(&name, &records, true);
        prop_assert_eq!(given(&message[..message.len() - cut]), Err(()));
    }
}
