//! Each encoder's words for one event of each sort, against a schema written after the
//! store's documentation; and for any event at all.

use proptest::prelude::*;

use super::*;
use crate::sink::sample;

pub(in crate::sink::export) fn check(schema: &str, value: &Value) {
    let schema = serde_json::from_str(schema).unwrap();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}\n{value:#}");
}

fn ecs() -> Ecs {
    Ecs { index: "logs-agentguard-default".to_owned() }
}

fn cef() -> Cef {
    Cef { facility: 13, pid: 42 }
}

#[test]
fn every_sort_of_event_fits_the_elastic_common_schema() {
    for event in sample::all() {
        let [action, document] = ecs().encode(&event);
        check(include_str!("schemas/ecs.json"), &document);
        assert_eq!(action["create"]["_id"], format!("host-1-{}", event.id));
    }
    let [_, document] = ecs().encode(&sample::denied());
    assert_eq!(document["event"]["category"], serde_json::json!(["network"]));
    assert_eq!(document["event"]["type"], serde_json::json!(["connection", "denied"]));
    assert_eq!(document["destination"]["domain"], "example.org");
    assert_eq!(document["agentguard"]["outcome"], "denied");
    let [_, document] = ecs().encode(&sample::rename());
    assert_eq!(document["file"]["target_path"], "/srv/keys/new");
}

#[test]
fn every_sort_of_event_fits_the_open_cybersecurity_schema() {
    let schema = include_str!("schemas/ocsf.json");
    let mut types = Vec::new();
    for event in sample::all() {
        let value = ocsf(&event);
        check(schema, &value);
        let number = |name: &str| value[name].as_i64().unwrap();
        assert_eq!(number("type_uid"), number("class_uid") * 100 + number("activity_id"));
        types.push(number("type_uid"));
    }
    let expected =
        [400_105, 400_101, 400_301, 100_105, 100_701, 100_702, 600_203, 600_204, 600_203, 200_401];
    assert_eq!(types, expected);
    let denied = ocsf(&sample::denied());
    assert_eq!((&denied["action_id"], &denied["disposition_id"]), (&2.into(), &2.into()));
    let would = ocsf(&sample::rename());
    assert_eq!((&would["action_id"], &would["disposition_id"]), (&1.into(), &15.into()));
    assert_eq!(ocsf(&sample::exec()).get("action_id"), None, "nobody decided it");
}

/// Every action of docs/events.md.
const ACTIONS: &[(&str, Class)] = &[
    ("connect", Class::Decision),
    ("send", Class::Decision),
    ("resolve", Class::Decision),
    ("answer", Class::Activity),
    ("packet", Class::Decision),
    ("socket", Class::Decision),
    ("foreign", Class::Decision),
    ("option", Class::Decision),
    ("netlink", Class::Decision),
    ("ioctl", Class::Decision),
    ("mount", Class::Decision),
    ("file.read", Class::Decision),
    ("file.write", Class::Activity),
    ("file.create", Class::Decision),
    ("file.mkdir", Class::Decision),
    ("file.mknod", Class::Decision),
    ("file.symlink", Class::Decision),
    ("file.delete", Class::Decision),
    ("file.rmdir", Class::Decision),
    ("file.truncate", Class::Decision),
    ("file.chmod", Class::Decision),
    ("file.chown", Class::Decision),
    ("file.times", Class::Decision),
    ("file.attributes", Class::Decision),
    ("file.rename", Class::Decision),
    ("file.link", Class::Decision),
    ("file.map", Class::Decision),
    ("file.receive", Class::Decision),
    ("exec", Class::Decision),
    ("fork", Class::Decision),
    ("session.pause", Class::Lifecycle),
    ("session.taint", Class::Lifecycle),
    ("session.clear", Class::Lifecycle),
    ("log.lost", Class::Lifecycle),
    ("policy.reload", Class::Lifecycle),
];

#[test]
fn every_action_with_every_outcome_fits_both_schemas() {
    use Outcome::{Allowed, Denied, Failure, Success, WouldDeny};
    for (action, kind) in ACTIONS {
        for outcome in [Allowed, Denied, WouldDeny, Success, Failure] {
            let dns =
                if matches!(*action, "resolve" | "answer") { sample::question().dns } else { None };
            let event =
                Event { action, kind: *kind, outcome, dns, destination: None, ..sample::denied() };
            check(include_str!("schemas/ocsf.json"), &ocsf(&event));
            check(include_str!("schemas/ecs.json"), &ecs().encode(&event)[1]);
        }
    }
}

#[test]
fn splunk_gets_the_time_to_the_millisecond() {
    let splunk = Splunk { index: Some("agents".to_owned()), sourcetype: "agentguard:event".into() };
    for event in sample::all() {
        check(include_str!("schemas/splunk.json"), &splunk.encode(&event));
    }
    let value = splunk.encode(&sample::denied());
    assert_eq!(value["time"], "1795383378.279");
    assert_eq!(value["event"]["resource"], "tcp://203.0.113.7:443");
}

#[test]
fn datadog_gets_its_reserved_attributes() {
    let datadog =
        Datadog { service: "agentguard".to_owned(), tags: "env:prod,team:sec".to_owned() };
    let all: Vec<Value> = sample::all().iter().map(|event| datadog.encode(event)).collect();
    check(include_str!("schemas/datadog.json"), &Value::Array(all));
    let value = datadog.encode(&sample::denied());
    assert_eq!(value["status"], "warning");
    assert_eq!(value["message"], "denied coder connect tcp://203.0.113.7:443: a message");
}

/// A message taken apart again, as a receiver would.
fn parse_cef(text: &str) -> (Vec<String>, Vec<(String, String)>) {
    let (syslog, cef) = text.split_once("CEF:").unwrap();
    let mut words = syslog.split(' ');
    let priority = words.next().unwrap().strip_prefix('<').unwrap().strip_suffix(">1").unwrap();
    assert!(priority.parse::<u32>().unwrap() <= 191);
    let rest: Vec<&str> = words.collect();
    assert_eq!(
        rest.len(),
        7,
        "time, host, app, process, message id, data, and the blank: {rest:?}"
    );
    let mut parts = vec![String::new()];
    let mut letters = cef.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => parts.last_mut().unwrap().push(letters.next().unwrap()),
            '|' if parts.len() == 7 => break,
            '|' => parts.push(String::new()),
            other => parts.last_mut().unwrap().push(other),
        }
    }
    let rest: String = letters.collect();
    (parts, pairs(&rest))
}

/// Extensions: a name is the last word before an equals sign that is not escaped.
fn pairs(text: &str) -> Vec<(String, String)> {
    let bytes: Vec<char> = text.chars().collect();
    let mut marks = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            '\\' => at += 1,
            '=' => marks.push(at),
            _ => {}
        }
        at += 1;
    }
    let name_begin =
        |mark: usize| bytes[..mark].iter().rposition(|c| *c == ' ').map_or(0, |at| at + 1);
    let mut all = Vec::new();
    for (index, mark) in marks.iter().enumerate() {
        let end = marks.get(index + 1).map_or(bytes.len(), |next| name_begin(*next) - 1);
        let raw: String = bytes[mark + 1..end].iter().collect();
        let value = raw.replace("\\=", "=").replace("\\\\", "\\");
        all.push((bytes[name_begin(*mark)..*mark].iter().collect(), value));
    }
    all
}

#[test]
fn cef_is_read_back() {
    let text = cef().encode(&sample::denied());
    let begin = "<108>1 2026-11-22T21:36:18.279677Z host-1 agentguard 42 connect - CEF:0|agentguard|agentguard|";
    assert!(text.starts_with(begin), "{text}");
    let (header, extensions) = parse_cef(&text);
    assert_eq!(header[4..], ["connect", "denied connect", "5"]);
    let value = |name: &str| {
        extensions.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    };
    assert_eq!(value("dst"), "203.0.113.7");
    assert_eq!(value("dhost"), "example.org");
    assert_eq!(value("cs3"), "no-example");
    assert_eq!(value("rt"), "1795383378279");
    let six = Event {
        destination: sample::denied()
            .destination
            .map(|it| crate::event::DestinationInfo { address: "fd77::3".to_owned(), ..it }),
        ..sample::denied()
    };
    let (_, extensions) = parse_cef(&cef().encode(&six));
    assert!(extensions.contains(&("c6a3".to_owned(), "fd77::3".to_owned())));
}

proptest! {
    #[test]
    fn no_text_breaks_out_of_cef(resource in ".{0,60}", role in ".{0,20}", host in ".{0,20}") {
        let event = Event {
            resource: resource.clone(),
            agent_role: role,
            host: host.as_str().into(),
            message: None,
            ..sample::rename()
        };
        let text = cef().encode(&event);
        prop_assert!(!text.chars().any(char::is_control), "{}", text);
        let (header, extensions) = parse_cef(&text);
        prop_assert_eq!(header.len(), 7);
        let clean: String = resource
            .chars()
            .map(|c| if c.is_control() || "\u{2028}\u{2029}".contains(c) { ' ' } else { c })
            .collect();
        let found = extensions.iter().find(|(name, _)| name == "cs6").unwrap();
        prop_assert_eq!(&found.1, &clean);
    }

    #[test]
    fn no_text_breaks_a_schema(resource in ".{1,60}", at in 0..10_usize) {
        let event = Event { resource, ..sample::all().swap_remove(at) };
        check(include_str!("schemas/ocsf.json"), &ocsf(&event));
        check(include_str!("schemas/ecs.json"), &ecs().encode(&event)[1]);
    }
}
