//! How a policy's sessions look names up: which resolvers they may ask, what those may
//! answer, and for how long an answer counts.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};

use agentguard_common::egress::{MAX_INSIDE, PolicyEntry, Prefix, dns};
use agentguard_common::net::Address;

use super::MAX_RESOLVERS;
use super::document::DnsDocument;
use super::error::Problem;
use super::meaning::read_all;
use super::network::{Network, Refusal, address_of};
use super::place::Sited;
use super::report::{Report, quoted};
use super::shape::DurationText;

/// The word for the resolvers of the host.
const SYSTEM: &str = "system";
/// How long an answer counts at the least and at the most, in seconds, where the policy
/// does not say.
const FLOOR: u32 = 5 * 60;
const CAP: u32 = 60 * 60;
/// The longest time that either can be: a week.
const LONGEST: u32 = 7 * DAY;
const DAY: u32 = 24 * 60 * 60;
/// The units of time, the longest first.
const UNITS: [(char, u32, &str); 4] =
    [('d', DAY, "day"), ('h', 60 * 60, "hour"), ('m', 60, "minute"), ('s', 1, "second")];

/// How names are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Whether the host's own resolvers may be asked, those of `/etc/resolv.conf`.
    pub system: bool,
    /// The addresses of resolvers that may be asked.
    pub resolvers: Vec<Address>,
    /// The networks in which names may have addresses that are inside
    /// ([`Address::is_inside`]): of this host, its network or its cloud.
    ///
    /// The address of a cloud's metadata service is not meant by a network that happens to
    /// hold it: it has to stand here itself.
    pub inside: Vec<Network>,
    /// How long an address is usable that an answer gave, in seconds: at the least.
    pub floor: u32,
    /// And at the most.
    pub cap: u32,
}

impl Default for Dns {
    fn default() -> Self {
        Self { system: true, resolvers: Vec::new(), inside: Vec::new(), floor: FLOOR, cap: CAP }
    }
}

impl Dns {
    /// Finds the meaning of a section.
    pub(super) fn of(document: &DnsDocument, report: &mut Report<'_>) -> Self {
        let resolvers = document.resolvers.as_ref().map(|texts| {
            let found = read_all(&texts.texts, resolver, report);
            distinct("resolver", &found, |found| resolver_name(*found), report);
            let listed = found.iter().filter(|found| found.value.is_some()).count();
            few("resolvers", listed, MAX_RESOLVERS, found.last(), report);
            found
        });
        let inside = document.inside.as_ref().map(|texts| {
            let found = read_all(&texts.texts, Network::parse, report);
            distinct("network", &found, ToString::to_string, report);
            few("networks in inside", found.len(), MAX_INSIDE, found.last(), report);
            found.into_iter().map(|found| found.value).collect()
        });
        let system =
            resolvers.as_ref().is_none_or(|found| found.iter().any(|found| found.value.is_none()));
        let resolvers =
            resolvers.unwrap_or_default().into_iter().filter_map(|found| found.value).collect();
        let (floor, cap) = times(document, report);
        Self { system, resolvers, inside: inside.unwrap_or_default(), floor, cap }
    }

    /// Puts what the kernel needs of it into a policy's entry.
    pub(super) fn fill(&self, entry: &mut PolicyEntry) {
        entry.dns = dns::CHECKED | if self.system { dns::SYSTEM } else { 0 };
        (entry.floor, entry.cap) = (self.floor, self.cap);
        for (place, network) in entry.inside.iter_mut().zip(&self.inside) {
            let bits = u32::from(network.bits());
            *place = Prefix { address: network.address(), bits, reserved: 0 };
            entry.inside_count += 1;
        }
    }
}

/// Reads the address of a resolver; `None` for those of the host.
fn resolver(text: &str) -> Result<Option<Address>, Refusal> {
    let bad = |why, mend: String| Err((Problem::BadResolver { text: quoted(text), why }, mend));
    if text == SYSTEM {
        return Ok(None);
    }
    if let Ok(to) = text.parse::<SocketAddr>() {
        let mend = format!("write {}: resolvers are asked on port 53", to.ip());
        return bad("has a port in it", mend);
    }
    if text.contains('/') {
        return bad("is a network", "write the address of each resolver".into());
    }
    let Ok(ip) = text.parse::<IpAddr>() else {
        let mend = "write an address such as 10.20.0.53, or system for the host's resolvers";
        return bad("is no address", mend.into());
    };
    let address = address_of(ip);
    let reached = address.reached();
    if reached != address {
        let mend = format!("write {}", Network::new(reached, 128));
        return bad("is no destination", mend);
    }
    Ok(Some(address))
}

fn resolver_name(resolver: Option<Address>) -> String {
    let address = resolver.map(|address| Network::new(address, 128).to_string());
    address.unwrap_or_else(|| SYSTEM.to_owned())
}

/// Refuses what stands in a list twice.
fn distinct<T: Eq + Hash>(
    kind: &str,
    items: &[Sited<T>],
    name: impl Fn(&T) -> String,
    report: &mut Report<'_>,
) {
    let mut seen = HashMap::new();
    for item in items {
        let first = *seen.entry(&item.value).or_insert(item.place);
        if first != item.place {
            let what = format!("{kind} {}", name(&item.value));
            let problem = Problem::Repeated { what, first: first.line };
            report.at(item.place, problem, "remove one of the two");
        }
    }
}

/// Refuses more items than there is room for.
fn few<T>(
    key: &'static str,
    count: usize,
    max: usize,
    last: Option<&Sited<T>>,
    report: &mut Report<'_>,
) {
    if let Some(last) = last
        && count > max
    {
        report.at(last.place, Problem::TooMany { key, count, max }, "keep those that are needed");
    }
}

/// How long an answer counts, at the least and at the most.
fn times(document: &DnsDocument, report: &mut Report<'_>) -> (u32, u32) {
    let errors = report.count();
    let mut given = |key, text: &Option<Sited<DurationText>>| {
        let text = text.as_ref()?;
        match duration(key, &text.value.0) {
            Ok(seconds) => Some(Sited::new(seconds, text.place)),
            Err((problem, mend)) => {
                report.at(text.place, problem, mend);
                None
            }
        }
    };
    let (floor, cap) = (given("floor", &document.floor), given("cap", &document.cap));
    let in_force = (
        floor.as_ref().map_or(FLOOR, |floor| floor.value),
        cap.as_ref().map_or(CAP, |cap| cap.value),
    );
    if in_force.0 <= in_force.1 || report.count() > errors {
        return in_force;
    }
    let (least, most) = (short(in_force.0), short(in_force.1));
    let bad = |key, text, why| Problem::BadDuration { key, text, why };
    match (floor, cap) {
        (Some(floor), Some(_)) => {
            let problem = bad("floor", least, "is longer than the cap");
            report.at(floor.place, problem, format!("write {most} or less"));
        }
        (Some(floor), None) => {
            let problem =
                bad("floor", least.clone(), "is longer than the cap, 1h where none is given");
            report.at(floor.place, problem, format!("write cap: {least} too, or more"));
        }
        (None, cap) => {
            let problem =
                bad("cap", most.clone(), "is shorter than the floor, 5m where none is given");
            let mend = format!("write floor: {most} too, or less");
            if let Some(cap) = cap {
                report.at(cap.place, problem, mend);
            }
        }
    }
    in_force
}

/// Reads a number and its unit, in seconds.
pub(super) fn duration(key: &'static str, text: &str) -> Result<u32, Refusal> {
    let bad = |why, mend: String| (Problem::BadDuration { key, text: quoted(text), why }, mend);
    let unit =
        UNITS.iter().find_map(|(unit, seconds, _)| Some((text.strip_suffix(*unit)?, seconds)));
    let (number, seconds) = match unit {
        Some((number, seconds)) => (number, *seconds),
        None => (text, 0),
    };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        let mend = "write a whole number and s, m, h or d, such as 5m";
        return Err(bad("is no duration", mend.into()));
    }
    if seconds == 0 {
        return Err(bad("has no unit", format!("write {number}s for seconds; or m, h or d")));
    }
    let total = number.parse::<u32>().ok().and_then(|number| number.checked_mul(seconds));
    match total {
        Some(total @ 1..=LONGEST) => Ok(total),
        Some(0) => Err(bad("is no time at all", "write 1s or more".into())),
        _ => Err(bad("is too long", "write 7d or less".into())),
    }
}

/// The largest unit that a time is a whole number of.
fn unit_of(seconds: u32) -> (u32, char, &'static str) {
    let whole = UNITS.iter().find(|(_, unit, _)| seconds.is_multiple_of(*unit));
    whole.map_or((seconds, 's', "second"), |(letter, unit, word)| (seconds / unit, *letter, word))
}

/// A time as policies have it.
pub(super) fn short(seconds: u32) -> String {
    let (number, letter, _) = unit_of(seconds);
    format!("{number}{letter}")
}

/// A time in words.
pub(super) fn in_words(seconds: u32) -> String {
    let (number, _, word) = unit_of(seconds);
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_they_are_read() {
        for text in ["1s", "90s", "5m", "1h", "36h", "7d"] {
            assert_eq!(short(duration("cap", text).unwrap()), text);
        }
        assert_eq!(duration("cap", "3600s").unwrap(), CAP);
        for (text, why) in [
            ("", "is no duration"),
            ("m", "is no duration"),
            ("5", "has no unit"),
            ("-5m", "is no duration"),
            ("1.5h", "is no duration"),
            ("5 m", "is no duration"),
            ("5min", "is no duration"),
            ("0s", "is no time at all"),
            ("8d", "is too long"),
            ("99999999999999d", "is too long"),
        ] {
            let (problem, _) = duration("cap", text).unwrap_err();
            assert!(problem.to_string().ends_with(why), "{text}: {problem}");
        }
        assert_eq!((in_words(3600), in_words(300)), ("1 hour".into(), "5 minutes".into()));
    }

    #[test]
    fn the_kernel_gets_networks_at_their_place_in_the_table() {
        let inside = ["10.0.0.0/8", "fd00::/8"].map(|text| Network::parse(text).unwrap()).to_vec();
        let mut entry: PolicyEntry = bytemuck::Zeroable::zeroed();
        Dns { inside, system: false, ..Dns::default() }.fill(&mut entry);
        assert_eq!((entry.dns, entry.inside_count), (dns::CHECKED, 2));
        assert_eq!((entry.floor, entry.cap), (300, 3600));
        assert_eq!(entry.inside[0].address, Address::v4(0x0a00_0000));
        assert_eq!((entry.inside[0].bits, entry.inside[1].bits), (104, 8));
        assert_eq!(entry.inside[2].bits, 0);
    }
}
