//! Whole events.

use std::borrow::Cow;

use super::redactor;
use crate::event::{AncestorInfo, Event, sample};

#[test]
fn an_event_without_secrets_is_not_copied() {
    assert!(matches!(redactor().event(&sample(), None), Cow::Borrowed(_)));
}

#[test]
fn every_member_that_can_hold_a_secret_is_looked_at() {
    const SECRET: &str = "ghp_abcdefghij0123456789ABCDEFGHIJ012345";
    type Put = fn(&mut Event);
    let put: [(&str, Put); 10] = [
        ("resource", |event| event.resource = format!("/tmp/{SECRET}")),
        ("target", |event| event.target = Some(format!("/tmp/{SECRET}"))),
        ("message", |event| event.message = Some(SECRET.to_owned())),
        ("destination", |event| {
            event.destination.as_mut().unwrap().name = Some(format!("x.{SECRET}.example"));
        }),
        ("comm", |event| event.process.as_mut().unwrap().comm = SECRET.to_owned()),
        ("exe", |event| event.process.as_mut().unwrap().exe = Some(format!("/tmp/{SECRET}"))),
        ("cwd", |event| event.process.as_mut().unwrap().cwd = Some(format!("/tmp/{SECRET}"))),
        ("ancestors", |event| {
            let exe = Some(format!("/tmp/{SECRET}"));
            event.process.as_mut().unwrap().ancestors = vec![AncestorInfo { pid: 1, exe }];
        }),
        ("args", |event| event.process.as_mut().unwrap().args = vec![SECRET.to_owned()]),
        ("resource of a name", |event| event.resource = format!("dns:{SECRET}.example")),
    ];
    for (member, put) in put {
        let mut event = sample();
        put(&mut event);
        let line = redactor().event(&event, None).line();
        assert!(
            !line.contains(SECRET) && line.contains("[redacted:github-token]"),
            "{member}: {line}"
        );
        serde_json::from_str::<serde_json::Value>(&line).unwrap();
    }
}

#[test]
fn a_command_is_read_as_its_words() {
    let command = ["tool", "--password", "two words"].map(str::to_owned);
    let mut event = sample();
    event.resource = command.join(" ");
    let out = redactor().event(&event, Some(&command)).into_owned();
    assert_eq!(out.resource, "tool --password [redacted:password]");
}
