//! What holds for every stream.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Told, all_found, stream};

/// Events of all sorts that detectors look at.
fn event() -> impl Strategy<Value = Told> {
    let path = prop_oneof![
        Just("/home/a/.ssh/id_rsa"),
        Just("/etc/cron.d/x"),
        Just("/tmp/x"),
        Just("/proc/1/root"),
        Just("/run/agentguard/x"),
        Just("/home/a/.bashrc"),
        Just("/dev/sda"),
    ];
    let file = (prop_oneof![Just("file.read"), Just("file.write"), Just("file.create")], path)
        .prop_map(|(action, path)| Told::new(action, path));
    prop_oneof![
        4 => (0u8..60, 1u16..40).prop_map(|(host, port)| Told::connect(&format!("10.0.0.{host}"), port)),
        2 => "[a-z0-9]{1,40}".prop_map(|label| Told::resolve(&format!("{label}.example.com"))),
        3 => file,
        2 => (0u32..50).prop_map(|pid| Told::exec("/bin/x", &["x"], pid)),
        2 => (0u32..50, 0u32..2).prop_map(|(pid, code)| Told::exit(pid, code)),
        2 => (0u32..50).prop_map(Told::fork),
        1 => Just(Told::new("mount", "/mnt")),
    ]
    .prop_flat_map(|told| {
        any::<bool>().prop_map(move |denied| Told { denied: denied && !told.activity, ..told.clone() })
    })
}

/// Events that no detector looks at.
fn unrelated() -> impl Strategy<Value = Told> {
    prop_oneof![
        Just(Told::new("answer", "dns:example.com")),
        Just(Told::new("session.limit", "x")),
        Just(Told { activity: true, ..Told::new("file.read", "/usr/lib/libc.so.6") }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// No finding without evidence, and none by evidence that was not there, or came later.
    #[test]
    fn no_finding_without_its_evidence(events in prop::collection::vec(event(), 1..400), apart in 1u64..2000) {
        let events = stream(events, apart);
        let ids: BTreeSet<&str> = events.iter().map(|event| event.id.as_str()).collect();
        for found in all_found(&events) {
            prop_assert!(!found.evidence.is_empty(), "{found:?}");
            prop_assert!(found.evidence.iter().all(|id| ids.contains(id.as_str())), "{found:?}");
            prop_assert!(!found.reason.is_empty() && found.confidence.hundredths() <= 100);
            let without: Vec<Told> = events
                .iter()
                .filter(|event| !found.evidence.contains(&event.id))
                .cloned()
                .collect();
            let still = all_found(&without);
            prop_assert!(
                still.iter().all(|other| other.evidence != found.evidence),
                "found by what is not there: {found:?}"
            );
        }
    }

    /// Events that have nothing to do with a finding change nothing, wherever and however
    /// often they come.
    #[test]
    fn unrelated_events_change_nothing(
        events in prop::collection::vec(event(), 1..300),
        others in prop::collection::vec((any::<prop::sample::Index>(), unrelated()), 0..100),
    ) {
        let events = stream(events, 50);
        let mut mixed = events.clone();
        for (at, other) in others {
            let at = at.index(mixed.len() + 1);
            let time = mixed.get(at.saturating_sub(1)).map_or(0, |event| event.at);
            mixed.insert(at, Told { at: time, id: "other".into(), ..other });
        }
        prop_assert_eq!(all_found(&mixed), all_found(&events));
    }
}
