//! The JSON Schema says what the reader takes, and no more.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::schema;
use super::{messages, valid};

fn keys(of: &Value) -> BTreeSet<&str> {
    of["properties"].as_object().unwrap().keys().map(String::as_str).collect()
}

/// The keys that the reader offers where one is unknown.
fn offered(text: &str) -> BTreeSet<String> {
    let said = messages(text);
    let offer = said.lines().find_map(|line| line.split_once(" takes: ")).unwrap().1;
    offer.split(", ").map(str::to_owned).collect()
}

#[test]
fn keys_are_those_that_are_read() {
    let schema = schema();
    for (of, text) in [
        (&schema, "version: 1\nagent: a\nzzzzzz: 1\n"),
        (&schema["$defs"]["Egress"], "version: 1\nagent: a\negress:\n  zzzzzz: 1\n"),
        (
            &schema["$defs"]["EgressRule"],
            "version: 1\nagent: a\negress:\n  rules:\n    - zzzzzz: 1\n",
        ),
        (&schema["$defs"]["Dns"], "version: 1\nagent: a\negress:\n  dns:\n    zzzzzz: 1\n"),
        (&schema["$defs"]["Files"], "version: 1\nagent: a\nfiles:\n  zzzzzz: 1\n"),
        (&schema["$defs"]["FileRule"], "version: 1\nagent: a\nfiles:\n  rules:\n    - zzzzzz: 1\n"),
        (&schema["$defs"]["Exec"], "version: 1\nagent: a\nexec:\n  zzzzzz: 1\n"),
        (&schema["$defs"]["ExecRule"], "version: 1\nagent: a\nexec:\n  rules:\n    - zzzzzz: 1\n"),
        (&schema["$defs"]["Host"], "version: 1\nagent: a\nhost:\n  zzzzzz: 1\n"),
        (&schema["$defs"]["Limits"], "version: 1\nagent: a\nlimits:\n  zzzzzz: 1\n"),
        (&schema["$defs"]["IoLimits"], "version: 1\nagent: a\nlimits:\n  io: { zzzzzz: 1 }\n"),
        (&schema["$defs"]["Response"], "version: 1\nagent: a\nrespond:\n  - zzzzzz: 1\n"),
        (&schema["$defs"]["Detect"], "version: 1\nagent: a\ndetect:\n  zzzzzz: 1\n"),
        (&schema["$defs"]["Match"], "version: 1\nagent: a\nmatch:\n  - zzzzzz: 1\n"),
    ] {
        let offered = offered(text);
        assert_eq!(keys(of), offered.iter().map(String::as_str).collect(), "{of:#}");
        assert_eq!(of["additionalProperties"], false, "{of:#}");
    }
}

#[test]
fn what_is_required_and_which_values() {
    let schema = schema();
    assert_eq!(schema["required"], serde_json::json!(["version", "agent"]));
    assert_eq!(schema["properties"]["version"]["enum"], serde_json::json!([1, "1"]));
    assert_eq!(schema["properties"]["mode"]["enum"], serde_json::json!(["enforce", "observe"]));
    let rule = &schema["$defs"]["EgressRule"];
    assert!(rule.get("required").is_none(), "{rule:#}");
    assert_eq!(rule["oneOf"].as_array().unwrap().len(), 3);
    for mode in ["enforce", "observe"] {
        valid(&format!("version: \"1\"\nagent: a\nmode: {mode}\n"));
    }
}
