//! Ports and protocols as policies write them: `443`, `8000-8010`, `any`; `tcp`.

use std::fmt;

use agentguard_common::net::Protocols;

use super::error::Problem;
use super::network::Refusal;
use super::report::quoted;

/// A range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    /// The first port.
    pub first: u16,
    /// The last port, not smaller than the first.
    pub last: u16,
}

impl Ports {
    /// Every port.
    pub const ANY: Self = Self { first: 0, last: u16::MAX };
    /// The port of HTTPS, which a rule that allows without saying ports speaks of.
    pub const HTTPS: Self = Self { first: 443, last: 443 };

    /// How many ports the range has.
    #[must_use]
    pub fn count(self) -> u32 {
        u32::from(self.last).saturating_sub(u32::from(self.first)) + 1
    }

    /// Reads a port, a range or the word any.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        if text == "any" {
            return Ok(Self::ANY);
        }
        let Some((first, last)) = text.split_once('-') else {
            let port = parse_port(text, text)?;
            return Ok(Self { first: port, last: port });
        };
        let (first, last) = (parse_port(first.trim(), text)?, parse_port(last.trim(), text)?);
        if last < first {
            return Err(bad(text, "runs backwards", format!("write {last}-{first}")));
        }
        Ok(Self { first, last })
    }
}

fn bad(text: &str, why: &'static str, mend: impl Into<String>) -> Refusal {
    (Problem::BadPort { text: quoted(text), why }, mend.into())
}

fn parse_port(text: &str, whole: &str) -> Result<u16, Refusal> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        let mend = "write a number from 1 to 65535, a range such as 8000-8010, or any";
        return Err(bad(whole, "is no port", mend));
    }
    match text.parse() {
        Ok(0) => Err(bad(whole, "has port 0 in it", "ports start at 1; write any for every port")),
        Ok(port) => Ok(port),
        Err(_) => Err(bad(whole, "is beyond the last port", "ports end at 65535")),
    }
}

/// Reads the name of a protocol.
pub(super) fn parse_protocol(text: &str) -> Result<Protocols, Refusal> {
    match text {
        "tcp" => Ok(Protocols::TCP),
        "udp" => Ok(Protocols::UDP),
        "icmp" => Ok(Protocols::ICMP),
        other => {
            let problem = Problem::BadValue { key: "protocol", value: quoted(other) };
            let mend = "write tcp, udp or icmp (for ping); left out, it is tcp and udp";
            Err((problem, mend.into()))
        }
    }
}

/// The name of a set of protocols, as messages have it.
pub(super) const fn protocol_name(protocols: Protocols) -> &'static str {
    match protocols {
        Protocols::TCP => "tcp",
        Protocols::UDP => "udp",
        Protocols::ICMP => "icmp",
        Protocols::ALL => "tcp, udp and icmp",
        _ => "tcp and udp",
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ANY => f.write_str("any port"),
            Self { first, last } if first == last => write!(f, "port {first}"),
            Self { first, last } => write!(f, "ports {first}-{last}"),
        }
    }
}
