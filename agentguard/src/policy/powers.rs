//! The section `host`: what a session may do to the host and to processes that are not its
//! own. Nothing, where it is missing; what is listed is open without further rules.

use std::fmt::Write;

use agentguard_common::host::{POWERS, Power};
use schemars::JsonSchema;

use super::error::Problem;
use super::fields::{Fields, nearest, text};
use super::meaning::read_all;
use super::network::Refusal;
use super::place::Sited;
use super::report::{Report, quoted};
use super::shape::{PowerText, Several};
use super::yaml::Node;

/// The section as it is written.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "Host", deny_unknown_fields)]
pub(super) struct HostDocument {
    /// What sessions may do to the host and to other processes: each word opens one thing,
    /// whatever it is done to. agentguard's own files stay closed.
    pub(super) allow: Option<Several<PowerText>>,
}

impl HostDocument {
    pub(super) fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, "host", "host", report)?;
        let allow = fields.require("allow", "write allow: and what is to be open", report);
        fields.not_yet(&["ask", "rules"], report);
        fields.close(report);
        let words = "words such as signal, trace or bpf";
        Some(Self {
            allow: allow.map(|node| {
                Several::read(node, "allow", report, |node, report| {
                    text(node, "allow", words, report)
                })
            }),
        })
    }
}

/// Finds out what the section opens. `with_paths` says that the policy has rules on paths.
pub(super) fn powers(
    document: Option<&HostDocument>,
    with_paths: bool,
    report: &mut Report<'_>,
) -> Vec<Power> {
    let texts = document.and_then(|document| document.allow.as_ref()).map(|allow| &allow.texts);
    let read: Vec<Sited<Power>> =
        texts.map(|texts| read_all(texts, parse, report)).unwrap_or_default();
    let mut found: Vec<Sited<Power>> = Vec::new();
    for power in read {
        if let Some(first) = found.iter().find(|known| known.value == power.value) {
            let what = format!("allow {}", power.value.as_str());
            let problem = Problem::Repeated { what, first: first.place.line };
            report.at(power.place, problem, "remove one of the two");
            continue;
        }
        if power.value == Power::Mount && with_paths {
            let what = "mount in a policy with files, exec or secrets".to_owned();
            let mend = "rules on paths need the host's tree to stay as it is: remove mount";
            report.at(power.place, Problem::NotSupported(what), mend);
        }
        found.push(power);
    }
    found.into_iter().map(|power| power.value).collect()
}

fn parse(word: &str) -> Result<Power, Refusal> {
    let known = POWERS.iter().find(|power| power.as_str() == word);
    known.copied().ok_or_else(|| {
        let words: Vec<&str> = POWERS.iter().map(|power| power.as_str()).collect();
        let mend = match nearest(word, &words) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("write any of {}", words.join(", ")),
        };
        (Problem::BadValue { key: "allow", value: quoted(word) }, mend)
    })
}

/// The section in words, over several lines.
pub(super) fn explain(out: &mut String, open: &[Power]) -> std::fmt::Result {
    writeln!(out, "\nHost and other processes")?;
    for power in open {
        writeln!(out, "  {}: {}.", power.as_str(), in_words(*power))?;
    }
    writeln!(
        out,
        "  {}agentguard's own files: deny, whatever is written here.",
        match open {
            [] =>
                "Processes outside of the session, the kernel, its settings and devices, cgroups: deny.\n  ",
            _ => "Everything else of the kind: deny.\n  ",
        }
    )
}

/// What a power lets a session do.
const fn in_words(power: Power) -> &'static str {
    match power {
        Power::Signal => "may send signals to processes outside of the session",
        Power::Trace => "may trace them, and read and write their memory",
        Power::Process => "may change their priority, processors, limits and group",
        Power::Bpf => "may load BPF programs, and use those that are loaded, agentguard's too",
        Power::Perf => "may use performance events and the kernel's tracing",
        Power::Modules => "may load kernel modules and take them out",
        Power::Reboot => "may stop the host, and start another kernel",
        Power::Memory => "may use physical memory and ports",
        Power::Devices => "may use disks without their file systems, and keyboards",
        Power::Settings => "may write to /proc/sys, /sys and the like",
        Power::Clock => "may set the clock",
        Power::Log => "may clear the kernel's log",
        Power::Cgroups => "may make and change cgroups, and leave its own",
        Power::Mount => "may mount and unmount where others see it",
        Power::Namespaces => "may open namespaces that are bound to a name, as in /run/netns",
    }
}

#[cfg(test)]
mod tests {
    use super::super::Policy;
    use super::*;
    use std::path::Path;

    fn read(section: &str) -> Result<Policy, String> {
        let text = format!("version: 1\nagent: a\n{section}");
        Policy::parse(Path::new("p.yaml"), text.as_bytes()).map_err(|errors| errors.to_string())
    }

    #[test]
    fn nothing_is_open_that_is_not_listed() {
        assert!(read("").unwrap().host.is_empty());
        assert_eq!(read("").unwrap().compile().unwrap().entry.host, 0);
        let one = read("host:\n  allow: bpf\n").unwrap();
        assert_eq!(one.host, [Power::Bpf]);
        let two = read("host: { allow: [signal, clock] }\n").unwrap();
        assert_eq!(two.compile().unwrap().entry.host, Power::Signal.bit() | Power::Clock.bit());
    }

    #[test]
    fn every_word_is_read_and_explained() {
        for power in POWERS {
            let policy = read(&format!("host: {{ allow: {} }}\n", power.as_str())).unwrap();
            assert_eq!(policy.host, [power]);
            let line = format!("  {}: may ", power.as_str());
            assert!(super::super::explain(&policy).contains(&line), "{power:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (section, said) in [
            ("host: { allow: [signals] }\n", "p.yaml:3:17: bad value: allow is signals"),
            ("host: { allow: [signals] }\n", "did you mean signal?"),
            ("host: { allow: [everything] }\n", "write any of signal, trace, process, bpf"),
            ("host: { allow: [bpf, bpf] }\n", "on line 3"),
            ("host: { allow: [] }\n", "lists nothing: allow is empty"),
            ("host: {}\n", "missing: allow in host"),
            ("host: { deny: bpf }\n", "unknown key: deny in host"),
            (
                "files: { default: read }\nhost: { allow: mount }\n",
                "p.yaml:4:16: not supported yet",
            ),
        ] {
            let errors = read(section).unwrap_err();
            assert!(errors.contains(said), "{section}: {errors}");
        }
    }
}
