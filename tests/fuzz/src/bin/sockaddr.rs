//! A `sockaddr` is read as the standard library would read it, from the bytes that are there
//! alone.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use agentguard_common::net::{
    AF_INET, AF_INET6, AF_UNSPEC, Address, SOCKADDR_MAX, Sockaddr, parse_sockaddr,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let len = bytes.len();
    let read = parse_sockaddr(&filled(bytes, 0), len);
    assert_eq!(read, parse_sockaddr(&filled(bytes, 0xff), len), "what is not there counts");
    let family = bytes.get(..2).map(|two| u16::from_ne_bytes([two[0], two[1]]));
    match read {
        Sockaddr::Malformed => {
            let short = match family {
                None => true,
                Some(AF_INET) => len < 16,
                Some(AF_INET6) => len < 24,
                Some(_) => false,
            };
            assert!(short);
        }
        Sockaddr::Unspecified => assert_eq!(family, Some(AF_UNSPEC)),
        Sockaddr::Other(other) => assert_eq!(family, Some(other)),
        Sockaddr::Inet(to) => {
            assert_eq!(to.port.to_be_bytes(), bytes[2..4]);
            let ip = match family {
                Some(AF_INET) => IpAddr::V4(Ipv4Addr::from(part::<4>(bytes, 4))),
                Some(AF_INET6) => Ipv6Addr::from(part::<16>(bytes, 8)).to_canonical(),
                other => panic!("no internet family: {other:?}"),
            };
            address(to.address, ip);
        }
    }
});

/// What holds for an address.
fn address(address: Address, ip: IpAddr) {
    assert_eq!(Address::from_octets(address.octets()), address);
    assert_eq!(Ipv6Addr::from(address.octets()).to_canonical(), ip);
    assert_eq!(address.is_v4(), ip.is_ipv4());
    assert_eq!(address.is_loopback(), ip.is_loopback());
    assert_eq!(address == address.any(), ip.is_unspecified());
    assert_eq!(address.prefix(128), address);
    if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() {
        assert!(address.is_inside());
    }
    if let IpAddr::V4(ip) = ip {
        let inside = ip.is_private() || ip.is_link_local() || ip.is_broadcast();
        assert!(address.is_inside() || !inside);
    }
    let reached = address.reached();
    assert_eq!(reached == address, !ip.is_unspecified());
    assert!(!ip.is_unspecified() || reached.is_loopback());
}

/// The bytes, filled up.
fn filled(bytes: &[u8], with: u8) -> [u8; SOCKADDR_MAX] {
    let mut all = [with; SOCKADDR_MAX];
    all.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    all
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("as many")
}
