//! The queue against a model, and after ends at any byte.

use std::collections::VecDeque;
use std::path::Path;

use proptest::prelude::*;

use super::*;

const LIMIT: u64 = 1 << 20;

fn open(directory: &Path) -> Spool {
    Spool::open(directory, LIMIT).unwrap().0
}

fn rest(spool: &mut Spool) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Some(payload) = spool.front().unwrap() {
        spool.pop().unwrap();
        found.push(payload);
    }
    found
}

fn only_segment(directory: &Path) -> PathBuf {
    let numbers = segment::numbers(directory).unwrap();
    assert_eq!(numbers.len(), 1);
    segment::path(directory, numbers[0])
}

#[derive(Clone, Debug)]
enum Step {
    Push(Vec<u8>),
    Pop,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..3000).prop_map(Step::Push),
        3 => Just(Step::Pop),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn it_is_a_queue_through_any_number_of_restarts(
        steps in proptest::collection::vec(step(), 0..120),
        limit in 2_000_u64..60_000,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(directory.path(), limit).unwrap();
        let mut model = VecDeque::new();
        for step in steps {
            match step {
                Step::Push(payload) => match spool.push(&payload) {
                    Ok(()) => model.push_back(payload),
                    Err(SpoolError::Full { .. }) => prop_assert!(spool.bytes() + 3008 > limit),
                    Err(error) => panic!("{error}"),
                },
                Step::Pop => {
                    spool.pop().unwrap();
                    model.pop_front();
                }
                Step::Reopen => {
                    drop(spool);
                    let (again, recovered) = Spool::open(directory.path(), limit).unwrap();
                    prop_assert_eq!(recovered.records, u64::try_from(model.len()).unwrap());
                    prop_assert_eq!(recovered.torn, 0);
                    spool = again;
                }
            }
            let front = spool.front().unwrap();
            prop_assert_eq!(front.as_ref(), model.front());
            prop_assert_eq!(spool.records(), u64::try_from(model.len()).unwrap());
            prop_assert!(spool.bytes() <= limit);
        }
    }

    #[test]
    fn whatever_stands_in_its_files_it_opens_and_goes_on(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        cursor in proptest::collection::vec(any::<u8>(), 0..30),
    ) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(segment::path(directory.path(), 7), bytes).unwrap();
        std::fs::write(directory.path().join("cursor"), cursor).unwrap();
        let mut spool = open(directory.path());
        spool.push(b"new").unwrap();
        prop_assert_eq!(rest(&mut spool).pop().unwrap(), b"new");
    }
}

#[test]
fn a_segment_cut_at_any_byte_keeps_every_whole_record() {
    let whole = tempfile::tempdir().unwrap();
    let payloads = [b"first".to_vec(), Vec::new(), vec![0; 40], b"last".to_vec()];
    let mut spool = open(whole.path());
    let mut ends = vec![0];
    for payload in &payloads {
        spool.push(payload).unwrap();
        ends.push(usize::try_from(spool.bytes()).unwrap());
    }
    let bytes = std::fs::read(only_segment(whole.path())).unwrap();
    for cut in 0..=bytes.len() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(segment::path(directory.path(), 0), &bytes[..cut]).unwrap();
        let (mut spool, recovered) = Spool::open(directory.path(), LIMIT).unwrap();
        let kept = ends.iter().filter(|end| **end <= cut).count() - 1;
        assert_eq!(recovered.records, u64::try_from(kept).unwrap(), "cut at {cut}");
        assert_eq!(recovered.torn, u64::try_from(cut - ends[kept]).unwrap(), "cut at {cut}");
        spool.push(b"after").unwrap();
        let found = rest(&mut spool);
        assert_eq!(found[..kept], payloads[..kept], "cut at {cut}");
        assert_eq!(found[kept..], [b"after".to_vec()], "cut at {cut}");
    }
}

#[test]
fn a_changed_byte_never_makes_a_record_that_was_not_there() {
    let whole = tempfile::tempdir().unwrap();
    let mut spool = open(whole.path());
    let payloads = [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()];
    payloads.iter().for_each(|payload| spool.push(payload).unwrap());
    let bytes = std::fs::read(only_segment(whole.path())).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x41;
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(segment::path(directory.path(), 0), changed).unwrap();
        let found = rest(&mut open(directory.path()));
        assert_eq!(found[..], payloads[..found.len()], "changed at {at}");
        assert!(found.len() < payloads.len(), "changed at {at}");
    }
}

#[test]
fn zeroes_after_the_last_record_are_no_records() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).push(b"one").unwrap();
    let path = only_segment(directory.path());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend([0; 64]);
    std::fs::write(&path, bytes).unwrap();
    let (mut spool, recovered) = Spool::open(directory.path(), LIMIT).unwrap();
    assert_eq!((recovered.records, recovered.torn), (1, 64));
    assert_eq!(rest(&mut spool), [b"one"]);
}

#[test]
fn a_file_that_is_changed_while_it_is_read_loses_its_rest_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open(directory.path());
    spool.push(b"one").unwrap();
    spool.push(b"two").unwrap();
    std::fs::write(only_segment(directory.path()), b"nonsense").unwrap();
    assert_eq!(spool.front().unwrap(), None);
    spool.push(b"three").unwrap();
    assert_eq!(rest(&mut spool), [b"three"]);
}

#[test]
fn full_is_refused_and_delivered_segments_make_room() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(directory.path(), 16_000).unwrap();
    let mut taken = 0;
    while spool.push(&[7; 1000]).is_ok() {
        taken += 1;
    }
    assert_eq!(taken, 15);
    let error = spool.push(&[7; 1000]).unwrap_err().to_string();
    assert!(error.contains("limit of 16000 bytes"), "{error}");
    for _ in 0..3 {
        spool.pop().unwrap();
    }
    spool.push(&[8; 1000]).unwrap();
    assert_eq!(rest(&mut spool).len(), 13);
    assert_eq!(spool.bytes(), 0);
    assert!(segment::numbers(directory.path()).unwrap().is_empty());
}

#[test]
fn a_record_that_is_too_large_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(directory.path(), 64 << 20).unwrap();
    assert!(matches!(spool.push(&vec![0; MAX_RECORD + 1]), Err(SpoolError::TooLarge(_))));
    assert_eq!(spool.front().unwrap(), None);
}

/// What the test below starts as a process of its own, to kill it: it pushes numbers,
/// takes some out again, and says so after each.
#[test]
fn a_writer_to_be_killed() {
    let Some(directory) = std::env::var_os("AGENTGUARD_TEST_SPOOL") else { return };
    let mut spool = open(Path::new(&directory));
    let mut pushed = spool.records();
    for number in 0..u64::MAX {
        let padding = usize::try_from(number * 7919 % 5000).unwrap();
        let mut payload = number.to_le_bytes().to_vec();
        payload.resize(8 + padding, 0xa5);
        match spool.push(&payload) {
            Ok(()) => println!("+ {number}"),
            Err(error) => panic!("{error}"),
        }
        pushed += 1;
        while pushed > 20 {
            spool.pop().unwrap();
            println!("- ");
            pushed -= 1;
        }
    }
}

#[test]
fn a_writer_that_is_killed_loses_nothing_that_it_had_taken() {
    for round in 0..12_u64 {
        let directory = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sink::spool::tests::a_writer_to_be_killed", "--nocapture"])
            .env("AGENTGUARD_TEST_SPOOL", directory.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20 + round * 13));
        child.kill().unwrap();
        let said = child.wait_with_output().unwrap().stdout;
        let said = String::from_utf8(said).unwrap();
        let taken: Vec<u64> =
            said.lines().filter_map(|line| line.strip_prefix("+ ")?.parse().ok()).collect();
        let popped = said.lines().filter(|line| *line == "- ").count();
        let found: Vec<u64> = rest(&mut open(directory.path()))
            .iter()
            .map(|payload| u64::from_le_bytes(*payload.first_chunk::<8>().unwrap()))
            .collect();
        // It may have pushed, or taken out, one more than it could say.
        let expected = taken.get(popped..).unwrap_or_default();
        let begin = found.iter().position(|number| expected.first() == Some(number));
        let (more, found) = found.split_at(begin.unwrap_or(0));
        assert!(more.is_empty(), "round {round}: {more:?} came back");
        let expected = if found.len() + 1 == expected.len() { &expected[1..] } else { expected };
        assert!(found.starts_with(expected), "round {round}: {found:?} is not {expected:?}");
        assert!(found.len() <= expected.len() + 1, "round {round}");
    }
}

/// On a disk of a few pages of its own. The mount is this thread's alone.
#[test]
fn a_full_disk_refuses_and_leaves_the_queue_as_it_was() {
    use nix::mount::{MsFlags, mount};
    let none = None::<&str>;
    if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).is_err() {
        eprintln!("only root can mount: not tried");
        return;
    }
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    let directory = tempfile::tempdir().unwrap();
    mount(Some("tmpfs"), directory.path(), Some("tmpfs"), MsFlags::empty(), Some("size=64k"))
        .unwrap();
    let mut spool = open(&directory.path().join("spool"));
    let mut taken = Vec::new();
    let error = loop {
        let payload = vec![u8::try_from(taken.len()).unwrap(); 3000];
        match spool.push(&payload) {
            Ok(()) => taken.push(payload),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(&error, SpoolError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull),
        "{error}"
    );
    assert!(taken.len() > 10, "{}", taken.len());
    assert_eq!(spool.records(), u64::try_from(taken.len()).unwrap());
    // What was delivered is noted although the disk is full, and makes room.
    spool.pop().unwrap();
    drop(spool);
    let mut spool = open(&directory.path().join("spool"));
    assert_eq!(rest(&mut spool), taken[1..]);
    spool.push(&[1; 3000]).unwrap();
    assert_eq!(rest(&mut spool), [vec![1; 3000]]);
}
