//! Which findings count: `detect:` of a policy. What each looks for is in [`crate::detect`];
//! here it can be turned off, or be made to need more.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::amount::count;
use super::error::Problem;
use super::fields::{Fields, fraction, text_or_integer};
use super::findings::{Confidence, Finding};
use super::place::Sited;
use super::report::{Report, quoted};
use super::yaml::{Node, Value};

/// How sure a finding has to be to be told, where the policy does not say.
const FLOOR: Confidence = Confidence::of(50);
/// The word that turns a finding off.
const OFF: &str = "off";
/// The largest threshold.
const MOST: u32 = 1_000_000;

/// Which findings count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectSection {
    /// How sure a finding has to be to be told.
    pub floor: Confidence,
    /// What is said of single ones.
    pub of: BTreeMap<Finding, Setting>,
}

/// What is said of a finding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// Nobody looks for it.
    pub off: bool,
    /// How many of what it counts it takes.
    pub threshold: Option<u32>,
    /// How sure it has to be to be told.
    pub floor: Option<Confidence>,
}

impl Default for DetectSection {
    fn default() -> Self {
        Self { floor: FLOOR, of: BTreeMap::new() }
    }
}

impl DetectSection {
    /// Whether a finding is looked for.
    #[must_use]
    pub fn is_on(&self, finding: Finding) -> bool {
        self.of.get(&finding).is_none_or(|setting| !setting.off)
    }

    /// How sure a finding has to be to be told.
    #[must_use]
    pub fn floor_of(&self, finding: Finding) -> Confidence {
        self.of.get(&finding).and_then(|setting| setting.floor).unwrap_or(self.floor)
    }

    /// How many of what a finding counts it takes.
    #[must_use]
    pub fn threshold_of(&self, finding: Finding, default: u32) -> u32 {
        self.of.get(&finding).and_then(|setting| setting.threshold).unwrap_or(default)
    }
}

/// The section as it is written.
#[derive(Debug, Default)]
pub(super) struct DetectDocument {
    floor: Option<Sited<String>>,
    of: Vec<(Finding, SettingDocument)>,
}

#[derive(Debug)]
enum SettingDocument {
    Off,
    Set { threshold: Option<Sited<String>>, floor: Option<Sited<String>> },
}

impl DetectDocument {
    pub(super) fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, "detect", "detect", report)?;
        let floor = fields.take("floor", report);
        let taken: Vec<_> = Finding::ALL
            .into_iter()
            .filter_map(|finding| Some((finding, fields.take(finding.as_str(), report)?)))
            .collect();
        fields.close(report);
        let read = |(finding, node): (Finding, &Node<'_>)| {
            Some((finding, SettingDocument::read(node, finding, report)?))
        };
        let of = taken.into_iter().filter_map(read).collect();
        Some(Self { floor: floor.and_then(|node| confidence_text(node, report)), of })
    }

    /// Finds the meaning of the section.
    pub(super) fn meaning(&self, report: &mut Report<'_>) -> DetectSection {
        let mut section = DetectSection::default();
        if let Some(floor) = self.floor.as_ref().and_then(|text| confidence(text, report)) {
            section.floor = floor;
        }
        for (finding, setting) in &self.of {
            section.of.insert(*finding, setting.meaning(report));
        }
        section
    }
}

impl SettingDocument {
    fn read(node: &Node<'_>, finding: Finding, report: &mut Report<'_>) -> Option<Self> {
        match &node.value {
            Value::Scalar(scalar) if scalar.text.as_ref() == OFF => return Some(Self::Off),
            Value::Scalar(scalar) => {
                let value = quoted(&scalar.text);
                let problem = Problem::BadValue { key: finding.as_str(), value };
                report.at(node.place, problem, "write off, or a map of threshold and floor");
                return None;
            }
            _ => {}
        }
        let mut fields = Fields::open(node, finding.as_str(), finding.as_str(), report)?;
        let threshold = fields.take("threshold", report);
        let floor = fields.take("floor", report);
        fields.close(report);
        let threshold =
            threshold.and_then(|node| text_or_integer(node, "threshold", "a number", report));
        Some(Self::Set { threshold, floor: floor.and_then(|node| confidence_text(node, report)) })
    }

    fn meaning(&self, report: &mut Report<'_>) -> Setting {
        match self {
            Self::Off => Setting { off: true, ..Setting::default() },
            Self::Set { threshold, floor } => Setting {
                off: false,
                threshold: threshold.as_ref().and_then(|text| {
                    let read = count("threshold", &text.value, 1, MOST);
                    read.map_err(|(problem, mend)| report.at(text.place, problem, mend)).ok()
                }),
                floor: floor.as_ref().and_then(|text| confidence(text, report)),
            },
        }
    }
}

fn confidence_text(node: &Node<'_>, report: &mut Report<'_>) -> Option<Sited<String>> {
    fraction(node, "floor", "a number from 0 to 1, such as 0.8", report)
}

fn confidence(text: &Sited<String>, report: &mut Report<'_>) -> Option<Confidence> {
    let read = Confidence::parse(&text.value);
    if read.is_none() {
        let problem = Problem::BadValue { key: "floor", value: quoted(&text.value) };
        report.at(text.place, problem, "write a number from 0 to 1, such as 0.8");
    }
    read
}

impl JsonSchema for DetectDocument {
    fn schema_name() -> Cow<'static, str> {
        "Detect".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let floor = || json_schema!({ "type": "number", "minimum": 0, "maximum": 1 });
        let one = json_schema!({ "anyOf": [
            { "enum": [OFF] },
            {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "threshold": { "type": "integer", "minimum": 1, "maximum": MOST },
                    "floor": floor(),
                },
            },
        ] });
        let mut properties = serde_json::Map::new();
        properties.insert("floor".into(), floor().into());
        for finding in Finding::ALL {
            properties.insert(finding.as_str().into(), one.clone().into());
        }
        json_schema!({
            "description": "Which findings count, and how sure they have to be to be told.",
            "type": "object",
            "additionalProperties": false,
            "properties": properties,
        })
    }
}

/// What the section means, in words.
pub(super) fn explain(out: &mut String, detect: &DetectSection) -> fmt::Result {
    use fmt::Write as _;
    writeln!(out, "\nFindings")?;
    writeln!(out, "  Those with a confidence of {} or more are told.", detect.floor)?;
    for (finding, setting) in &detect.of {
        let mut says = Vec::new();
        if setting.off {
            says.push("not looked for".to_owned());
        }
        says.extend(setting.threshold.map(|threshold| format!("takes {threshold}")));
        says.extend(setting.floor.map(|floor| format!("with a confidence of {floor} or more")));
        writeln!(out, "  {finding}: {}.", says.join(", "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::policy::{Policy, PolicyErrors, explain};

    fn read(detect: &str) -> Result<Policy, PolicyErrors> {
        let text = format!("version: 1\nagent: a\ndetect:\n{detect}");
        Policy::parse(Path::new("p.yaml"), text.as_bytes())
    }

    #[test]
    fn findings_are_turned_off_and_made_to_need_more() {
        let policy = read(
            "  floor: 0.7\n  loop: off\n  probing: { threshold: 30 }\n  volume: { floor: 0.9, threshold: 5 }\n",
        )
        .unwrap();
        let detect = &policy.detect;
        assert!(!detect.is_on(Finding::Loop) && detect.is_on(Finding::Mining));
        assert_eq!(detect.floor_of(Finding::Probing), Confidence::of(70));
        assert_eq!(detect.floor_of(Finding::Volume), Confidence::of(90));
        assert_eq!(detect.threshold_of(Finding::Probing, 15), 30);
        assert_eq!(detect.threshold_of(Finding::Mining, 15), 15);
        let words = explain(&policy);
        for told in ["loop: not looked for.", "volume: takes 5, with a confidence of 0.9 or more."]
        {
            assert!(words.contains(told), "{words}");
        }
        assert_eq!(read("  {}\n").unwrap().detect, DetectSection::default());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (detect, told) in [
            ("  floor: 2\n", "p.yaml:4:10: bad value: floor is 2"),
            ("  floor: high\n", "= write a number from 0 to 1"),
            ("  probing: on\n", "= write off, or a map of threshold and floor"),
            ("  probing: { threshold: 0 }\n", "= write 1 to 1000000"),
            ("  probing: { treshold: 3 }\n", "= did you mean threshold?"),
            ("  probbing: off\n", "= did you mean probing?"),
            (
                "  loop: off\nrespond:\n  - { when: finding loop, do: kill }\n",
                "never holds: finding loop",
            ),
        ] {
            let said = read(detect).unwrap_err().to_string();
            assert!(said.contains(told), "{detect}: {said}");
        }
    }
}
