//! Questions and answers for names as events, and which name led to which address.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv6Addr;

use agentguard_common::event::{self as record, Kind};
use agentguard_common::name::NAME_BYTES;
use agentguard_common::net::{self, Address};
use schemars::JsonSchema;
use serde::Serialize;

/// How many addresses have their names remembered; the oldest are forgotten first.
const REMEMBERED: usize = 65_536;

/// A name that was asked for or answered.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DnsInfo {
    /// The name.
    pub name: String,
    /// The type of records: `A`, `AAAA`, …; by number where it has no word here.
    pub r#type: String,
    /// Who was asked.
    pub resolver: String,
    /// The transport: `tcp` or `udp`.
    pub transport: &'static str,
    /// What it was answered with, the first eight of them; where an answer was refused for
    /// an address inside, that one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

impl DnsInfo {
    /// What a record tells.
    #[must_use]
    pub fn of(dns: &record::Dns) -> Self {
        Self {
            name: name(&dns.name),
            r#type: kind(dns.kind),
            resolver: text(Address::from_octets(dns.resolver)),
            transport: if dns.protocol == net::IPPROTO_TCP { "tcp" } else { "udp" },
            addresses: addresses(dns).map(text).collect(),
        }
    }
}

/// The server's name in a handshake, as a resource; without one, its address.
pub(super) fn server(hello: &record::Dns) -> String {
    match hello.name.first() {
        None | Some(0) => {
            let address = Address::from_octets(hello.resolver);
            let ip = Ipv6Addr::from(address.octets()).to_canonical();
            format!("tls:{}", std::net::SocketAddr::new(ip, hello.port))
        }
        Some(_) => format!("tls:{}:{}", name(&hello.name), hello.port),
    }
}

/// The addresses in a record.
fn addresses(dns: &record::Dns) -> impl Iterator<Item = Address> {
    let count = usize::try_from(dns.count).unwrap_or(usize::MAX);
    dns.addresses.iter().take(count).copied()
}

fn text(address: Address) -> String {
    Ipv6Addr::from(address.octets()).to_canonical().to_string()
}

/// A name as people write it; `.` for the root, nothing where it could not be read is the
/// same.
fn name(reversed: &[u8; NAME_BYTES]) -> String {
    let end = reversed.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
    let bytes: Vec<u8> = reversed.iter().take(end).rev().copied().collect();
    match bytes.as_slice() {
        [] => ".".into(),
        // Whatever a program put there is shown and not obeyed.
        bytes => bytes.escape_ascii().to_string(),
    }
}

fn kind(number: u16) -> String {
    let known = match number {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        64 => "SVCB",
        65 => "HTTPS",
        255 => "ANY",
        other => return other.to_string(),
    };
    known.into()
}

/// Which name each session had an address from, the last where there are several.
#[derive(Default)]
pub(super) struct Names {
    known: HashMap<(u64, Address), String>,
    order: VecDeque<(u64, Address)>,
}

impl Names {
    /// Learns from an answer that was let through.
    pub(super) fn learn(&mut self, kind: Kind, dns: &record::Dns) {
        if kind != Kind::Answer || dns.verdict != agentguard_common::Verdict::Allow as u8 {
            return;
        }
        let name = name(&dns.name);
        for address in addresses(dns) {
            let key = (dns.header.session, address);
            if self.known.insert(key, name.clone()).is_none() {
                self.order.push_back(key);
            }
        }
        while self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    /// The name that led a session to an address.
    #[must_use]
    pub(super) fn of(&self, session: u64, address: Address) -> Option<&str> {
        self.known.get(&(session, address)).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentguard_common::name::Key;
    use bytemuck::Zeroable as _;

    #[test]
    fn an_answer_tells_where_an_address_is_from() {
        let mut dns = record::Dns::zeroed();
        dns.header.session = 7;
        dns.name = Key::exact(0, "api.github.com").unwrap().name;
        dns.addresses[0] = Address::v4(0x0102_0304);
        dns.count = 1;
        let mut names = Names::default();
        names.learn(Kind::Question, &dns);
        assert_eq!(names.of(7, Address::v4(0x0102_0304)), None);
        names.learn(Kind::Answer, &dns);
        assert_eq!(names.of(7, Address::v4(0x0102_0304)), Some("api.github.com"));
        assert_eq!(names.of(8, Address::v4(0x0102_0304)), None);
        assert_eq!(DnsInfo::of(&dns).addresses, ["1.2.3.4"]);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut dns = record::Dns::zeroed();
        dns.count = 1;
        let mut names = Names::default();
        for number in 0..u32::try_from(REMEMBERED).unwrap() + 10 {
            dns.addresses[0] = Address::v4(number);
            names.learn(Kind::Answer, &dns);
        }
        assert_eq!(names.known.len(), REMEMBERED);
        assert_eq!(names.of(0, Address::v4(9)), None);
        assert!(names.of(0, Address::v4(10)).is_some());
    }

    #[test]
    fn what_a_program_put_into_a_name_is_shown() {
        let mut reversed = [0; NAME_BYTES];
        reversed[..3].copy_from_slice(b"\x1ba.");
        assert_eq!(name(&reversed), ".a\\x1b");
        assert_eq!(name(&[0; NAME_BYTES]), ".");
    }
}
