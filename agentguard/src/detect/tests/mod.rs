//! Streams of events in, findings out.

mod kinds;
mod properties;
mod recorded;

use serde_json::{Value, json};

use super::{Detect, Found, History, Seen};
use crate::event::{Class, Outcome};
use crate::policy::{DetectSection, Finding};

/// An event that owns what it says.
#[derive(Clone, Debug, Default)]
struct Told {
    at: u64,
    id: String,
    action: String,
    resource: String,
    target: Option<String>,
    denied: bool,
    activity: bool,
    reason: Option<String>,
    message: Option<String>,
    pid: u32,
    uid: u32,
    exe: Option<String>,
    args: Vec<String>,
    exit_code: Option<u32>,
    name: Option<String>,
    destination: Option<(String, u16)>,
}

impl Told {
    fn new(action: &str, resource: &str) -> Self {
        Self {
            action: action.into(),
            resource: resource.into(),
            pid: 1,
            uid: 1000,
            ..Self::default()
        }
    }

    fn denied(self) -> Self {
        Self { denied: true, ..self }
    }

    fn connect(address: &str, port: u16) -> Self {
        let destination = Some((address.to_owned(), port));
        Self { destination, ..Self::new("connect", &format!("tcp://{address}:{port}")) }
    }

    fn resolve(name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..Self::new("resolve", &format!("dns:{name}")) }
    }

    fn exec(path: &str, args: &[&str], pid: u32) -> Self {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Self { args, pid, activity: true, ..Self::new("exec", path) }
    }

    fn exit(pid: u32, code: u32) -> Self {
        let (exit_code, activity) = (Some(code), true);
        Self { pid, exit_code, activity, ..Self::new("exit", &pid.to_string()) }
    }

    fn fork(child: u32) -> Self {
        Self { activity: true, ..Self::new("fork", &child.to_string()) }
    }

    /// From a line of the log.
    fn read(line: &Value, at: u64) -> Self {
        let text = |of: &Value, key: &str| of[key].as_str().map(str::to_owned);
        let number = |of: &Value, key: &str| of[key].as_u64().and_then(|n| u32::try_from(n).ok());
        let (process, to) = (&line["process"], &line["destination"]);
        let args = process["args"].as_array().into_iter().flatten();
        Self {
            at,
            id: text(line, "id").unwrap_or_default(),
            action: text(line, "action").unwrap_or_default(),
            resource: text(line, "resource").unwrap_or_default(),
            target: text(line, "target"),
            denied: matches!(line["outcome"].as_str(), Some("denied" | "would-deny")),
            activity: line["kind"] == "activity",
            reason: text(line, "reason"),
            message: text(line, "message"),
            pid: number(process, "pid").unwrap_or_default(),
            uid: number(process, "uid").unwrap_or_default(),
            exe: text(process, "exe"),
            args: args.filter_map(|arg| arg.as_str().map(str::to_owned)).collect(),
            exit_code: number(process, "exit_code"),
            name: text(&line["dns"], "name").or_else(|| text(to, "name")),
            destination: text(to, "address")
                .and_then(|address| Some((address, u16::try_from(to["port"].as_u64()?).ok()?))),
        }
    }

    fn seen(&self) -> Seen<'_> {
        Seen {
            at: self.at,
            id: &self.id,
            action: &self.action,
            resource: &self.resource,
            target: self.target.as_deref(),
            outcome: if self.denied { Outcome::Denied } else { Outcome::Allowed },
            kind: if self.activity { Class::Activity } else { Class::Decision },
            reason: self.reason.as_deref(),
            pid: self.pid,
            uid: Some(self.uid),
            exe: self.exe.as_deref(),
            args: &self.args,
            cwd: None,
            exit_code: self.exit_code,
            message: self.message.as_deref(),
            name: self.name.as_deref(),
            destination: self.destination.as_ref().map(|(address, port)| (address.as_str(), *port)),
        }
    }
}

/// Gives events their ids and times, so many milliseconds apart.
fn stream(events: impl IntoIterator<Item = Told>, apart: u64) -> Vec<Told> {
    let numbered = (0u64..).zip(events);
    numbered
        .map(|(n, event)| Told { at: 1_000_000 + n * apart, id: format!("e{n}"), ..event })
        .collect()
}

/// All that is found, whatever it is sure of.
fn all_found(events: &[Told]) -> Vec<Found> {
    found_after(events, &History::default(), "floor: 0")
}

/// What is found by a section of a policy after some sessions.
fn found_after(events: &[Told], history: &History, detect: &str) -> Vec<Found> {
    let text = format!("version: 1\nagent: a\ndetect: {{ {detect} }}\n");
    let policy = crate::policy::Policy::parse(std::path::Path::new("p.yaml"), text.as_bytes());
    let section: DetectSection = policy.unwrap_or_else(|errors| panic!("{errors}")).detect;
    let mut detect = Detect::new(&section, history);
    events.iter().flat_map(|event| detect.see(&event.seen())).collect()
}

/// Those that are told.
fn told(found: &[Found]) -> Vec<&Found> {
    found.iter().filter(|found| found.new).collect()
}

/// The surest of one kind.
fn surest(found: &[Found], finding: Finding) -> Option<&Found> {
    let of = found.iter().filter(|found| found.finding == finding);
    of.max_by_key(|found| found.confidence)
}

#[test]
fn lines_of_the_log_are_read_as_detectors_see_them() {
    let line = json!({
        "id": "1-0", "action": "connect", "resource": "tcp://10.0.0.1:443", "outcome": "denied",
        "kind": "decision", "process": { "pid": 7, "uid": 3, "exe": "/bin/x" },
        "destination": { "address": "10.0.0.1", "port": 443, "name": "a.b" },
    });
    let told = Told::read(&line, 5);
    let seen = told.seen();
    assert!(seen.denied() && seen.reaches_out());
    assert_eq!((seen.pid, seen.uid, seen.name), (7, Some(3), Some("a.b")));
}
