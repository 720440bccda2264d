//! A record is what its bytes say, all of them and no more, and a part of it is no record.

#![no_main]

use agentguard_common::event::{Kind, Malformed, Record, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let all = decode(bytes);
    for at in [bytes.len() / 2, bytes.len().saturating_sub(1)] {
        let part = decode(&bytes[..at]);
        assert!(part == all || part == Err(Malformed::Short), "{at} bytes");
    }
    let padded = [bytes, &[0xaa; 16]].concat();
    match all {
        Ok(record) => {
            assert_eq!(decode(&padded), all);
            let (kind, written) = write(&record);
            assert_eq!(bytes.get(..written.len()), Some(&written[..]));
            assert_eq!(written[..2], (kind as u16).to_ne_bytes());
            // It takes all of them.
            assert_eq!(decode(&written), Ok(record));
            assert_eq!(decode(&written[..written.len() - 1]), Err(Malformed::Short));
        }
        Err(Malformed::Kind(kind)) => {
            assert_eq!(Kind::from_u16(kind), None);
            assert_eq!(decode(&padded), all);
        }
        Err(Malformed::Short) => {}
    }
});

/// The record's kind and its bytes.
fn write(record: &Record) -> (Kind, Vec<u8>) {
    use bytemuck::bytes_of;
    match record {
        Record::Egress(kind, fixed) => (*kind, bytes_of(fixed).to_vec()),
        Record::Unix(kind, fixed) => (*kind, bytes_of(fixed).to_vec()),
        Record::Dns(kind, fixed) => (*kind, bytes_of(fixed).to_vec()),
        Record::File(fixed, path, other) => (Kind::File, [bytes_of(fixed), path, other].concat()),
        Record::Host(fixed) => (Kind::Host, bytes_of(fixed).to_vec()),
        Record::Fork(fixed) => (Kind::Fork, bytes_of(fixed).to_vec()),
        Record::Plain(kind, fixed) => (*kind, bytes_of(fixed).to_vec()),
        Record::Exec(fixed, tail) => {
            let lengths = [tail.path, tail.cwd, tail.args].map(|part| part.len() as u16);
            assert_eq!(lengths, [fixed.path_len, fixed.cwd_len, fixed.args_len]);
            let parts = [bytes_of(fixed), tail.path, tail.cwd, tail.args];
            (Kind::Exec, parts.concat())
        }
    }
}
