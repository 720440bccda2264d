//! Networks as policies write them: `10.20.0.0/16`, `2001:db8::1`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use agentguard_common::egress::table_bits;
use agentguard_common::net::{Address, V4_PREFIX_BITS};

use super::error::Problem;
use super::report::quoted;

/// An address prefix, in the one space that holds IPv4 and IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    address: Address,
    bits: u8,
}

/// Why a text is no network, and what to write instead.
pub(super) type Refusal = (Problem, String);

impl Network {
    /// The network of an address and the length of its prefix in the table: 96
    /// to 128 for IPv4. What stands beyond the prefix is dropped.
    #[must_use]
    pub const fn new(address: Address, bits: u8) -> Self {
        Self { address: address.prefix(bits), bits }
    }

    /// The address, zero beyond the prefix.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }

    /// The length of the prefix in the table: 96 to 128 for IPv4, 0 to 128 for
    /// IPv6.
    #[must_use]
    pub const fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether it is an IPv4 network.
    #[must_use]
    pub const fn is_v4(&self) -> bool {
        self.bits >= V4_PREFIX_BITS && self.address.is_v4()
    }

    /// Whether it is one address.
    #[must_use]
    pub const fn is_host(&self) -> bool {
        self.bits == 128
    }

    /// Whether every address of `other` is one of this network. An IPv6 network
    /// holds no IPv4 address.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.is_v4() == other.is_v4()
            && self.bits <= other.bits
            && other.address.prefix(self.bits) == self.address
    }

    /// Reads an address or a network.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let (host, length) = match text.split_once('/') {
            Some((host, length)) => (host, Some(length)),
            None => (text, None),
        };
        let Ok(ip) = host.parse::<IpAddr>() else {
            return Err(not_an_address(text));
        };
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits = match length {
            None => most,
            Some(length) => parse_length(length, most).ok_or_else(|| bad_length(text, ip, most))?,
        };
        let address = address_of(ip);
        let bits = table_bits(ip.is_ipv4(), bits);
        if address.is_v4() && bits < V4_PREFIX_BITS {
            let why = "is an IPv4-mapped prefix that reaches beyond IPv4";
            let mend = "write the IPv4 network itself (0.0.0.0/0 is all of IPv4), and IPv6 apart";
            return Err(bad(text, why, mend));
        }
        let network = Self::new(address, bits);
        if network.address != address {
            let why = "has bits set beyond its prefix";
            let host = Self::new(address, 128);
            let mend = format!("write {network} for the network, or {host} for the one address");
            return Err(bad(text, why, mend));
        }
        if network.is_host() && address.reached() != address {
            let why = "is no destination: connecting to it reaches this host's loopback";
            let mend = format!("write {}", Self::new(address.reached(), 128));
            return Err(bad(text, why, mend));
        }
        Ok(network)
    }
}

fn bad(text: &str, why: &'static str, mend: impl Into<String>) -> Refusal {
    (Problem::BadCidr { text: quoted(text), why }, mend.into())
}

/// The address in the one space for both families.
#[must_use]
pub fn address_of(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(ip) => Address::v4(ip.to_bits()),
        IpAddr::V6(ip) => Address::from_octets(ip.octets()),
    }
}

/// A prefix length: digits only, no leading zero.
fn parse_length(text: &str, most: u8) -> Option<u8> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty();
    if !plain || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok().filter(|bits| *bits <= most)
}

fn bad_length(text: &str, ip: IpAddr, most: u8) -> Refusal {
    let mask = text.split_once('/').and_then(|(_, mask)| mask.parse::<Ipv4Addr>().ok());
    if let (Some(mask), true) = (mask, ip.is_ipv4()) {
        let bits = mask.to_bits().leading_ones();
        if mask.to_bits().count_ones() == bits {
            let why = "has a network mask where the length of a prefix belongs";
            return bad(text, why, format!("write {ip}/{bits}"));
        }
    }
    let why = "has a bad prefix length";
    let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    bad(text, why, format!("write a length from 0 to {most} for {family}"))
}

/// Finds out what a text that is no address was meant to be.
fn not_an_address(text: &str) -> Refusal {
    if let Ok(to) = text.parse::<std::net::SocketAddr>() {
        let mend = format!("write the address {} here, and ports: [{}]", to.ip(), to.port());
        return bad(text, "has a port in it", mend);
    }
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(ip) = inner.and_then(|inner| inner.parse::<Ipv6Addr>().ok()) {
        return bad(text, "has brackets around it", format!("write {ip}"));
    }
    if text.contains('%') {
        let mend = "leave out the % and what follows: rules hold on every interface";
        return bad(text, "has a zone in it", mend);
    }
    if matches!(text, "*" | "any" | "all") {
        let mend = "write 0.0.0.0/0 for all of IPv4, and ::/0 for all of IPv6";
        return bad(text, "is neither an address nor a network", mend);
    }
    let range = text.split_once('-');
    if range
        .is_some_and(|(from, to)| from.parse::<IpAddr>().is_ok() && to.parse::<IpAddr>().is_ok())
    {
        let mend = "write the networks that make it up";
        return bad(text, "is a range of addresses", mend);
    }
    let mend = "write an address such as 10.20.0.1, or a network such as 10.20.0.0/16";
    bad(text, "is neither an address nor a network", mend)
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ip = Ipv6Addr::from(self.address.octets());
        match ip.to_ipv4_mapped() {
            Some(ip) if self.is_v4() => {
                write!(f, "{ip}")?;
                write_length(f, self.bits - V4_PREFIX_BITS, 32)
            }
            _ => {
                write!(f, "{ip}")?;
                write_length(f, self.bits, 128)
            }
        }
    }
}

fn write_length(f: &mut fmt::Formatter<'_>, bits: u8, most: u8) -> fmt::Result {
    if bits == most { Ok(()) } else { write!(f, "/{bits}") }
}
