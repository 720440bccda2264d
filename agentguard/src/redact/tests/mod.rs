//! The corpus: what must not pass, what must, and what the engine promises of any text.
//!
//! The secrets are made up here, in parts, so that no scanner of repositories takes them
//! for real ones.

mod event;
mod ordinary;
mod properties;
mod secrets;

use std::sync::LazyLock;

use super::Redactor;
use crate::config::{CustomPattern, RedactionConfig};

fn redactor() -> &'static Redactor {
    static DEFAULT: LazyLock<Redactor> =
        LazyLock::new(|| Redactor::new(&RedactionConfig::default()).unwrap());
    &DEFAULT
}

#[test]
fn classes_can_be_turned_off() {
    let mail = "write to jane.roe@example.com";
    let off = RedactionConfig { email: false, ..RedactionConfig::default() };
    assert_eq!(redactor().text(mail), "write to [redacted:email]");
    assert_eq!(Redactor::new(&off).unwrap().text(mail), mail);
    let nothing = RedactionConfig { enabled: false, ..RedactionConfig::default() };
    let nothing = Redactor::new(&nothing).unwrap();
    let words = ["x", "--password", "hunter2"].map(str::to_owned);
    assert_eq!(nothing.text("PASSWORD=hunter2"), "PASSWORD=hunter2");
    assert_eq!(nothing.arguments(&words), None);
}

#[test]
fn patterns_of_ones_own_and_the_allow_list() {
    let own = CustomPattern { name: "staff".to_owned(), pattern: r"\bE-(\d{6})\b".to_owned() };
    let config = RedactionConfig {
        patterns: vec![own],
        allow: vec![r".*@example\.com".to_owned(), "hunter2".to_owned()],
        ..RedactionConfig::default()
    };
    let redactor = Redactor::new(&config).unwrap();
    assert_eq!(redactor.text("badge E-123456"), "badge E-[redacted:staff]");
    assert_eq!(redactor.text("jane@example.com"), "jane@example.com");
    assert_eq!(redactor.text("jane@example.com.evil.net"), "[redacted:email]");
    let words = ["x", "--password", "hunter2"].map(str::to_owned);
    assert_eq!(redactor.arguments(&words), None);
}

#[test]
fn patterns_that_cannot_be_used_are_told() {
    let with = |pattern: &str| RedactionConfig {
        patterns: vec![CustomPattern { name: "mine".to_owned(), pattern: pattern.to_owned() }],
        ..RedactionConfig::default()
    };
    for (bad, why) in [("(", "unclosed"), ("x*", "empty text"), (r"(\w{9999}){99}", "size")] {
        let error = Redactor::new(&with(bad)).err().unwrap().to_string();
        assert!(error.contains("mine") && error.contains(why), "{error}");
    }
    let config = RedactionConfig { allow: vec!["[".to_owned()], ..RedactionConfig::default() };
    assert!(Redactor::new(&config).is_err());
}
