//! Refusals over and over, and looking around: what is tried, not what is done.

use super::scale::grows;
use super::seen::base_name;
use super::window::{Distinct, Events, Few};
use super::{Detector, Found, Seen};
use crate::policy::{Confidence, Finding};

/// How often the same has to be refused.
pub(super) const REPEATED: u32 = 20;
/// How many different things have to be refused.
pub(super) const PROBED: u32 = 15;
/// How many ports of a host, or half as many hosts, have to be tried.
pub(super) const SCANNED: u32 = 15;

const MINUTE: u64 = 60_000;
/// How many things are remembered at the most.
const KEPT: usize = 64;
/// Programs that look for hosts and ports, and do nothing else.
const SCANNERS: [&str; 8] =
    ["nmap", "masscan", "zmap", "rustscan", "naabu", "unicornscan", "hping3", "zgrab2"];

/// The same is refused over and over: 20 times in five minutes.
pub(super) struct Repeated {
    threshold: u32,
    of: Few<Events>,
}

impl Repeated {
    pub(super) const fn new(threshold: u32) -> Self {
        Self { threshold, of: Few::new(KEPT) }
    }
}

impl Detector for Repeated {
    fn see(&mut self, event: &Seen<'_>, found: &mut Vec<Found>) {
        if !event.denied() {
            return;
        }
        let key = format!("{} {}", event.action, event.resource);
        let most = kept(self.threshold);
        let Some(events) = self.of.get(&key, || Events::new(5 * MINUTE, most)) else { return };
        let count = events.add(event.id, event.at);
        if count >= self.threshold {
            found.push(Found {
                finding: Finding::RepeatedDenials,
                new: false,
                confidence: grows(60, count, self.threshold),
                evidence: events.evidence(),
                reason: format!("{key} was refused {count} times in 5 minutes"),
            });
        }
    }
}

/// Many different things are refused: 15 hosts, ports or names in a minute, or 30 paths.
pub(super) struct Probing {
    threshold: u32,
    places: Distinct,
    names: Distinct,
    paths: Distinct,
}

impl Probing {
    pub(super) const fn new(threshold: u32) -> Self {
        Self {
            threshold,
            places: Distinct::new(MINUTE, kept(threshold)),
            names: Distinct::new(MINUTE, kept(threshold)),
            paths: Distinct::new(MINUTE, 2 * kept(threshold)),
        }
    }
}

impl Detector for Probing {
    fn see(&mut self, event: &Seen<'_>, found: &mut Vec<Found>) {
        if !event.denied() {
            return;
        }
        let (things, what, base, threshold) = match event.action {
            "connect" | "send" | "foreign" => {
                (&mut self.places, "places to connect to", 65, self.threshold)
            }
            "resolve" => (&mut self.names, "names", 60, self.threshold),
            action if action.starts_with("file.") || action == "exec" => {
                (&mut self.paths, "paths", 60, self.threshold.saturating_mul(2))
            }
            _ => return,
        };
        let Some(count) = things.add(event.resource, event.id, event.at) else { return };
        if count >= threshold {
            found.push(Found {
                finding: Finding::Probing,
                new: false,
                confidence: grows(base, count, threshold),
                evidence: things.evidence(),
                reason: format!("{count} different {what} were refused in a minute"),
            });
        }
    }
}

/// Looking for hosts or ports, whatever is said to it: 15 ports of one host in a minute, or
/// one port of 30 hosts, other than that of the web.
pub(super) struct Scanning {
    threshold: u32,
    ports: Few<Distinct>,
    hosts: Few<Distinct>,
}

impl Scanning {
    pub(super) const fn new(threshold: u32) -> Self {
        Self { threshold, ports: Few::new(KEPT), hosts: Few::new(KEPT) }
    }
}

impl Detector for Scanning {
    fn see(&mut self, event: &Seen<'_>, found: &mut Vec<Found>) {
        if let Some(program) = event.executes().map(base_name)
            && SCANNERS.contains(&program)
        {
            found.push(Found {
                finding: Finding::Scanning,
                new: false,
                confidence: Confidence::of(75),
                evidence: vec![event.id.to_owned()],
                reason: format!("{program} was run, which looks for hosts and ports"),
            });
        }
        let ("connect" | "send", Some((address, port))) = (event.action, event.destination) else {
            return;
        };
        let port_text = port.to_string();
        let (threshold, kept) = (self.threshold, kept(self.threshold));
        let ports = self.ports.get(address, || Distinct::new(MINUTE, kept));
        let ports = ports.and_then(|ports| {
            let count = ports.add(&port_text, event.id, event.at)?;
            (count >= threshold).then(|| (count, threshold, ports.evidence()))
        });
        if let Some((count, threshold, evidence)) = ports {
            let reason = format!("{count} ports of {address} were tried in a minute");
            found.push(scan(count, threshold, evidence, reason));
        }
        if matches!(port, 80 | 443 | 53) {
            return;
        }
        let threshold = threshold.saturating_mul(2);
        let hosts = self.hosts.get(&port_text, || Distinct::new(MINUTE, 2 * kept));
        let hosts = hosts.and_then(|hosts| {
            let count = hosts.add(address, event.id, event.at)?;
            (count >= threshold).then(|| (count, hosts.evidence()))
        });
        if let Some((count, evidence)) = hosts {
            let reason = format!("port {port} of {count} hosts was tried in a minute");
            found.push(scan(count, threshold, evidence, reason));
        }
    }
}

fn scan(count: u32, threshold: u32, evidence: Vec<String>, reason: String) -> Found {
    Found {
        finding: Finding::Scanning,
        new: false,
        confidence: grows(70, count, threshold),
        evidence,
        reason,
    }
}

/// How many are kept: the threshold and more, so that it can be told how much more there is.
const fn kept(threshold: u32) -> usize {
    let threshold = threshold as usize;
    if threshold > 1024 { threshold + 1 } else { 4 * threshold }
}
