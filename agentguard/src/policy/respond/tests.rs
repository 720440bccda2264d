//! Responses: files in, meanings and messages out.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::policy::{Confidence, Finding, Policy, PolicyErrors, explain};

fn read(text: &str) -> Result<Policy, PolicyErrors> {
    Policy::parse(Path::new("p.yaml"), format!("version: 1\nagent: a\n{text}").as_bytes())
}

#[test]
fn all_conditions_are_read_and_explained() {
    let policy = read(
        "limits: { memory: 1GiB }\nrespond:\n  - when: denials > 20 in 1m\n    do: pause\n  - \
         when: finding probing >= 0.8\n    do: kill\n    id: no-probing\n  - when: runtime > 2h\n    \
         do: alert\n    again: 30m\n  - when: limit memory\n    do: record\n  - when: finding any\n    \
         do: ask\n  - when: forks >= 500 in 10s\n    do: throttle\n",
    )
    .unwrap();
    let whens: Vec<When> = policy.responses.iter().map(|response| response.when).collect();
    assert_eq!(whens[0], When::Count { what: Counted::Denials, over: 20, within: 60 });
    let least = Confidence::of(80);
    assert_eq!(whens[1], When::Finding { finding: Some(Finding::Probing), least });
    assert_eq!(whens[2], When::Runtime { over: 7200 });
    assert_eq!(whens[3], When::Limit { limit: Some(LimitName::Memory) });
    assert_eq!(whens[4], When::Finding { finding: None, least: Confidence::default() });
    assert_eq!(whens[5], When::Count { what: Counted::Forks, over: 499, within: 10 });
    let ids: Vec<&str> = policy.responses.iter().map(|response| response.id.as_str()).collect();
    assert_eq!(ids[..3], ["respond.1", "no-probing", "respond.3"]);
    assert_eq!((policy.responses[2].again, policy.responses[0].again), (1800, 300));
    assert_eq!(policy.responses[0].to_string(), "respond.1: denials > 20 in 1m");
    let words = explain(&policy);
    for told in [
        "respond.1: at more than 20 denials in 1 minute: the session stands still until",
        "no-probing: when probing is found with a confidence of 0.8 or more: the session is killed",
        "respond.3: when the session lasts longer than 2 hours: people are told, at most once in 30 minutes",
        "respond.6: at more than 499 forks in 10 seconds: the session gets a tenth of one CPU",
    ] {
        assert!(words.contains(told), "{told}: {words}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (response, told) in [
        (
            "when: denials > 20\n    do: pause",
            "p.yaml:4:11: bad condition: denials > 20 is no condition",
        ),
        ("when: denials > 20\n    do: pause", "= write denials > 20 in 1m"),
        ("when: denial > 20 in 1m\n    do: pause", "= did you mean denials?"),
        ("when: denials < 20 in 1m\n    do: pause", "compares in a way"),
        ("when: denials >= 0 in 1m\n    do: pause", "compares in a way"),
        ("when: denials > 20000 in 1m\n    do: pause", "with a number up to 10000"),
        ("when: denials > 20 in 2d\n    do: pause", "= write 24h or less"),
        ("when: denials > 20 in 1\n    do: pause", "= write 1s for seconds"),
        ("when: finding probbing >= 0.8\n    do: pause", "= did you mean probing?"),
        ("when: finding probing >= 8\n    do: pause", "a number from 0 to 1"),
        ("when: finding probing > 0.8\n    do: pause", "is no condition"),
        ("when: finding volume\n    do: stop", "p.yaml:5:9: bad value: do is stop"),
        ("when: runtime 2h\n    do: pause", "= write runtime > 2h"),
        ("when: limit memory\n    do: kill", "never holds: limit memory"),
        ("when: limit memory\n    do: kill", "= write memory under limits:"),
        ("when: limit disk\n    do: kill", "those are memory, pids, runtime"),
        ("when: ''\n    do: kill", "says nothing"),
        ("when: runtime > 2h", "missing: do in a response"),
        ("do: kill", "missing: when in a response"),
        (
            "when: runtime > 2h\n    do: kill\n    again: 5m",
            "p.yaml:6:12: again in a rule for kill",
        ),
        ("when: runtime > 2h\n    do: kill\n    agin: 5m", "= did you mean again?"),
    ] {
        let said = read(&format!("respond:\n  - {response}\n")).unwrap_err().to_string();
        assert!(said.contains(told), "{response}: {said}");
    }
    let same = "  - when: runtime > 2h\n    do: kill\n";
    let said = read(&format!("respond:\n{same}{same}")).unwrap_err().to_string();
    assert!(
        said.contains("p.yaml:6:5: repeated rule: runtime > 2h, kill is already on line 4"),
        "{said}"
    );
    let many = format!("respond:\n{}", same.repeat(MAX_RESPONSES + 1));
    assert!(read(&many).unwrap_err().to_string().contains("too many responses: 65, of at most 64"));
}

proptest! {
    #[test]
    fn conditions_are_read_as_they_are_written(
        what in 0usize..6, over in 0u32..=10_000, within in 1u32..=86_400, finding in 0usize..15,
        hundredths in 0u8..=100,
    ) {
        let counted = [
            Counted::Denials, Counted::Findings, Counted::Execs, Counted::Forks,
            Counted::Connections, Counted::Names,
        ];
        let finding = Some(Finding::ALL[finding]);
        let least = Confidence::of(hundredths);
        for when in [
            When::Count { what: counted[what], over, within },
            When::Finding { finding, least },
            When::Finding { finding: None, least },
            When::Runtime { over: within },
            When::Limit { limit: None },
        ] {
            prop_assert_eq!(When::parse(&when.to_string()).unwrap(), when);
        }
    }

    #[test]
    fn no_condition_panics(text in "[a-z0-9>=. ]{0,40}") {
        let _ = When::parse(&text);
    }
}
