//! Rules for the network: names rather than addresses, put together by ports and protocols.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use agentguard_common::net::Protocols;

use super::Given;
use super::draft::{Draft, Item, Lookups, Rule, Section, in_words};
use super::group;
use super::seen::{Act, Seen, Use};
use crate::policy::{MAX_INSIDE, Network, Policy, SocketName, Target, address_of};

/// The port of a name that was only looked up: with one that nobody listens on, the question
/// is allowed, and nothing is reached.
const DISCARD: u16 = 9;

/// What was used of a name or an address: ports, by protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Ways {
    tcp: BTreeSet<u16>,
    udp: BTreeSet<u16>,
    icmp: bool,
}

/// The ports and protocols of one rule.
type Way = (BTreeSet<u16>, Vec<&'static str>);

impl Ways {
    fn add(&mut self, port: u16, protocol: u8) {
        let protocol = Protocols(protocol);
        match protocol {
            Protocols::UDP => self.udp.insert(port),
            Protocols::ICMP => std::mem::replace(&mut self.icmp, true),
            _ => self.tcp.insert(port),
        };
    }

    /// As rules say it: ports of both protocols in one rule.
    fn rules(&self) -> Vec<Way> {
        let both: BTreeSet<u16> = self.tcp.intersection(&self.udp).copied().collect();
        let only = |of: &BTreeSet<u16>| of.difference(&both).copied().collect::<BTreeSet<u16>>();
        let mut rules = vec![
            (only(&self.tcp), vec!["tcp"]),
            (only(&self.udp), vec!["udp"]),
            (both, vec!["tcp", "udp"]),
        ];
        rules.retain(|(ports, _)| !ports.is_empty());
        if self.icmp {
            rules.push((BTreeSet::new(), vec!["icmp"]));
        }
        rules
    }
}

/// What is known of names, or of addresses.
type Found = BTreeMap<String, (Ways, Use)>;

/// Puts the rules for what was seen into the draft.
pub(super) fn draft(seen: &Seen, given: &Given, base: Option<&Policy>, draft: &mut Draft) {
    let (mut names, mut addresses) = (Found::new(), Found::new());
    let mut asked: BTreeMap<String, Use> = BTreeMap::new();
    let (mut sockets, mut resolvers) = (Vec::new(), Vec::new());
    for (act, used) in &seen.acts {
        match act {
            Act::Ask(name) if is_name(name) => asked.entry(name.clone()).or_default().add(used),
            Act::Ask(name) => draft.leave_out(format!("looking up {name}: no rule can name it")),
            Act::Connect { name, address, port, protocol } => {
                let name = name.clone().filter(|name| is_name(name));
                let (of, key) = match name {
                    Some(name) => (&mut names, name),
                    None => (&mut addresses, Network::new(address_of(*address), 128).to_string()),
                };
                let (ways, all) = of.entry(key).or_default();
                ways.add(*port, *protocol);
                all.add(used);
            }
            Act::Unix(name) => match SocketName::parse(&format!("unix:{name}")) {
                Ok(read) if read.to_string().ends_with(name.as_str()) && !name.ends_with('*') => {
                    sockets.push(Item::new(format!("unix:{name}"), in_words(used)));
                }
                _ => draft.leave_out(format!("unix:{name}: no rule can name it")),
            },
            Act::Resolver(address) => resolvers.push((*address, used)),
            _ => {}
        }
    }
    let only_asked = asked.into_iter().filter(|(name, _)| !names.contains_key(name)).collect();
    add_rules(names, given.group, "names", draft);
    add_asked(only_asked, given.group, draft);
    add_rules(addresses, false, "addresses", draft);
    let id = "learned-sockets".into();
    draft.add(egress, Rule { verdict: "allow", items: sockets, id, ..Rule::default() });
    look_up(&seen.inside, &resolvers, base, draft);
}

fn egress(draft: &mut Draft) -> Option<&mut Section> {
    Some(&mut draft.egress)
}

/// Whether a rule can name it.
fn is_name(name: &str) -> bool {
    Target::parse(&format!("dns:{name}")).is_ok()
}

/// A rule for each set of ports and protocols.
fn add_rules(found: Found, group: bool, id: &str, draft: &mut Draft) {
    let mut ways: BTreeMap<Way, BTreeMap<String, Use>> = BTreeMap::new();
    for (key, (used, by)) in found {
        for way in used.rules() {
            ways.entry(way).or_default().insert(key.clone(), by.clone());
        }
    }
    for ((ports, protocols), of) in ways {
        let rule = Rule {
            verdict: "allow",
            items: items(of, group),
            ports: ports.iter().map(u16::to_string).collect(),
            protocols,
            id: format!("learned-{id}"),
            ..Rule::default()
        };
        draft.add(egress, rule);
    }
}

/// A rule for names that were looked up and led to no connection.
fn add_asked(mut asked: BTreeMap<String, Use>, group: bool, draft: &mut Draft) {
    if group {
        // A star that another rule has lets them be asked for already.
        let stars: Vec<String> = draft
            .egress
            .rules
            .iter()
            .flat_map(|rule| &rule.items)
            .filter_map(|item| Some(item.text.strip_prefix('*')?.to_owned()))
            .collect();
        asked.retain(|name, _| !stars.iter().any(|star| name.ends_with(star.as_str())));
    }
    let rule = Rule {
        comment: "Looked up, and not connected to. Port 9 (discard) allows the question alone."
            .into(),
        verdict: "allow",
        items: items(asked, group),
        ports: vec![DISCARD.to_string()],
        protocols: vec!["tcp"],
        id: "learned-looked-up".into(),
    };
    draft.add(egress, rule);
}

fn items(of: BTreeMap<String, Use>, group: bool) -> Vec<Item> {
    let items = if group { group::grouped(of) } else { group::single(of) };
    items.into_iter().map(|(text, note)| Item::new(text, note)).collect()
}

/// How names are looked up, where that is not as usual.
fn look_up(
    inside: &BTreeSet<IpAddr>,
    resolvers: &[(IpAddr, &Use)],
    base: Option<&Policy>,
    draft: &mut Draft,
) {
    let known = base.and_then(|base| base.egress.dns.as_ref());
    let room = MAX_INSIDE.saturating_sub(known.map_or(0, |dns| dns.inside.len()));
    let said =
        |network: &Network| known.is_some_and(|dns| dns.inside.iter().any(|of| of.covers(network)));
    let addresses = inside.iter().map(|ip| Network::new(address_of(*ip), 128));
    let new: BTreeSet<Network> = addresses.filter(|network| !said(network)).collect();
    let (networks, left) = narrowed(new, room);
    for network in left {
        draft.leave_out(format!("{network} as an address of a name: no room in egress.dns.inside"));
    }
    if networks.is_empty() && resolvers.is_empty() {
        return;
    }
    let lookups = draft.lookups.get_or_insert_with(Lookups::default);
    if !resolvers.is_empty() && lookups.resolvers.is_empty() {
        lookups.resolvers.push("system".into());
    }
    lookups.resolvers.extend(resolvers.iter().map(|(address, _)| address.to_string()));
    let note = "names had addresses there";
    lookups.inside.extend(networks.iter().map(|network| Item::new(network.to_string(), note)));
    if !resolvers.is_empty() {
        draft.leave_out(
            "names that were asked of resolvers of the session's own choice: learn again from \
             this file (--base), so that they can be read"
                .into(),
        );
    }
}

/// Networks that hold addresses, at most so many: the addresses themselves, or else networks
/// of 24, 16 and 8 bits (64, 48 and 32 of IPv6). And those for which no room is left.
fn narrowed(addresses: BTreeSet<Network>, room: usize) -> (Vec<Network>, Vec<Network>) {
    let mut networks = addresses;
    for (v4, v6) in [(24, 64), (16, 48), (8, 32)] {
        if networks.len() <= room {
            break;
        }
        let wider = networks.iter().map(|network| {
            let bits = if network.is_v4() { 96 + v4 } else { v6 };
            Network::new(network.address().prefix(bits), bits)
        });
        networks = wider.collect();
    }
    let mut networks: Vec<Network> = networks.into_iter().collect();
    let left = networks.split_off(room.min(networks.len()));
    (networks, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_both_protocols_stand_in_one_rule() {
        let mut ways = Ways::default();
        for (port, protocol) in [(443, 1), (443, 2), (80, 1), (0, 4)] {
            ways.add(port, protocol);
        }
        assert_eq!(
            ways.rules(),
            [
                (BTreeSet::from([80]), vec!["tcp"]),
                (BTreeSet::from([443]), vec!["tcp", "udp"]),
                (BTreeSet::new(), vec!["icmp"]),
            ]
        );
    }

    #[test]
    fn addresses_inside_are_widened_only_where_room_is_short() {
        let of = |count: u8, room| {
            let ips = (0..count).map(|last| IpAddr::from([10, 0, 0, last]));
            let set = ips.map(|ip| Network::new(address_of(ip), 128)).collect();
            let (networks, left) = narrowed(set, room);
            let text: Vec<String> = networks.iter().map(ToString::to_string).collect();
            (text, left.len())
        };
        assert_eq!(of(2, 8), (vec!["10.0.0.0".into(), "10.0.0.1".into()], 0));
        assert_eq!(of(9, 8), (vec!["10.0.0.0/24".into()], 0));
        assert_eq!(of(1, 0), (vec![], 1));
    }
}
