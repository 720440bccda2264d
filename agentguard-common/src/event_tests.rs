//! Records, read from bytes.

extern crate std;
use super::*;
use proptest::prelude::*;
use std::vec::Vec;

fn exec(path: &[u8], cwd: &[u8], args: &[u8]) -> Vec<u8> {
    let mut record = Exec::zeroed();
    record.header.kind = Kind::Exec as u16;
    record.path_len = u16::try_from(path.len()).unwrap();
    record.cwd_len = u16::try_from(cwd.len()).unwrap();
    record.args_len = u16::try_from(args.len()).unwrap();
    [bytemuck::bytes_of(&record), path, cwd, args].concat()
}

#[test]
fn kinds_are_numbered_without_gaps() {
    for (at, kind) in KINDS.iter().enumerate() {
        assert_eq!(*kind as usize, at);
        assert_eq!(Kind::from_u16(u16::try_from(at).unwrap()), Some(*kind));
    }
    assert_eq!(Kind::from_u16(u16::try_from(Kind::COUNT).unwrap()), None);
}

#[test]
fn an_exec_is_read_with_its_tail() {
    let bytes = exec(b"/bin/true", b"/", b"true\0-x\0");
    let Ok(Record::Exec(_, tail)) = decode(&bytes) else { panic!("{:?}", decode(&bytes)) };
    assert_eq!(
        (tail.path, tail.cwd, tail.args),
        (&b"/bin/true"[..], &b"/"[..], &b"true\0-x\0"[..])
    );
    assert_eq!(decode(&bytes[..bytes.len() - 1]), Err(Malformed::Short));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn a_record_cut_anywhere_is_short(at in 2usize..160, path in "[a-z/]{0,60}") {
        let bytes = exec(path.as_bytes(), b"/", b"");
        prop_assume!(at < bytes.len());
        prop_assert_eq!(decode(&bytes[..at]), Err(Malformed::Short));
    }
}
