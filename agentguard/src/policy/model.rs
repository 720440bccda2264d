//! What a policy says, once it has been read and checked.

use std::path::PathBuf;
use std::sync::Arc;

use agentguard_common::egress::dns;
use agentguard_common::host::Power;
use agentguard_common::limit::{LIMITS, Rate};
use agentguard_common::net::Protocols;
use agentguard_common::verdict::Verdict;

use super::builtin::{RULE_LOOKUP, RULE_LOOKUP_ID, RULE_MANAGERS, RULE_MANAGERS_ID};
use super::detect::DetectSection;
use super::dns::Dns;
use super::host::HostName;
use super::limits::LimitsSection;
use super::network::Network;
use super::paths::{ExecSection, FilesSection, PathPattern};
use super::place::{Place, Sited};
use super::ports::Ports;
use super::respond::Response;
use super::socket::SocketName;

/// The number of the rule that denies the clouds' metadata services. It is built
/// in and stands in no file.
pub const RULE_METADATA: u32 = u32::MAX;
/// The id of that rule.
pub const RULE_METADATA_ID: &str = "builtin.metadata";

/// The policy of one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The agent's name.
    pub agent: String,
    /// What the policy is for.
    pub description: Option<String>,
    /// Whether verdicts are enforced or only recorded.
    pub mode: Mode,
    /// Which processes become sessions without being started as such.
    pub matches: Vec<Match>,
    /// What may be reached over the network.
    pub egress: EgressSection,
    /// What may be done with files; nothing is said of them, where it is missing.
    pub files: Option<FilesSection>,
    /// What may be executed; nothing is said of programs, where it is missing.
    pub exec: Option<ExecSection>,
    /// What is open of the host and of processes outside of the session.
    pub host: Vec<Power>,
    /// Reading these taints the session.
    pub secrets: Vec<Sited<PathPattern>>,
    /// What holds once a session has read one of those, where that is something else.
    pub tainted: Option<Arc<Policy>>,
    /// Whether this is such a policy, which stands in the same file as the one that holds
    /// before.
    pub is_tainted: bool,
    /// What a session may use of the host.
    pub limits: LimitsSection,
    /// How long a call waits that a rule says `ask` of, in seconds.
    pub patience: u32,
    /// Which findings count.
    pub detect: DetectSection,
    /// What is done about a session that misbehaves, in the order of the file.
    pub responses: Vec<Response>,
    /// Where the agent works, unless that is given when a session begins.
    pub workspace: Option<PathBuf>,
    /// The SHA-256 of the file's bytes.
    pub hash: [u8; 32],
    /// The file's text.
    pub source: String,
    /// Where the file is.
    pub path: PathBuf,
}

/// Whether verdicts are enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// What is denied is refused.
    #[default]
    Enforce,
    /// What would be denied is recorded as such and goes through.
    Observe,
}

impl Mode {
    /// The word used in policies and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }
}

/// A way to recognise a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Match {
    /// By the program it runs.
    Exe(PathBuf),
    /// By its user.
    User(User),
    /// By its cgroup's path.
    Cgroup(PathBuf),
    /// By its systemd unit.
    Unit(String),
}

/// A user of the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum User {
    /// By number.
    Id(u32),
    /// By name.
    Name(String),
}

/// The rules for the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressSection {
    /// What happens where no rule matches: allow or deny.
    pub default: Verdict,
    /// The rules, in the order of the file.
    pub rules: Vec<EgressRule>,
    /// How names are looked up, where the file says so.
    pub dns: Option<Dns>,
    /// What is done about TLS handshakes with addresses to which a name led.
    pub tls: Tls,
}

/// What is done about TLS handshakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// Nothing.
    Off,
    /// A name that is not allowed is refused; what shows no name is told of.
    #[default]
    Report,
    /// What shows no name is refused too.
    Strict,
}

impl Policy {
    /// The limits per time that the kernel keeps, in the order of
    /// [`agentguard_common::limit::LIMITS`].
    #[must_use]
    pub fn rates(&self) -> [Rate; LIMITS.len()] {
        self.limits.limits.rates()
    }
}

impl Tls {
    /// The word used in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Report => "report",
            Self::Strict => "strict",
        }
    }

    /// The bits of [`agentguard_common::egress::dns`] that say so.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::Off => dns::TLS_OFF,
            Self::Report => 0,
            Self::Strict => dns::TLS_STRICT,
        }
    }
}

impl EgressSection {
    /// The ids of the rules, with where they stand.
    pub(super) fn ids(&self) -> impl Iterator<Item = (&str, Place)> {
        self.rules.iter().map(|rule| (rule.id.as_str(), rule.place))
    }

    /// How names are looked up. `None` where the policy does not speak of names, so that
    /// questions to resolvers are connections like others.
    #[must_use]
    pub fn lookups(&self) -> Option<Dns> {
        let named = self.rules.iter().any(|rule| !rule.names.is_empty());
        self.dns.clone().or_else(|| named.then(Dns::default))
    }
}

/// One rule for the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressRule {
    /// Its place in the list, from 1; the number that the kernel's rulings carry.
    pub number: u32,
    /// Its id.
    pub id: String,
    /// What it says.
    pub verdict: Verdict,
    /// For which networks.
    pub networks: Vec<Sited<Network>>,
    /// For which names of hosts.
    pub names: Vec<Sited<HostName>>,
    /// For which unix sockets.
    pub sockets: Vec<Sited<SocketName>>,
    /// For which ports.
    pub ports: Vec<Sited<Ports>>,
    /// Whether the ports are what the language implies, because none were given.
    pub implied_ports: bool,
    /// For which protocols.
    pub protocols: Protocols,
    /// Where it stands in the file.
    pub place: Place,
}

impl Policy {
    /// The id of a rule by its number in a ruling; `None` where the policy has no
    /// such rule.
    #[must_use]
    pub fn rule_id(&self, number: u32) -> Option<&str> {
        let builtin = [
            (RULE_METADATA, RULE_METADATA_ID),
            (RULE_MANAGERS, RULE_MANAGERS_ID),
            (RULE_LOOKUP, RULE_LOOKUP_ID),
        ];
        if let Some((_, id)) = builtin.iter().find(|(builtin, _)| *builtin == number) {
            return Some(id);
        }
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        if let Some(rule) = self.egress.rules.get(at) {
            return Some(&rule.id);
        }
        let files = self.files.iter().flat_map(|files| &files.rules);
        let files = files.map(|rule| (rule.number, &rule.id));
        let exec = self.exec.iter().flat_map(|exec| &exec.rules);
        let exec = exec.map(|rule| (rule.number, &rule.id));
        files.chain(exec).find(|(known, _)| *known == number).map(|(_, id)| id.as_str())
    }

    /// The line on which the rule with an id stands.
    #[must_use]
    pub fn line_of(&self, id: &str) -> Option<u32> {
        let tainted = self.tainted.iter().flat_map(|tainted| tainted.egress.ids());
        let mut all = self.ids().chain(tainted);
        all.find(|(known, _)| *known == id).map(|(_, place)| place.line)
    }

    /// The ids of all rules and responses, with where they stand.
    pub(super) fn ids(&self) -> impl Iterator<Item = (&str, Place)> {
        let files = self.files.iter().flat_map(|files| &files.rules);
        let exec = self.exec.iter().flat_map(|exec| &exec.rules);
        let files = files.map(|rule| (rule.id.as_str(), rule.place));
        let exec = exec.map(|rule| (rule.id.as_str(), rule.place));
        let responses = self.responses.iter();
        let responses = responses.map(|response| (response.id.as_str(), response.place));
        self.egress.ids().chain(files).chain(exec).chain(responses)
    }

    /// The paths of all rules and secrets.
    pub(super) fn sited_paths(&self) -> impl Iterator<Item = &Sited<PathPattern>> {
        let files = self.files.iter().flat_map(|files| &files.rules).flat_map(|rule| &rule.paths);
        let exec = self.exec.iter().flat_map(|exec| &exec.rules).flat_map(|rule| &rule.paths);
        files.chain(exec).chain(&self.secrets)
    }

    /// The first eight bytes of the hash, as the kernel knows the policy; never 0,
    /// which marks a free slot there. For what holds for tainted sessions, all bits of it
    /// the other way round.
    #[must_use]
    pub fn tag(&self) -> u64 {
        let first = u64::from_be_bytes(self.hash.first_chunk().copied().unwrap_or_default());
        if self.is_tainted { (!first).max(1) } else { first.max(1) }
    }
}
