//! Streams that were recorded in a session while ordinary programs ran. Nothing is found in
//! them that anybody would have to look at.

use serde_json::Value;

use super::{Told, all_found};

/// Recorded with `agentguard daemon --log-activity`; members that no detector looks at are left
/// out, and so are repeated arguments.
const STREAMS: [(&str, &str); 5] = [
    ("git", include_str!("../fixtures/git.jsonl")),
    ("make", include_str!("../fixtures/make.jsonl")),
    ("configure", include_str!("../fixtures/configure.jsonl")),
    ("python", include_str!("../fixtures/python.jsonl")),
    ("pip", include_str!("../fixtures/pip.jsonl")),
];

/// The events of a stream. Times do not matter to what is held here: they are as close as they
/// can be, one event each millisecond, which makes most detectors surer.
fn read(text: &str) -> Vec<Told> {
    let lines = (1_000_000u64..).zip(text.lines());
    lines.map(|(at, line)| Told::read(&serde_json::from_str::<Value>(line).unwrap(), at)).collect()
}

#[test]
fn nothing_is_found_in_ordinary_work() {
    for (name, text) in STREAMS {
        let events = read(text);
        assert!(events.len() > 50, "{name} is hardly a stream");
        assert!(events.iter().all(|event| !event.id.is_empty() && !event.action.is_empty()));
        let found = all_found(&events);
        let sure: Vec<_> =
            found.iter().filter(|found| found.confidence.hundredths() > 50).collect();
        assert!(sure.is_empty(), "{name}: {sure:?}");
    }
}

#[test]
fn all_of_them_as_one_session_are_ordinary_too() {
    let all: Vec<Told> = STREAMS.iter().flat_map(|(_, text)| read(text)).collect();
    let found = all_found(&all);
    assert!(found.iter().all(|found| found.confidence.hundredths() <= 50), "{found:?}");
}
