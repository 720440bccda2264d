//! The configuration file: what is right, and what is said of what is not.

use super::*;

fn parse(text: &str) -> Result<Settings, String> {
    Settings::parse(Path::new("agentguard.yaml"), text.as_bytes())
        .map_err(|error| error.to_string())
}

#[test]
fn what_is_left_out_has_its_default() {
    for empty in ["", "\n# nothing\n", "---\n", "metrics: {}\n"] {
        assert_eq!(parse(empty).unwrap(), Settings::default(), "{empty:?}");
    }
    let settings = parse("metrics:\n  listen: 127.0.0.1:9477\n").unwrap();
    assert_eq!(settings.metrics.listen, Some(([127, 0, 0, 1], 9477).into()));
    assert!(!settings.metrics.program_stats);
}

#[test]
fn what_is_wrong_is_told_with_place_and_mend() {
    for (text, place, problem, mend) in [
        ("metric: {}\n", "1:1", "unknown key: metric", "metrics"),
        ("metrics:\n  listen: 127.0.0.1:9477\n  port: 1\n", "3:3", "unknown key: port", "listen"),
        ("metrics:\n  listen: nonsense\n", "2:11", "invalid socket address", "correct it"),
        ("metrics:\n  program_stats: perhaps\n", "2:18", "", ""),
        (
            "metrics:\n  program_stats: true\n  program_stats: true\n",
            "3:3",
            "duplicate key",
            "once",
        ),
        ("metrics: [1]\n", "1:10", "", ""),
        ("metrics: {\n", "", "", ""),
        ("a: b\n---\nc: d\n", "", "", ""),
    ] {
        let error = parse(text).unwrap_err();
        let begin = format!("agentguard.yaml:{place}");
        assert!(error.starts_with(&begin), "{text:?}: {error}");
        assert!(error.contains(problem) && error.contains(mend), "{text:?}: {error}");
    }
}

#[test]
fn only_the_default_file_may_be_absent() {
    let missing = Path::new("/nonexistent/agentguard.yaml");
    assert!(Settings::load(Some(missing)).unwrap_err().to_string().contains("cannot be read"));
    assert!(parse("\u{fffd}").is_err());
    assert!(Settings::parse(missing, b"\xff").unwrap_err().problem.contains("UTF-8"));
    assert!(Settings::parse(missing, &vec![b' '; MAX_BYTES + 1]).is_err());
}

#[test]
fn the_schema_describes_every_section() {
    let schema = Settings::schema();
    let properties = schema["properties"].as_object().unwrap();
    assert_eq!(properties.len(), 10);
    assert!(properties.contains_key("metrics"));
    assert_eq!(schema["additionalProperties"], false);
}

/// The examples in the documentation, each a file of its own.
#[test]
fn every_documented_example_is_valid() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/integrations.md");
    let text = std::fs::read_to_string(page).unwrap();
    let blocks: Vec<&str> =
        text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 13, "{}", blocks.len());
    for block in blocks {
        let settings = Settings::parse(Path::new("example"), block.as_bytes());
        let settings = settings.unwrap_or_else(|error| panic!("{block}\n{error}"));
        assert_ne!(settings, Settings::default(), "{block}");
    }
}

#[test]
fn sinks_that_are_wrong_are_refused_where_they_are_wrong() {
    let alert =
        |more: &str| format!("alerts:\n- name: a\n  to: {{http: {{url: 'http://x'}}}}\n{more}");
    let export =
        |more: &str| format!("export:\n- name: a\n  to: {{json: {{url: 'http://x'}}}}\n{more}");
    assert!(parse(&alert("")).is_ok() && parse(&export("")).is_ok());
    for (text, place, problem, mend) in [
        (alert("  severity: high\n"), "4:3", "unknown key: severity", "min_severity"),
        (alert("  min_severity: bad\n"), "4:17", "not known", "info, low, medium"),
        (alert("  quiet: soon\n"), "4:10", "no length of time", "30s"),
        (
            alert("- name: a\n  to: {http: {url: 'http://y'}}\n"),
            "",
            "two alert sinks",
            "of its own",
        ),
        (alert("- name: A b\n"), "4:9", "no name for a sink", "small letters"),
        (alert("- name: b\n"), "", "missing: to", ""),
        (alert("- name: b\n  to: {pager: {}}\n"), "5:8", "", "pagerduty"),
        (
            alert("- name: b\n  to: {pagerduty: {routing_key: abc}}\n"),
            "5:33",
            "not written here",
            "file: PATH",
        ),
        (
            alert("- name: b\n  to: {alertmanager: {url: nonsense}}\n"),
            "5:28",
            "no address",
            "https://",
        ),
        (
            alert("- name: b\n  to: {alertmanager: {url: 'http://me:pass@x'}}\n"),
            "5:28",
            "password in an address",
            "login",
        ),
        (export("  batch: {events: 0}\n"), "", "no size for a batch", "1 to 1000"),
        (export("  batch: {bytes: 5MiB}\n"), "", "no size for a batch", "480kB"),
        (export("  spool: {limit: lots}\n"), "4:18", "no amount of bytes", "64MiB"),
        (
            export("- name: s\n  to: {syslog: {address: 'h:1', facility: 24}}\n"),
            "",
            "no facility",
            "0 to 23",
        ),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(error.starts_with(&format!("agentguard.yaml:{place}")), "{text}\n{error}");
        assert!(error.contains(problem) && error.contains(mend), "{text}\n{error}");
    }
}

proptest::proptest! {
    #[test]
    fn no_file_makes_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let _ = Settings::parse(Path::new("f"), &bytes);
    }
}
