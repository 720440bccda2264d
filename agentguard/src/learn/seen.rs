//! What a session did, from its events.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use agentguard_common::net::Protocols;
use serde::Deserialize;

use crate::policy::{Access, address_of};

/// Something that a rule can allow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    /// A name was asked for.
    Ask(String),
    /// A port of an address was used, by the name that it was asked for by, if any.
    Connect { name: Option<String>, address: IpAddr, port: u16, protocol: u8 },
    /// A unix socket was connected to: a path or, after `@`, an abstract name.
    Unix(String),
    /// A resolver of the session's own choice was asked.
    Resolver(IpAddr),
    /// A file was read or listed.
    Read(String),
    /// A file was written. `made` says that its directory was changed: something came into
    /// it, or went.
    Write { path: String, made: bool },
    /// A program was executed, or the interpreter of one.
    Exec(String),
    /// Code was mapped into memory.
    Map(String),
    /// A program without a path was executed.
    Memory,
}

impl Act {
    /// The path, and what was done with it, of what is done with files.
    pub(super) fn path(&self) -> Option<(&str, Access)> {
        match self {
            Self::Read(path) => Some((path, Access::Read)),
            Self::Write { path, .. } => Some((path, Access::Write)),
            Self::Exec(path) | Self::Map(path) => Some((path, Access::Exec)),
            _ => None,
        }
    }
}

/// How often something was done, and by which programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) count: u64,
    pub(super) by: BTreeSet<String>,
}

impl Use {
    /// Adds what is known of another.
    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.by.extend(other.by.iter().cloned());
    }
}

/// What a session did.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// What a rule can allow.
    pub(super) acts: BTreeMap<Act, Use>,
    /// What no rule can allow, or none should without a thought: what, and why.
    pub(super) refused: BTreeMap<(String, String), Use>,
    /// Addresses inside that names were answered with.
    pub(super) inside: BTreeSet<IpAddr>,
    /// Events that were lost on the way.
    pub missed: u64,
}

/// What is read of an event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    action: String,
    resource: String,
    outcome: String,
    kind: String,
    verdict: String,
    reason: String,
    rule: String,
    target: Option<String>,
    process: Process,
    destination: Option<Destination>,
    dns: Option<Dns>,
    missed: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Process {
    exe: Option<String>,
    comm: String,
}

#[derive(Debug, Deserialize)]
struct Destination {
    #[serde(default)]
    name: Option<String>,
    address: IpAddr,
    port: u16,
    transport: String,
}

#[derive(Debug, Deserialize)]
struct Dns {
    name: String,
    #[serde(default)]
    addresses: Vec<IpAddr>,
}

/// Where musl sends nothing, to find out which address of its own would be used.
const MUSL_PROBE: u16 = 65_535;
/// The port of resolvers.
const DNS_PORT: u16 = 53;

impl Seen {
    /// Takes in an event of the session, as it stands in the log. What is none, and what says
    /// nothing of what was done, is left out. True where the session ended.
    pub fn add(&mut self, line: &str) -> bool {
        let Ok(line) = serde_json::from_str::<Line>(line) else { return false };
        self.missed += line.missed;
        if line.kind == "lifecycle" {
            return line.action == "session.end";
        }
        if !line.verdict.is_empty() {
            let by = program(&line.process);
            self.act(&line, by);
        }
        false
    }

    /// Whether nothing was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.acts.is_empty() && self.refused.is_empty()
    }

    fn act(&mut self, line: &Line, by: String) {
        let refused = line.outcome != "allowed";
        match line.action.as_str() {
            "answer" => {
                let addresses = line.dns.iter().flat_map(|dns| &dns.addresses);
                self.inside.extend(addresses.filter(|ip| address_of(**ip).is_inside()));
            }
            "resolve" if !refused => {
                let name = line.dns.as_ref().map(|dns| dns.name.clone());
                self.put(name.map(Act::Ask), by);
            }
            "exec" | "file.map" if refused && line.reason == "memory" => {
                self.put(Some(Act::Memory), by);
            }
            _ if refused => self.refuse(line, by),
            "connect" | "send" | "foreign" if line.resource.starts_with("unix:") => {
                // Built in, or the session's own.
                let free = line.rule.starts_with("builtin.") || line.reason == "own";
                let name = line.resource.get("unix:".len()..).unwrap_or_default().to_owned();
                self.put((!free).then_some(Act::Unix(name)), by);
            }
            "connect" | "send" | "foreign" => self.put(connection(line), by),
            "exec" => self.put(Some(Act::Exec(line.resource.clone())), by),
            "file.map" => self.put(Some(Act::Map(line.resource.clone())), by),
            "file.read" => self.put(Some(Act::Read(line.resource.clone())), by),
            deed => {
                if let Some(made) = deed.strip_prefix("file.").map(changes_directory) {
                    for path in [Some(&line.resource), line.target.as_ref()].into_iter().flatten() {
                        let act = Act::Write { path: path.clone(), made };
                        self.put(Some(act), by.clone());
                    }
                }
            }
        }
    }

    fn refuse(&mut self, line: &Line, by: String) {
        if line.reason == "resolver"
            && let Some(to) = line.destination.as_ref().filter(|to| to.port == DNS_PORT)
        {
            return self.put(Some(Act::Resolver(to.address)), by);
        }
        let why = if line.rule.is_empty() { &line.reason } else { &line.rule };
        let what = format!("{} {}", line.action, line.resource);
        let one = Use { count: 1, by: BTreeSet::from([by]) };
        self.refused.entry((what, why.clone())).or_default().add(&one);
    }

    fn put(&mut self, act: Option<Act>, by: String) {
        let Some(act) = act else { return };
        if act.path().is_some_and(|(path, _)| !path.starts_with('/')) {
            // A file without a place, whose path is of no use.
            return;
        }
        let one = Use { count: 1, by: BTreeSet::from([by]) };
        self.acts.entry(act).or_default().add(&one);
    }
}

/// Where a connection or message went; `None` where nothing has to be allowed for it.
fn connection(line: &Line) -> Option<Act> {
    let to = line.destination.as_ref()?;
    let protocol = match to.transport.as_str() {
        "tcp" | "mptcp" => Protocols::TCP,
        "udp" => Protocols::UDP,
        "icmp" => Protocols::ICMP,
        _ => return None,
    };
    // What names are looked up with; what the session listens on itself; and a look at which
    // address would be used, that sends nothing.
    let probe = protocol == Protocols::UDP && (to.port == 0 || to.port == MUSL_PROBE);
    if line.reason == "resolver" || line.reason == "own" || probe {
        return None;
    }
    let port = if protocol == Protocols::ICMP { 0 } else { to.port };
    let name = to.name.as_ref().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
    Some(Act::Connect { name, address: to.address, port, protocol: protocol.0 })
}

/// Whether a deed changes the directory that the file is in.
fn changes_directory(deed: &str) -> bool {
    matches!(
        deed,
        "create" | "mkdir" | "mknod" | "symlink" | "link" | "rename" | "delete" | "rmdir"
    )
}

/// A program by its name, fit to stand in a comment.
fn program(process: &Process) -> String {
    let path = process.exe.as_deref().unwrap_or(&process.comm);
    let name = path.rsplit('/').next().unwrap_or(path);
    let name: String = name.chars().filter(|sign| !sign.is_control()).take(32).collect();
    if name.is_empty() { "?".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(lines: &[&str]) -> Seen {
        let mut seen = Seen::default();
        for line in lines {
            seen.add(line);
        }
        seen
    }

    #[test]
    fn each_act_is_counted_with_its_programs() {
        let line = |exe: &str| {
            format!(
                r#"{{"action":"connect","resource":"tcp://1.2.3.4:443","outcome":"allowed","kind":"decision","verdict":"allow","reason":"default","process":{{"exe":"{exe}","comm":"x"}},"destination":{{"name":"Api.Test.","address":"1.2.3.4","port":443,"transport":"tcp"}}}}"#
            )
        };
        let (curl, git) = (line("/usr/bin/curl"), line("/usr/bin/git"));
        let seen = seen(&[&curl, &git, &curl]);
        let act = Act::Connect {
            name: Some("api.test".into()),
            address: "1.2.3.4".parse().unwrap(),
            port: 443,
            protocol: Protocols::TCP.0,
        };
        assert_eq!(seen.acts[&act].count, 3);
        assert_eq!(seen.acts[&act].by, BTreeSet::from(["curl".into(), "git".into()]));
    }

    #[test]
    fn what_needs_no_rule_is_left_out() {
        let event = |member: &str| {
            format!(
                r#"{{"action":"connect","outcome":"allowed","kind":"decision","verdict":"allow",{member}}}"#
            )
        };
        let to = |port, transport, reason| {
            event(&format!(
                r#""resource":"x","reason":"{reason}","destination":{{"address":"1.2.3.4","port":{port},"transport":"{transport}"}}"#
            ))
        };
        let lines = [
            to(0, "udp", "default"),
            to(65535, "udp", "default"),
            to(53, "udp", "resolver"),
            to(8080, "tcp", "own"),
            event(
                r#""resource":"unix:/run/systemd/userdb/x","reason":"rule","rule":"builtin.lookup""#,
            ),
            // The kernel's own word for an exec that went on: it has no verdict.
            r#"{"action":"exec","resource":"/bin/x","outcome":"allowed","kind":"activity"}"#.into(),
            "not json".into(),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert!(seen(&lines).is_empty());
    }

    #[test]
    fn what_no_rule_allows_is_kept_apart_and_a_gap_is_counted() {
        let socket = r#"{"action":"socket","resource":"socket:packet/raw/0","outcome":"would-deny","kind":"decision","verdict":"deny","reason":"protocol","process":{"comm":"a"}}"#;
        let memory = r#"{"action":"exec","resource":"/memfd:x","outcome":"would-deny","kind":"decision","verdict":"deny","reason":"memory"}"#;
        let asked = r#"{"action":"send","resource":"udp://8.8.8.8:53","outcome":"would-deny","kind":"decision","verdict":"deny","reason":"resolver","destination":{"address":"8.8.8.8","port":53,"transport":"udp"}}"#;
        let gap = r#"{"kind":"gap","missed":12}"#;
        let end = r#"{"action":"session.end","kind":"lifecycle","outcome":"success"}"#;
        let mut seen = seen(&[socket, memory, asked, gap]);
        assert!(seen.add(end));
        assert_eq!(seen.missed, 12);
        let acts: Vec<&Act> = seen.acts.keys().collect();
        assert_eq!(acts, [&Act::Resolver("8.8.8.8".parse().unwrap()), &Act::Memory]);
        let refused: Vec<_> = seen.refused.keys().cloned().collect();
        assert_eq!(refused, [("socket socket:packet/raw/0".into(), "protocol".into())]);
    }

    #[test]
    fn a_renaming_writes_both_paths() {
        let line = r#"{"action":"file.rename","resource":"/a/b","target":"/c/d","outcome":"allowed","kind":"activity","verdict":"allow","reason":"default"}"#;
        let acts: Vec<Act> = seen(&[line]).acts.into_keys().collect();
        let write = |path: &str| Act::Write { path: path.into(), made: true };
        assert_eq!(acts, [write("/a/b"), write("/c/d")]);
    }
}
