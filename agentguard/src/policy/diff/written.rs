//! Sections that decide nothing themselves (limits, what counts, what is done about it, what is
//! open of the host), as they are written: by their keys, one statement for each value.

use std::collections::BTreeMap;

use super::super::model::Policy;
use super::super::report::Report;
use super::super::yaml::{self, Node, Value};
use super::statements::{Part, Statement};

/// The keys that are taken apart by what they mean.
const BY_MEANING: &[&str] = &[
    "version",
    "agent",
    "description",
    "mode",
    "match",
    "egress",
    "files",
    "exec",
    "secrets",
    "workspace",
];

/// What all other sections say.
pub(super) fn of(policy: &Policy) -> BTreeMap<Statement, String> {
    let mut report = Report::new(&policy.path, &policy.source);
    let mut all = BTreeMap::new();
    let Some(root) = yaml::parse(&policy.source, &mut report) else { return all };
    let Value::Map(entries) = &root.value else { return all };
    for (key, value) in entries {
        if let Some(key) = scalar(key).filter(|key| !BY_MEANING.contains(key)) {
            flatten(key, value, &mut all);
        }
    }
    all
}

/// Whether a key is taken apart by what it means.
pub(crate) fn is_by_meaning(key: &str) -> bool {
    BY_MEANING.contains(&key)
}

fn scalar<'n>(node: &'n Node<'_>) -> Option<&'n str> {
    match &node.value {
        Value::Scalar(scalar) => Some(&scalar.text),
        _ => None,
    }
}

/// A statement for each value below a key. What stands in a list is one each, whatever its
/// place there.
fn flatten(key: &str, node: &Node<'_>, all: &mut BTreeMap<Statement, String>) {
    match &node.value {
        Value::Scalar(scalar) => {
            all.insert((Part::Policy, key.to_owned()), scalar.text.to_string());
        }
        Value::List(items) => {
            for item in items {
                let subject = format!("{key}: {}", in_one_line(item));
                all.insert((Part::Policy, subject), "set".into());
            }
        }
        Value::Map(entries) => {
            for (name, value) in entries {
                let name = scalar(name).unwrap_or_default();
                flatten(&format!("{key}.{name}"), value, all);
            }
        }
    }
}

fn in_one_line(node: &Node<'_>) -> String {
    match &node.value {
        Value::Scalar(scalar) => scalar.text.to_string(),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(in_one_line).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(entries) => {
            let mut entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{}: {}", in_one_line(key), in_one_line(value)))
                .collect();
            entries.sort_unstable();
            format!("{{{}}}", entries.join(", "))
        }
    }
}
