//! The JSON Schema of events is the one that is shipped, and says what lines hold.

use std::path::Path;

use serde_json::Value;

use super::*;

fn shipped() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/event.schema.json")
}

#[test]
fn the_shipped_schema_is_current() {
    let current = format!("{:#}\n", Event::schema());
    let found = std::fs::read_to_string(shipped()).unwrap_or_default();
    assert!(
        found == current,
        "docs/event.schema.json is out of date: \
         cargo run -p agentguard -- events --schema > docs/event.schema.json"
    );
}

/// Every field of a line is in the schema, and what the schema requires is in it.
fn fits(value: &Value, schema: &Value, all: &Value) {
    let of = |reference: &str| &all["$defs"][reference.trim_start_matches("#/$defs/")];
    if let Some(reference) = schema["$ref"].as_str() {
        return fits(value, of(reference), all);
    }
    if let Some(choice) = schema["anyOf"].as_array() {
        // An option: the thing itself, or null.
        return fits(value, &choice[0], all);
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let property = &schema["properties"][name];
                assert!(property.is_object(), "{name} is not in the schema");
                fits(value, property, all);
            }
            for required in schema["required"].as_array().into_iter().flatten() {
                assert!(fields.contains_key(required.as_str().unwrap()), "{required} is missing");
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fits(item, &schema["items"], all)),
        _ => {}
    }
}

#[test]
fn a_full_line_and_a_short_one_fit_the_schema() {
    let schema = Event::schema();
    let short =
        Enricher::new().lifecycle("daemon.stop", None, "agentguard".into(), Outcome::Success, None);
    let process = ProcessInfo {
        pid: 3,
        tid: 4,
        ppid: Some(2),
        uid: 1000,
        gid: 1000,
        comm: "curl".into(),
        exe: Some("/usr/bin/curl".into()),
        args: vec!["curl".into()],
        args_cut: true,
        cwd: Some("/".into()),
        ancestors: vec![AncestorInfo { pid: 2, exe: None }],
        exit_code: Some(0),
        signal: Some(9),
    };
    let destination = DestinationInfo {
        name: Some("a.example".into()),
        address: "192.0.2.1".into(),
        port: 443,
        transport: "tcp".into(),
        mapped: true,
    };
    let dns = DnsInfo {
        name: "a.example".into(),
        r#type: "A".into(),
        resolver: "192.0.2.53".into(),
        transport: "udp",
        addresses: vec!["192.0.2.1".into()],
    };
    let full = Event {
        session: Some("s".into()),
        correlation_id: Some("c".into()),
        process: Some(process),
        destination: Some(destination),
        dns: Some(dns),
        target: Some("/b".into()),
        verdict: Some("deny"),
        reason: Some("default"),
        rule: Some("r".into()),
        policy_hash: Some("h".into()),
        message: Some("m".into()),
        ..short.clone()
    };
    for event in [short, full] {
        let line: Value = serde_json::from_str(&event.line()).unwrap();
        assert_eq!(line["schema_version"], SCHEMA_VERSION);
        fits(&line, &schema, &schema);
    }
}

#[test]
fn outcomes_are_called_the_same_everywhere() {
    for outcome in
        [Outcome::Allowed, Outcome::Denied, Outcome::WouldDeny, Outcome::Success, Outcome::Failure]
    {
        assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
    }
}
