//! Addresses as the evaluator sees them: one 128-bit space for IPv4 and IPv6.
//!
//! An IPv4 address is held as its v4-mapped form (RFC 4291, 2.5.5.2), so that
//! `10.0.0.1` and `::ffff:10.0.0.1` cannot be told apart, and one rule covers
//! both ways of reaching the same host.

use bytemuck::{Pod, Zeroable};

/// `AF_UNSPEC` of `sys/socket.h`.
pub const AF_UNSPEC: u16 = 0;
/// `AF_UNIX`.
pub const AF_UNIX: u16 = 1;
/// `AF_INET`.
pub const AF_INET: u16 = 2;
/// `AF_INET6`.
pub const AF_INET6: u16 = 10;

/// `SOCK_STREAM` of `linux/net.h`.
pub const SOCK_STREAM: u32 = 1;
/// `SOCK_DGRAM`.
pub const SOCK_DGRAM: u32 = 2;
/// `AF_NETLINK`: talks to the kernel, not to the network.
pub const AF_NETLINK: u16 = 16;
/// `AF_ALG`: the kernel's ciphers.
pub const AF_ALG: u16 = 38;

/// `IPPROTO_ICMP`.
pub const IPPROTO_ICMP: u16 = 1;
/// `IPPROTO_ICMPV6`.
pub const IPPROTO_ICMPV6: u16 = 58;
/// `IPPROTO_TCP`.
pub const IPPROTO_TCP: u16 = 6;
/// `IPPROTO_UDP`.
pub const IPPROTO_UDP: u16 = 17;
/// `IPPROTO_MPTCP`: TCP to every rule.
pub const IPPROTO_MPTCP: u16 = 262;

/// The bytes of a `sockaddr_in6`, the longest address read here.
pub const SOCKADDR_MAX: usize = 28;
/// The shortest usable `sockaddr_in`.
const SOCKADDR_IN: usize = 16;
/// The shortest usable `sockaddr_in6`: RFC 2133 had no scope id, and the kernel
/// still takes that form (`SIN6_LEN_RFC2133`).
const SOCKADDR_IN6: usize = 24;

/// How many bits of an [`Address`] stand before the IPv4 part of a mapped one.
pub const V4_PREFIX_BITS: u8 = 96;
/// The bits that mark an IPv4 address: `::ffff:0:0/96`.
const V4_MARK: u64 = 0xffff_0000_0000;

/// An address in network order, as two numbers: bits 0-63 and 64-127.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct Address {
    /// The first eight bytes.
    pub high: u64,
    /// The last eight bytes.
    pub low: u64,
}

impl Address {
    /// An IPv4 address from its number (`10.0.0.1` is `0x0a00_0001`).
    #[inline(always)]
    #[must_use]
    pub const fn v4(number: u32) -> Self {
        Self { high: 0, low: V4_MARK | number as u64 }
    }

    /// An address from 16 bytes in network order.
    #[inline(always)]
    #[must_use]
    pub const fn from_octets(octets: [u8; 16]) -> Self {
        let number = u128::from_be_bytes(octets);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves are what is wanted")]
        let (high, low) = ((number >> 64) as u64, number as u64);
        Self { high, low }
    }

    /// The 16 bytes in network order.
    #[must_use]
    pub const fn octets(self) -> [u8; 16] {
        (((self.high as u128) << 64) | self.low as u128).to_be_bytes()
    }

    /// Whether this is an IPv4 address, mapped or not.
    #[inline(always)]
    #[must_use]
    pub const fn is_v4(self) -> bool {
        self.high == 0 && self.low >> 32 == V4_MARK >> 32
    }

    /// The first `bits` bits (0 to 128, more counts as 128), the rest zero.
    #[inline(always)]
    #[must_use]
    pub const fn prefix(self, bits: u8) -> Self {
        Self { high: keep(self.high, bits), low: keep(self.low, bits.saturating_sub(64)) }
    }

    /// "Any" of IPv4, `0.0.0.0`.
    pub const ANY4: Self = Self::v4(0);
    /// "Any" of IPv6, `::`.
    pub const ANY6: Self = Self { high: 0, low: 0 };

    /// "Any" of the same family.
    #[inline(always)]
    #[must_use]
    pub const fn any(self) -> Self {
        if self.is_v4() { Self::ANY4 } else { Self::ANY6 }
    }

    /// Whether this is a loopback address: 127.0.0.0/8 or `::1`.
    #[inline(always)]
    #[must_use]
    pub const fn is_loopback(self) -> bool {
        self.high == 0 && (self.low >> 24 == (V4_MARK | 0x7f00_0000) >> 24 || self.low == 1)
    }

    /// Whether this is an address inside: of this host, of its network, of its cloud's
    /// services, or of no single host. A name out there has no business here.
    ///
    /// By the registries of special-purpose addresses (RFC 6890 and IANA's lists) and,
    /// as they carry IPv4 addresses, the prefixes of NAT64 and 6to4.
    #[inline(always)]
    #[must_use]
    pub const fn is_inside(self) -> bool {
        if self.is_v4() {
            return inside_v4(self.low);
        }
        let top = self.high >> 48;
        // The first 96 bits zero: unspecified, loopback, IPv4-compatible; and IPv4-translated
        // ::ffff:0:a.b.c.d (RFC 2765).
        (self.high == 0 && (self.low >> 32 == 0 || self.low >> 48 == 0xffff))
            // Unique local fc00::/7, link-local and site-local fe80::/9, multicast.
            || top & 0xfe00 == 0xfc00
            || top & 0xff80 == 0xfe80
            || top >> 8 == 0xff
            // NAT64 64:ff9b::/96 with an IPv4 address inside; its local-use 64:ff9b:1::/48.
            || (self.high == 0x0064_ff9b_0000_0000
                && self.low >> 32 == 0
                && inside_v4(self.low))
            || self.high >> 16 == 0x0064_ff9b_0001
            // 6to4.
            || (top == 0x2002 && inside_v4(self.high >> 16))
            // Teredo.
            || self.high >> 32 == 0x2001_0000
    }

    /// Where clouds answer questions about the machine, credentials among them: AWS,
    /// Azure, Google Cloud and others; AWS' container credentials; Alibaba Cloud; AWS
    /// over IPv6; Azure's platform services.
    pub const METADATA: [Self; 5] = [
        Self::v4(0xa9fe_a9fe),
        Self::v4(0xa9fe_aa02),
        Self::v4(0x6464_64c8),
        Self { high: 0xfd00_0ec2_0000_0000, low: 0x254 },
        Self::v4(0xa83f_8110),
    ];

    /// Whether it is one of those.
    #[inline(always)]
    #[must_use]
    pub const fn is_metadata(self) -> bool {
        let mut at = 0;
        let mut is = false;
        while at < Self::METADATA.len() {
            is |= self.high == Self::METADATA[at].high && self.low == Self::METADATA[at].low;
            at += 1;
        }
        is
    }

    /// The address that the kernel reaches for this one: connecting to "any"
    /// (`0.0.0.0` or `::`) connects to the loopback address
    /// (`ip_route_connect`, `tcp_v6_connect`).
    #[inline(always)]
    #[must_use]
    pub const fn reached(self) -> Self {
        if self.high == 0 && self.low == 0 {
            return Self { high: 0, low: 1 };
        }
        if self.high == 0 && self.low == V4_MARK {
            return Self::v4(0x7f00_0001);
        }
        self
    }
}

/// The same of an IPv4 address, which is the last 32 bits of a number.
#[inline(always)]
const fn inside_v4(number: u64) -> bool {
    let number = number & 0xffff_ffff;
    let (a, ab) = (number >> 24, number >> 16);
    // This network, private, loopback, multicast and what is above it.
    matches!(a, 0 | 10 | 127 | 224..)
        // Shared by carriers 100.64.0.0/10; link-local; private.
        || ab & 0xffc0 == 0x6440
        || ab == 0xa9fe
        || ab & 0xfff0 == 0xac10
        || ab == 0xc0a8
        // Protocol assignments 192.0.0.0/24, benchmarks 198.18.0.0/15.
        || number >> 8 == 0xc0_0000
        || ab & 0xfffe == 0xc612
        // The platform service of Azure.
        || number == 0xa83f_8110
}

/// Keeps the first `bits` bits of a number.
#[inline(always)]
const fn keep(number: u64, bits: u8) -> u64 {
    if bits < 64 { number & !(u64::MAX >> bits) } else { number }
}

/// The transport protocols that rules tell apart, as a set of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Protocols(pub u8);

impl Protocols {
    /// TCP, and MPTCP with it.
    pub const TCP: Self = Self(1);
    /// UDP.
    pub const UDP: Self = Self(2);
    /// Both, which is what a rule means that names none.
    pub const ANY: Self = Self(3);
    /// ICMP echo, by the datagram sockets that the kernel has for it (ping).
    pub const ICMP: Self = Self(4);
    /// All that rules can speak of.
    pub const ALL: Self = Self(7);

    /// The set for a socket's protocol number; `None` for one that rules do not
    /// speak of.
    #[inline(always)]
    #[must_use]
    pub const fn of_socket(number: u16) -> Option<Self> {
        match number {
            IPPROTO_TCP | IPPROTO_MPTCP => Some(Self::TCP),
            IPPROTO_UDP => Some(Self::UDP),
            IPPROTO_ICMP | IPPROTO_ICMPV6 => Some(Self::ICMP),
            _ => None,
        }
    }

    /// Whether the two sets share a protocol.
    #[inline(always)]
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Whether a task of a session may have such a socket: TCP, UDP and ping, which rules
/// speak of; unix and netlink sockets, which have hooks of their own; the kernel's
/// ciphers. Raw and packet sockets, vsock, SCTP and whatever else there is are not to
/// be had, because nothing would decide what goes out by them.
#[inline(always)]
#[must_use]
pub const fn may_have(family: u16, kind: u32, protocol: u16) -> bool {
    match (family, kind) {
        (AF_UNIX | AF_NETLINK | AF_ALG, _) => true,
        (AF_INET | AF_INET6, SOCK_STREAM) => {
            matches!(protocol, 0 | IPPROTO_TCP | IPPROTO_MPTCP)
        }
        (AF_INET, SOCK_DGRAM) => matches!(protocol, 0 | IPPROTO_UDP | IPPROTO_ICMP),
        (AF_INET6, SOCK_DGRAM) => matches!(protocol, 0 | IPPROTO_UDP | IPPROTO_ICMPV6),
        _ => false,
    }
}

/// An address and a port, read from a `sockaddr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Where to.
    pub address: Address,
    /// The port, 0 to 65535.
    pub port: u16,
}

/// What a `sockaddr` turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockaddr {
    /// IPv4 or IPv6.
    Inet(Destination),
    /// `AF_UNSPEC`, which in `connect` takes a connection back.
    Unspecified,
    /// Another address family.
    Other(u16),
    /// Too short for what it claims to be.
    Malformed,
}

/// Reads the first `len` bytes of a `sockaddr`, as far as they are given.
///
/// The port and the address are in network order there, the family in the
/// host's (`struct sockaddr_in`, `struct sockaddr_in6`).
#[inline(always)]
#[must_use]
pub fn parse_sockaddr(bytes: &[u8; SOCKADDR_MAX], len: usize) -> Sockaddr {
    if len < 2 {
        return Sockaddr::Malformed;
    }
    match u16::from_ne_bytes([bytes[0], bytes[1]]) {
        AF_UNSPEC => Sockaddr::Unspecified,
        AF_INET if len >= SOCKADDR_IN => Sockaddr::Inet(inet(bytes)),
        AF_INET6 if len >= SOCKADDR_IN6 => Sockaddr::Inet(inet6(bytes)),
        AF_INET | AF_INET6 => Sockaddr::Malformed,
        other => Sockaddr::Other(other),
    }
}

/// Reads the bytes as a `sockaddr_in`, whatever the family says.
#[inline(always)]
#[must_use]
pub fn inet(bytes: &[u8; SOCKADDR_MAX]) -> Destination {
    Destination {
        address: Address::v4(u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]])),
        port: u16::from_be_bytes([bytes[2], bytes[3]]),
    }
}

#[inline(always)]
fn inet6(bytes: &[u8; SOCKADDR_MAX]) -> Destination {
    let half = |at: usize| {
        u64::from_be_bytes([
            bytes[at],
            bytes[at + 1],
            bytes[at + 2],
            bytes[at + 3],
            bytes[at + 4],
            bytes[at + 5],
            bytes[at + 6],
            bytes[at + 7],
        ])
    };
    Destination {
        address: Address { high: half(8), low: half(16) },
        port: u16::from_be_bytes([bytes[2], bytes[3]]),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    fn sockaddr(family: u16, port: u16, rest: &[u8]) -> [u8; SOCKADDR_MAX] {
        let mut bytes = [0; SOCKADDR_MAX];
        bytes[..2].copy_from_slice(&family.to_ne_bytes());
        bytes[2..4].copy_from_slice(&port.to_be_bytes());
        bytes[4..4 + rest.len()].copy_from_slice(rest);
        bytes
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        let plain = parse_sockaddr(&sockaddr(AF_INET, 443, &[10, 77, 0, 3]), 16);
        let mut mapped = [0; 20];
        mapped[14..20].copy_from_slice(&[0xff, 0xff, 10, 77, 0, 3]);
        assert_eq!(plain, parse_sockaddr(&sockaddr(AF_INET6, 443, &mapped), 28));
    }

    #[test]
    fn short_addresses_are_malformed() {
        for (family, shortest) in [(AF_INET, 16), (AF_INET6, 24)] {
            let bytes = sockaddr(family, 1, &[]);
            for len in 0..shortest {
                assert_eq!(parse_sockaddr(&bytes, len), Sockaddr::Malformed, "{family} {len}");
            }
            assert!(matches!(parse_sockaddr(&bytes, shortest), Sockaddr::Inet(_)));
        }
    }

    #[test]
    fn any_means_loopback() {
        assert_eq!(Address::v4(0).reached(), Address::v4(0x7f00_0001));
        assert_eq!(Address::from_octets([0; 16]).reached().octets()[15], 1);
        assert_eq!(Address::v4(5).reached(), Address::v4(5));
    }

    #[test]
    fn loopback_is_told_from_the_rest() {
        for (number, is) in [(0x7f00_0001, true), (0x7fff_ffff, true), (0x8000_0000, false)] {
            assert_eq!(Address::v4(number).is_loopback(), is, "{number:x}");
        }
        assert!(Address { high: 0, low: 1 }.is_loopback());
        assert!(!Address { high: 0, low: 0x7f00_0001 }.is_loopback(), "::127.0.0.1 is not");
        assert!(!Address { high: 1, low: 1 }.is_loopback());
    }

    #[test]
    fn inside_is_told_from_outside() {
        let of = |text: &str| {
            let ip: std::net::IpAddr = text.parse().unwrap();
            match ip {
                std::net::IpAddr::V4(ip) => Address::v4(ip.to_bits()),
                std::net::IpAddr::V6(ip) => Address::from_octets(ip.octets()),
            }
        };
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "192.0.0.9",
            "198.19.0.1",
            "224.0.0.251",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:0:10.0.0.1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::fb",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2001:0:1::1",
        ] {
            assert!(of(text).is_inside(), "{text}");
        }
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "100.63.255.255",
            "100.128.0.0",
            "128.0.0.1",
            "169.253.0.1",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "168.63.129.17",
            "2606:4700::1",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "2a00::1",
            "2001:4860::1",
        ] {
            assert!(!of(text).is_inside(), "{text}");
        }
    }

    #[test]
    fn sockets_that_nothing_decides_on_are_not_to_be_had() {
        const SOCK_RAW: u32 = 3;
        const AF_PACKET: u16 = 17;
        const AF_VSOCK: u16 = 40;
        assert!(may_have(AF_INET, SOCK_STREAM, 0) && may_have(AF_INET6, SOCK_DGRAM, 0));
        assert!(may_have(AF_INET, SOCK_DGRAM, IPPROTO_ICMP));
        assert!(may_have(AF_NETLINK, SOCK_RAW, 0) && may_have(AF_UNIX, SOCK_STREAM, 0));
        for (family, kind, protocol) in [
            (AF_INET, SOCK_RAW, IPPROTO_ICMP),
            (AF_INET, SOCK_RAW, 255),
            (AF_INET, SOCK_STREAM, 132),
            (AF_INET, 5, 132),
            (AF_INET6, SOCK_DGRAM, 136),
            (AF_INET, SOCK_DGRAM, IPPROTO_ICMPV6),
            (AF_PACKET, SOCK_DGRAM, 0),
            (AF_VSOCK, SOCK_STREAM, 0),
        ] {
            assert!(!may_have(family, kind, protocol), "{family} {kind} {protocol}");
        }
    }

    #[test]
    fn octets_round_trip_and_prefixes_cut() {
        let octets = [0xfd, 0x77, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];
        let address = Address::from_octets(octets);
        assert_eq!(address.octets(), octets);
        for bits in 0..=128u8 {
            let expected = match bits {
                0 => 0,
                _ => u128::from_be_bytes(octets) & (u128::MAX << (128 - u32::from(bits))),
            };
            assert_eq!(address.prefix(bits).octets(), expected.to_be_bytes(), "/{bits}");
        }
    }
}
