//! The policies that are measured: made anew in every run, always the same, as
//! YAML text, so that what is measured went through the whole compiler.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use agentguard::policy::{Compiled, Network, Policy};
use agentguard_common::egress::Key;

use crate::programs::Result;

/// How often IPv4 prefixes have which length, of 10,000: about as in the tables of
/// internet routers, with hosts added. Every length from /8 on is there, which is
/// what the search takes most steps for.
const V4: &[(u8, u32)] = &[
    (8, 2),
    (9, 2),
    (10, 4),
    (11, 8),
    (12, 20),
    (13, 30),
    (14, 50),
    (15, 60),
    (16, 500),
    (17, 100),
    (18, 150),
    (19, 250),
    (20, 400),
    (21, 400),
    (22, 900),
    (23, 700),
    (24, 3300),
    (25, 100),
    (26, 100),
    (27, 100),
    (28, 150),
    (29, 100),
    (30, 100),
    (31, 50),
    (32, 2424),
];
/// The same for IPv6.
const V6: &[(u8, u32)] = &[
    (20, 2),
    (28, 3),
    (29, 25),
    (32, 170),
    (36, 50),
    (40, 80),
    (44, 110),
    (46, 30),
    (48, 350),
    (52, 5),
    (56, 35),
    (60, 5),
    (64, 75),
    (128, 60),
];
/// Of 1,000 rules, those for IPv6.
const V6_SHARE: u32 = 200;
/// Of 1,000 rules, those that deny.
const DENY_SHARE: u32 = 100;
/// Of 1,000 rules, those with two ports and not one.
const PORTS_SHARE: u32 = 150;

/// Text of a policy with `count` rules: those in `own`, and made ones.
pub(crate) fn text(count: usize, own: &[&str], seed: u64) -> String {
    let mut text = "version: 1\nagent: bench\negress:\n  default: deny\n  rules:\n".to_owned();
    for rule in own {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    - {rule}");
    }
    let mut dice = Dice(seed);
    let mut seen = BTreeSet::new();
    let mut made = own.len();
    while made < count {
        let network = dice.network();
        if !seen.insert(network.clone()) {
            continue;
        }
        let deny = dice.under(1000) < DENY_SHARE;
        let verb = if deny { "deny" } else { "allow" };
        let _ = writeln!(text, "    - {verb}: \"{network}\"");
        if !deny && dice.under(1000) < PORTS_SHARE {
            let _ = writeln!(text, "      ports: [80, 443]");
        }
        made += 1;
    }
    text
}

/// A policy, compiled.
pub(crate) struct Ready {
    /// The tables.
    pub(crate) compiled: Compiled,
    /// The networks that its rules name, without the markers of the search.
    pub(crate) networks: BTreeSet<Key>,
}

/// Reads and compiles the text of a policy.
pub(crate) fn compiled(text: &str) -> Result<Ready> {
    let policy = Policy::parse(Path::new("bench.yaml"), text.as_bytes())?;
    let compiled = policy.compile()?;
    let networks = policy.egress.rules.iter().flat_map(|rule| &rule.networks);
    let key = |network: Network| Key {
        policy: 0,
        bits: u32::from(network.bits()),
        address: network.address(),
    };
    let networks = networks.map(|network| key(network.value)).collect();
    Ok(Ready { compiled, networks })
}

/// Random numbers that are the same in every run (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to one below `limit`.
    pub(crate) fn under(&mut self, limit: u32) -> u32 {
        u32::try_from(self.number() % u64::from(limit.max(1))).unwrap_or(0)
    }

    /// A length by its share.
    fn length(&mut self, of: &[(u8, u32)]) -> u8 {
        let mut left = self.under(of.iter().map(|(_, share)| share).sum());
        for (bits, share) in of {
            if left < *share {
                return *bits;
            }
            left -= share;
        }
        32
    }

    fn network(&mut self) -> String {
        if self.under(1000) < V6_SHARE {
            let bits = self.length(V6);
            let address = u128::from(self.number()) << 64 | u128::from(self.number());
            // 2400::/6 and around, where the internet's addresses are.
            let address = address >> 4 | 0x2 << 124 | 1 << 122;
            let network = address & u128::MAX << (128 - u32::from(bits));
            format!("{}/{bits}", Ipv6Addr::from(network))
        } else {
            let bits = self.length(V4);
            let network = self.v4() & u32::MAX << (32 - u32::from(bits));
            format!("{}/{bits}", Ipv4Addr::from(network))
        }
    }

    /// An IPv4 address from 11.0.0.0 to 126.255.255.255.
    fn v4(&mut self) -> u32 {
        (11 + self.under(116)) << 24 | self.under(1 << 24)
    }

    /// An IPv4 address among those that made rules speak of.
    pub(crate) fn anywhere(&mut self) -> Ipv4Addr {
        Ipv4Addr::from(self.v4())
    }
}
