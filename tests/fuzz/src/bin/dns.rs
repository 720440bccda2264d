//! A question has one name, which is the one on the wire; a walk through an answer ends
//! within its steps, and what it finds stands in the message.

#![no_main]

use agentguard_common::dns::{self, BYTES, Header, Question, STEPS, Step, Walk};
use agentguard_common::name::{Key, NAME_MAX};
use bytemuck::Zeroable;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    if message.len() < dns::HEADER as usize || message.len() > BYTES {
        return;
    }
    let len = message.len() as u32;
    let mut bytes = Box::new([0xa5; BYTES]);
    bytes[..message.len()].copy_from_slice(message);
    let header = Header::read(&bytes);
    let (mut key, mut question) = (Key::zeroed(), Question::default());
    if !dns::question(&mut bytes, len, &mut key, &mut question) {
        return;
    }
    assert!(question.end <= len);
    let name = &key.name[..question.name_len as usize];
    assert!(name.len() <= NAME_MAX);
    assert!(key.name[name.len()..].iter().all(|byte| *byte == 0));
    assert_eq!(name.iter().rev().copied().collect::<Vec<_>>(), on_the_wire(message));
    if header.asks() && dns::ends_well(&bytes, len, &header, question.end) {
        assert!(len <= dns::QUESTION_MAX);
        assert!(!header.answers());
    }
    walk(message, &bytes, &header, &question);
});

/// The name in the question, letter by letter.
fn on_the_wire(message: &[u8]) -> Vec<u8> {
    let mut labels = Vec::new();
    let mut at = 12;
    while message[at] != 0 {
        let label = &message[at + 1..=at + message[at] as usize];
        labels.push(label.to_ascii_lowercase());
        at += label.len() + 1;
    }
    labels.join(&b'.')
}

fn walk(message: &[u8], bytes: &[u8; BYTES], header: &Header, question: &Question) {
    let mut walk = Walk::new(header, question.end, message.len() as u32);
    for _ in 0..STEPS {
        match walk.step(bytes) {
            Step::On => {}
            Step::Address => {
                let octets = walk.address.octets();
                let short = walk.address.is_v4().then_some(&octets[12..]);
                let stands = |part: &[u8]| message.windows(part.len()).any(|window| window == part);
                assert!(stands(&octets) || short.is_some_and(stands));
                assert!(walk.ttl < 1 << 31);
            }
            Step::End | Step::Malformed => return,
        }
    }
    // Each step takes a byte at the least, or ends something that did.
    assert!(message.len() > STEPS as usize / 4);
}
