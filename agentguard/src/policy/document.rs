//! The policy file as it is written: its keys and what kind of value each takes.
//!
//! These types are what the file is read into and what the JSON Schema is made
//! from. What the values mean is found out afterwards, in [`super::meaning`]; so
//! every field may be absent here, and a wrong one does not hide those after it.

use schemars::JsonSchema;

use super::asking::AskDocument;
use super::detect::DetectDocument;
use super::error::Problem;
use super::fields::{Fields, items, text, text_or_integer};
use super::limits::LimitsDocument;
use super::paths::{ExecDocument, FilesDocument, PathText, read_paths};
use super::place::{Place, Sited};
use super::powers::HostDocument;
use super::report::Report;
use super::respond::ResponseDocument;
use super::shape::{
    CidrText, DurationText, NetworkText, PortText, ProtocolText, ResolverText, Several, UserText,
    VersionText,
};
use super::taint::TaintedDocument;
use super::yaml::{Node, Value};

/// A policy of agentguard: what the sessions of one agent may do.
#[derive(Debug, Default, JsonSchema)]
#[schemars(title = "agentguard policy", rename = "Policy", deny_unknown_fields)]
pub(super) struct PolicyDocument {
    /// The version of the policy language.
    #[schemars(required)]
    pub(super) version: Option<Sited<VersionText>>,
    /// The agent that the policy is for.
    #[schemars(required, regex(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$"))]
    pub(super) agent: Option<Sited<String>>,
    /// What the policy is for, in free text.
    pub(super) description: Option<Sited<String>>,
    /// enforce: what is not allowed is refused. observe: it is recorded as what
    /// would have been refused, and goes through.
    #[schemars(extend("enum" = ["enforce", "observe"], "default" = "enforce"))]
    pub(super) mode: Option<Sited<String>>,
    /// Which processes become sessions of this agent without `agentguard run`.
    #[schemars(rename = "match", length(min = 1))]
    pub(super) matches: Option<Vec<MatchDocument>>,
    /// What may be reached over the network. Nothing, where this is missing.
    pub(super) egress: Option<EgressDocument>,
    /// Which files may be read and written. Nothing is said of them, where this is missing.
    pub(super) files: Option<FilesDocument>,
    /// Which programs may be executed. Nothing is said of them, where this is missing.
    pub(super) exec: Option<ExecDocument>,
    /// What may be done to the host and to processes outside of the session. Nothing, where
    /// this is missing.
    pub(super) host: Option<HostDocument>,
    /// Files that are secret, with everything below: reading one taints the session.
    pub(super) secrets: Option<Several<PathText>>,
    /// What holds once a session has read one of those. The same as before, where this is
    /// missing.
    pub(super) tainted: Option<TaintedDocument>,
    /// What a session may use of the host.
    pub(super) limits: Option<LimitsDocument>,
    /// How people are asked, where a rule says ask.
    pub(super) ask: Option<AskDocument>,
    /// Which findings count.
    pub(super) detect: Option<DetectDocument>,
    /// What is done about a session that misbehaves.
    pub(super) respond: Option<Vec<ResponseDocument>>,
    /// The directory that `${workspace}` stands for, unless `agentguard run` says another.
    #[schemars(regex(pattern = "^/."))]
    pub(super) workspace: Option<Sited<String>>,
}

/// One way to recognise a process: exactly one key.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "Match", deny_unknown_fields, extend("minProperties" = 1, "maxProperties" = 1))]
pub(super) struct MatchDocument {
    /// Where the map stands.
    #[schemars(skip)]
    pub(super) place: Option<Place>,
    /// Whether an error was found in it, so that it is not to be held against others.
    #[schemars(skip)]
    pub(super) broken: bool,
    /// The absolute path of the program that it runs.
    #[schemars(regex(pattern = "^/"))]
    pub(super) exe: Option<Sited<String>>,
    /// The user it runs as: a name or a number.
    pub(super) user: Option<Sited<UserText>>,
    /// The absolute path of its cgroup, below the root of the hierarchy.
    #[schemars(regex(pattern = "^/"))]
    pub(super) cgroup: Option<Sited<String>>,
    /// The systemd unit it belongs to.
    pub(super) unit: Option<Sited<String>>,
}

/// What may be reached over the network.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "Egress", deny_unknown_fields)]
pub(super) struct EgressDocument {
    /// What happens where no rule matches.
    #[schemars(extend("enum" = ["deny", "allow"], "default" = "deny"))]
    pub(super) default: Option<Sited<String>>,
    /// The rules. The most specific one decides, wherever it stands.
    pub(super) rules: Option<Vec<RuleDocument>>,
    /// How names are looked up. With it, or with a rule by name, no other resolver may be
    /// asked, and only for names that may be reached.
    pub(super) dns: Option<DnsDocument>,
    /// What is done about TLS handshakes with addresses to which a name led. One with a name
    /// that no rule allows is refused; one that shows no name is told of, or under strict
    /// refused as well. Off: they are not looked at.
    #[schemars(extend("enum" = ["off", "report", "strict"], "default" = "report"))]
    pub(super) tls: Option<Sited<String>>,
}

/// How names are looked up.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "Dns", deny_unknown_fields)]
pub(super) struct DnsDocument {
    /// The resolvers that may be asked, on port 53: their addresses, and the word system
    /// for those of the host (/etc/resolv.conf), which is what holds where this is missing.
    pub(super) resolvers: Option<Several<ResolverText>>,
    /// The networks of this host, its surroundings and its cloud in which names may have
    /// addresses. None, where this is missing: a name that is answered so is not reached.
    pub(super) inside: Option<Several<CidrText>>,
    /// How long an address counts as a name's, at the least. 5m, where this is missing.
    pub(super) floor: Option<Sited<DurationText>>,
    /// How long at the most, whatever the answer says. 1h, where this is missing.
    pub(super) cap: Option<Sited<DurationText>>,
}

/// One rule: `allow`, `ask` or `deny`, and for which ports and protocols.
#[derive(Debug, Default, JsonSchema)]
#[schemars(
    rename = "EgressRule",
    deny_unknown_fields,
    extend("oneOf" = [{ "required": ["allow"] }, { "required": ["ask"] }, { "required": ["deny"] }])
)]
pub(super) struct RuleDocument {
    /// Where the rule stands.
    #[schemars(skip)]
    pub(super) place: Option<Place>,
    /// Whether an error was found in it, so that it is not to be held against others.
    #[schemars(skip)]
    pub(super) broken: bool,
    /// The addresses, networks, names of hosts (`*.example.com` is all below example.com)
    /// and unix sockets that may be reached; on port 443, where no ports are given.
    pub(super) allow: Option<Several<NetworkText>>,
    /// Those that may be reached when a person says so; until that can be asked, they
    /// are denied. Ports as for allow.
    pub(super) ask: Option<Several<NetworkText>>,
    /// Those that may not be reached; on every port, where no ports are given.
    pub(super) deny: Option<Several<NetworkText>>,
    /// The ports and port ranges, or the word any.
    pub(super) ports: Option<Several<PortText>>,
    /// The transport protocols: tcp and udp, where this is missing. icmp is ping.
    pub(super) protocol: Option<Several<ProtocolText>>,
    /// The name by which events speak of the rule. `egress.N` for the Nth rule,
    /// where this is missing.
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9._-]{0,62}$"))]
    pub(super) id: Option<Sited<String>>,
}

impl PolicyDocument {
    /// Reads the root of a file.
    pub(super) fn read(node: &Node<'_>, report: &mut Report<'_>) -> Self {
        let Some(mut fields) = Fields::open(node, "a policy file", "the policy", report) else {
            return Self::default();
        };
        let version = fields.require("version", "write version: 1", report);
        let agent = fields.require("agent", "write agent: NAME, the agent it is for", report);
        let description = fields.take("description", report);
        let mode = fields.take("mode", report);
        let matches = fields.take("match", report);
        let egress = fields.take("egress", report);
        let files = fields.take("files", report);
        let exec = fields.take("exec", report);
        let host = fields.take("host", report);
        let secrets = fields.take("secrets", report);
        let workspace = fields.take("workspace", report);
        let limits = fields.take("limits", report);
        let ask = fields.take("ask", report);
        let detect = fields.take("detect", report);
        let respond = fields.take("respond", report);
        let tainted = fields.take("tainted", report);
        fields.close(report);
        Self {
            version: version
                .and_then(|node| text_or_integer(node, "version", "the number 1", report))
                .map(|text| Sited::new(VersionText(text.value), text.place)),
            agent: agent.and_then(|node| text(node, "agent", "a name (in quotes)", report)),
            description: description
                .and_then(|node| text(node, "description", "text (in quotes)", report)),
            mode: mode.and_then(|node| text(node, "mode", "enforce or observe", report)),
            matches: matches.map(|node| MatchDocument::read_all(node, report)),
            egress: egress.and_then(|node| EgressDocument::read(node, report)),
            files: files.and_then(|node| FilesDocument::read(node, report)),
            exec: exec.and_then(|node| ExecDocument::read(node, report)),
            host: host.and_then(|node| HostDocument::read(node, report)),
            secrets: secrets.map(|node| read_paths(node, "secrets", report)),
            tainted: tainted.and_then(|node| TaintedDocument::read(node, report)),
            limits: limits.and_then(|node| LimitsDocument::read(node, report)),
            ask: ask.and_then(|node| AskDocument::read(node, report)),
            detect: detect.and_then(|node| DetectDocument::read(node, report)),
            respond: respond.map(|node| ResponseDocument::read_all(node, report)),
            workspace: workspace.and_then(|node| text(node, "workspace", "a path", report)),
        }
    }
}

impl MatchDocument {
    fn read_all(node: &Node<'_>, report: &mut Report<'_>) -> Vec<Self> {
        let Value::List(_) = node.value else {
            let (expected, found) = ("a list", node.described());
            let problem = Problem::WrongType { key: "match", expected, found };
            report.at(node.place, problem, "write each on its own line, after a dash");
            return Vec::new();
        };
        let items = items(node, "match", report).iter();
        items.filter_map(|item| Self::read(item, report)).collect()
    }

    fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        let errors = report.count();
        let mut fields = Fields::open(node, "match", "a match", report)?;
        let exe = fields.take("exe", report);
        let user = fields.take("user", report);
        let cgroup = fields.take("cgroup", report);
        let unit = fields.take("unit", report);
        let place = fields.place();
        fields.close(report);
        let mut read = Self {
            place: Some(place),
            broken: false,
            exe: exe.and_then(|node| text(node, "exe", "a path", report)),
            user: user
                .and_then(|node| text_or_integer(node, "user", "a user's name or number", report))
                .map(|text| Sited::new(UserText(text.value), text.place)),
            cgroup: cgroup.and_then(|node| text(node, "cgroup", "a path", report)),
            unit: unit.and_then(|node| text(node, "unit", "the name of a unit", report)),
        };
        read.broken = report.count() > errors;
        Some(read)
    }
}

impl EgressDocument {
    fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, "egress", "egress", report)?;
        let default = fields.take("default", report);
        let rules = fields.take("rules", report);
        let dns = fields.take("dns", report);
        let tls = fields.take("tls", report);
        fields.close(report);
        Some(Self {
            tls: tls.and_then(|node| text(node, "tls", "off, report or strict", report)),
            default: default.and_then(|node| text(node, "default", "deny or allow", report)),
            rules: rules.map(|node| RuleDocument::read_all(node, report)),
            dns: dns.and_then(|node| DnsDocument::read(node, report)),
        })
    }
}

impl DnsDocument {
    fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, "dns", "dns", report)?;
        let resolvers = fields.take("resolvers", report);
        let inside = fields.take("inside", report);
        let floor = fields.take("floor", report);
        let cap = fields.take("cap", report);
        fields.close(report);
        let duration = |key, node, report: &mut Report<'_>| {
            let text = text_or_integer(node, key, "a time such as 5m", report)?;
            Some(Sited::new(DurationText(text.value), text.place))
        };
        Some(Self {
            resolvers: resolvers.map(|node| {
                let expected = "system, or addresses of resolvers";
                Several::read(node, "resolvers", report, |node, report| {
                    text(node, "resolvers", expected, report)
                })
            }),
            inside: inside.map(|node| {
                Several::read(node, "inside", report, |node, report| {
                    text(node, "inside", "an address or a network", report)
                })
            }),
            floor: floor.and_then(|node| duration("floor", node, report)),
            cap: cap.and_then(|node| duration("cap", node, report)),
        })
    }
}

impl RuleDocument {
    pub(super) fn read_all(node: &Node<'_>, report: &mut Report<'_>) -> Vec<Self> {
        let Value::List(items) = &node.value else {
            let (expected, found) = ("a list", node.described());
            let problem = Problem::WrongType { key: "rules", expected, found };
            report.at(node.place, problem, "write each rule after a dash; [] for none");
            return Vec::new();
        };
        items.iter().map(|item| Self::read(item, report)).collect()
    }

    fn read(node: &Node<'_>, report: &mut Report<'_>) -> Self {
        let errors = report.count();
        let mut rule = Self::read_fields(node, report).unwrap_or_default();
        rule.broken = report.count() > errors;
        rule
    }

    fn read_fields(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, "rules", "a rule", report)?;
        let allow = fields.take("allow", report);
        let ask = fields.take("ask", report);
        let deny = fields.take("deny", report);
        let ports = fields.take("ports", report);
        let protocol = fields.take("protocol", report);
        let id = fields.take("id", report);
        let place = fields.place();
        fields.not_yet(&["audit", "kill"], report);
        fields.close(report);
        let networks = |key, node, report: &mut Report<'_>| {
            let expected = "an address, a network, a name or a unix socket";
            Several::read(node, key, report, |node, report| text(node, key, expected, report))
        };
        Some(Self {
            place: Some(place),
            broken: false,
            allow: allow.map(|node| networks("allow", node, report)),
            ask: ask.map(|node| networks("ask", node, report)),
            deny: deny.map(|node| networks("deny", node, report)),
            ports: ports.map(|node| {
                Several::read(node, "ports", report, |node, report| {
                    let expected = "port numbers, ranges (8000-8010) or any";
                    text_or_integer(node, "ports", expected, report)
                })
            }),
            protocol: protocol.map(|node| {
                Several::read(node, "protocol", report, |node, report| {
                    text(node, "protocol", "tcp, udp or icmp", report)
                })
            }),
            id: id.and_then(|node| text(node, "id", "a name (in quotes)", report)),
        })
    }
}
