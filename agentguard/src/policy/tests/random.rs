//! Random policies that crowd together, so that their rules meet.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use agentguard_common::net::{Address, Destination, Protocols};
use agentguard_common::verdict::Verdict;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::super::{Network, Ports};

/// A rule as a test knows it.
#[derive(Clone, Debug)]
pub(in super::super) struct Rule {
    pub(in super::super) verdict: Verdict,
    pub(in super::super) networks: Vec<Network>,
    /// Names; all below one where they begin with a star.
    pub(in super::super) names: Vec<String>,
    pub(in super::super) ports: Vec<Ports>,
    pub(in super::super) protocols: Protocols,
}

/// Addresses that differ in few bits, far apart in length, and the odd ones.
fn address() -> impl Strategy<Value = Address> {
    let v4 = (select(vec![0x0a00_0000u32, 0x0a80_0000, 0, 0x7f00_0000, 0xa9fe_a9fe]), any::<u8>())
        .prop_map(|(base, noise)| {
            let spread = u32::from(noise & 0x0f) | (u32::from(noise >> 4) << 20);
            Address::v4(base ^ spread)
        });
    let v6 = (select(vec![0u64, 0x2001_0db8_0000_0000, 0xfd00_0ec2_0000_0000]), any::<u16>())
        .prop_map(|(high, noise)| Address {
            high: high ^ (u64::from(noise & 0xf) << 12),
            low: u64::from(noise >> 4 & 0xf) << 44 | u64::from(noise >> 8),
        });
    prop_oneof![3 => v4, 2 => v6, 1 => select(vec![
        Address::v4(0),
        Address::v4(u32::MAX),
        Address { high: 0, low: 0 },
        Address { high: u64::MAX, low: u64::MAX },
    ])]
}

fn network() -> impl Strategy<Value = Network> {
    (address(), 0..=128u8, any::<bool>()).prop_filter_map("refused", |(address, bits, few)| {
        // Half of them from few lengths, so that equal prefixes come up.
        let v4 = address.is_v4();
        let bits = match (few, v4) {
            (true, true) => [96, 104, 108, 112, 124, 128][usize::from(bits % 6)],
            (true, false) => [0, 32, 48, 64, 120, 128][usize::from(bits % 6)],
            (false, true) => 96 + bits % 33,
            (false, false) => bits,
        };
        let network = Network::new(address, bits);
        let written = network.to_string();
        (Network::parse(&written) == Ok(network)).then_some(network)
    })
}

fn ports() -> impl Strategy<Value = Ports> {
    prop_oneof![
        3 => (1..12u16).prop_map(|port| Ports { first: port, last: port }),
        4 => (1..12u16, 0..6u16).prop_map(|(first, more)| Ports { first, last: first + more }),
        1 => Just(Ports::ANY),
        1 => Just(Ports { first: 1, last: u16::MAX }),
        1 => Just(Ports { first: u16::MAX, last: u16::MAX }),
    ]
}

fn protocols() -> impl Strategy<Value = Protocols> {
    select(vec![Protocols::TCP, Protocols::UDP, Protocols::ANY, Protocols::ANY])
}

/// Names of few labels, so that they are below one another.
pub(in super::super) fn name() -> impl Strategy<Value = String> {
    prop::collection::vec(select(vec!["a", "b", "a-b", "ab"]), 1..5)
        .prop_map(|labels| labels.join("."))
}

fn pattern() -> impl Strategy<Value = String> {
    (name(), any::<bool>())
        .prop_map(|(name, star)| format!("{}{name}", ["", "*."][usize::from(star)]))
}

fn rule() -> impl Strategy<Value = Rule> {
    let verdict = select(vec![Verdict::Allow, Verdict::Allow, Verdict::Deny, Verdict::Ask]);
    let places = prop_oneof![
        2 => (prop::collection::vec(network(), 1..4), Just(Vec::new())),
        2 => (Just(Vec::new()), prop::collection::vec(pattern(), 1..4)),
        1 => (prop::collection::vec(network(), 1..3), prop::collection::vec(pattern(), 1..3)),
    ];
    let ports = prop::collection::vec(ports(), 1..4);
    (verdict, places, ports, protocols()).prop_map(
        |(verdict, (networks, names), ports, protocols)| Rule {
            verdict,
            networks,
            names,
            ports,
            protocols,
        },
    )
}

pub(in super::super) fn rules() -> impl Strategy<Value = Vec<Rule>> {
    prop::collection::vec(rule(), 0..14)
}

/// Where to, and by which protocol: often just inside or outside of a rule.
#[derive(Clone, Debug)]
pub(in super::super) struct Probe {
    free: Address,
    near: Index,
    edge: u8,
    port: u16,
    tcp: bool,
}

pub(in super::super) fn probe() -> impl Strategy<Value = Probe> {
    let port = prop_oneof![4 => 0..20u16, 1 => select(vec![0, 443, 65534, 65535])];
    (address(), any::<Index>(), any::<u8>(), port, any::<bool>())
        .prop_map(|(free, near, edge, port, tcp)| Probe { free, near, edge, port, tcp })
}

impl Probe {
    pub(in super::super) fn aimed(&self, rules: &[Rule]) -> (Destination, Protocols) {
        let networks: Vec<Network> = rules.iter().flat_map(|rule| rule.networks.clone()).collect();
        let address = match self.edge {
            0..80 => self.free,
            _ if networks.is_empty() => self.free,
            edge => near(networks[self.near.index(networks.len())], edge),
        };
        let protocol = if self.tcp { Protocols::TCP } else { Protocols::UDP };
        (Destination { address, port: self.port }, protocol)
    }
}

/// The first or last address of a network, or the one before or after it.
fn near(network: Network, edge: u8) -> Address {
    let first = u128::from_be_bytes(network.address().octets());
    let size = 1u128.checked_shl(128 - u32::from(network.bits())).unwrap_or(0);
    let last = first.wrapping_add(size).wrapping_sub(1);
    let number = match edge % 4 {
        0 => first,
        1 => last,
        2 => first.wrapping_sub(1),
        _ => last.wrapping_add(1),
    };
    Address::from_octets(number.to_be_bytes())
}

/// The rules as lines of a policy.
pub(in super::super) fn written(rules: &[Rule], allow_by_default: bool) -> String {
    let default = if allow_by_default { "allow" } else { "deny" };
    let mut text = format!("version: 1\nagent: a\negress:\n  default: {default}\n  rules:\n");
    if rules.is_empty() {
        text.push_str("    []\n");
    }
    for rule in rules {
        let verdict = rule.verdict.as_str();
        let names = rule.names.iter().map(|name| format!("\"{name}\""));
        let places: Vec<String> = rule.networks.iter().map(network_text).chain(names).collect();
        let ports: Vec<String> = rule.ports.iter().map(|ports| ports_text(*ports)).collect();
        let protocols = match rule.protocols {
            Protocols::TCP => "tcp",
            Protocols::UDP => "[udp]",
            _ => "[udp, tcp]",
        };
        writeln!(text, "    - {verdict}: [{}]", places.join(", ")).unwrap();
        writeln!(text, "      ports: [{}]", ports.join(", ")).unwrap();
        writeln!(text, "      protocol: {protocols}").unwrap();
    }
    text
}

pub(in super::super) fn network_text(network: &Network) -> String {
    let ip = Ipv6Addr::from(network.address().octets());
    match ip.to_ipv4_mapped() {
        Some(ip) if network.is_v4() => {
            format!("\"{}/{}\"", Ipv4Addr::from(ip.octets()), network.bits() - 96)
        }
        _ => format!("\"{ip}/{}\"", network.bits()),
    }
}

pub(in super::super) fn ports_text(ports: Ports) -> String {
    match ports {
        Ports::ANY => "any".to_owned(),
        Ports { first, last } if first == last => format!("{first}"),
        Ports { first, last } => format!("{first}-{last}"),
    }
}
