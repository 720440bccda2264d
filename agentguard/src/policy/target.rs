//! Places as commands, cases and events write them: `10.0.0.1:443/tcp`,
//! `tcp://github.com:443`, `unix:/run/db.sock`, `dns:github.com`.

use std::net::{IpAddr, SocketAddr};

use agentguard_common::net::{Destination, Protocols};
use agentguard_common::unix::Key;
use agentguard_common::verdict::{Reason, Ruling};

use super::compiled::Compiled;
use super::error::Problem;
use super::host::HostName;
use super::network::{Network, Refusal, address_of};
use super::ports::parse_protocol;
use super::report::quoted;

/// What a session can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A port of an address.
    Inet(Destination, Protocols),
    /// A port of whatever address a name has.
    Name(HostName, u16, Protocols),
    /// A unix socket, by the name that the kernel has for it.
    Unix(Vec<u8>),
    /// The addresses of a name.
    Ask(HostName),
}

/// What is said of a name that no socket can have.
const NO_SOCKET: Ruling = Ruling::closed(Reason::Malformed);

impl Target {
    /// Reads a place. Without a scheme and without a protocol at its end it is one of TCP.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        if let Some(name) = text.strip_prefix("unix:") {
            let name = name.strip_prefix('@').map_or(name.to_owned(), |name| format!("\0{name}"));
            let name = name.into_bytes();
            return match Key::new(0, &name, true) {
                Some(_) => Ok(Self::Unix(name)),
                None => Err(no_place(text)),
            };
        }
        if let Some(name) = text.strip_prefix("dns:") {
            return Ok(Self::Ask(one_name(name)?));
        }
        let (protocol, at) = match text.split_once("://") {
            Some(("mptcp", at)) => (Protocols::TCP, at),
            Some((protocol, at)) => (parse_protocol(protocol)?, at),
            None => match text.rsplit_once('/') {
                Some((at, protocol)) => (parse_protocol(protocol)?, at),
                None => (Protocols::TCP, text),
            },
        };
        if let Ok(to) = at.parse::<SocketAddr>() {
            return Ok(Self::inet(to, protocol));
        }
        if protocol == Protocols::ICMP {
            let address = at.trim_start_matches('[').trim_end_matches(']');
            if let Ok(ip) = address.parse::<IpAddr>() {
                return Ok(Self::inet(SocketAddr::new(ip, 0), protocol));
            }
        }
        let (host, port) = match at.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None if protocol == Protocols::ICMP => (at, Some(0)),
            None => (at, None),
        };
        let port = port.filter(|_| HostName::is_one(host)).ok_or_else(|| no_place(text))?;
        Ok(Self::Name(one_name(host)?, port, protocol))
    }

    fn inet(to: SocketAddr, protocol: Protocols) -> Self {
        Self::Inet(Destination { address: address_of(to.ip()), port: to.port() }, protocol)
    }

    /// What a policy says to it, by the evaluators that the kernel runs.
    pub(crate) fn decide(&self, policy: &Compiled) -> Ruling {
        match self {
            Self::Inet(to, protocol) => policy.decide(*to, *protocol),
            Self::Name(name, port, protocol) => policy.decide_name(&name.name(), *port, *protocol),
            Self::Unix(name) => policy.decide_socket(name).unwrap_or(NO_SOCKET),
            Self::Ask(name) => policy.ask(&name.name()),
        }
    }

    /// Whether it is a place where resolvers are asked that a policy can list.
    pub(crate) fn is_resolver(&self) -> bool {
        matches!(self, Self::Inet(to, protocol) if to.port == 53 && protocol.meets(Protocols::ANY))
    }

    /// A rule that would allow it, as it would stand in the policy.
    pub(crate) fn rule(&self) -> String {
        let (subject, port, protocol) = match self {
            Self::Inet(to, protocol) => {
                (Network::new(to.address, 128).to_string(), to.port, *protocol)
            }
            Self::Name(name, port, protocol) => {
                return by_name(name, *port, *protocol);
            }
            Self::Ask(name) => return by_name(name, 443, Protocols::ANY),
            Self::Unix(name) => {
                let name = String::from_utf8_lossy(name).replacen('\0', "@", 1);
                return format!("    - allow: \"unix:{name}\"");
            }
        };
        let ports = format!("\n      ports: {port}");
        match protocol {
            Protocols::ICMP => format!("    - allow: \"{subject}\"\n      protocol: icmp"),
            Protocols::UDP => format!("    - allow: \"{subject}\"{ports}\n      protocol: udp"),
            _ => format!("    - allow: \"{subject}\"{ports}\n      protocol: tcp"),
        }
    }
}

/// The rule for a name. Protocols and the usual port are left to what the language implies.
fn by_name(name: &HostName, port: u16, protocol: Protocols) -> String {
    let name = name.name();
    // Quotes where YAML could take it for something else than text.
    let plain = name.contains('.') && name.starts_with(|first: char| first.is_ascii_lowercase());
    let name = if plain { name } else { format!("\"{name}\"") };
    match (protocol, port) {
        (Protocols::ICMP, _) => format!("    - allow: {name}\n      protocol: icmp"),
        (_, 443) => format!("    - allow: {name}"),
        _ => format!("    - allow: {name}\n      ports: {port}"),
    }
}

/// Reads the name of one host.
fn one_name(text: &str) -> Result<HostName, Refusal> {
    let name = HostName::parse(text)?;
    if name.is_below() {
        let problem = Problem::BadName { text: quoted(text), why: "is more than one name" };
        return Err((problem, "write one of the names that the star stands for".into()));
    }
    Ok(name)
}

fn no_place(text: &str) -> Refusal {
    let problem = Problem::BadValue { key: "connect", value: quoted(text) };
    let mend = "write 10.0.0.1:443, [2001:db8::1]:443 or github.com:443, then /tcp, /udp or /icmp";
    (problem, mend.into())
}
