//! From a record of the kernel to an event: times, sessions, programs and rule
//! ids are filled in here.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use agentguard_common::Verdict;
use agentguard_common::event::{self as record, Header, Kind, Record, Tail, flag};
use agentguard_common::file::Deed;
use agentguard_common::host::Power;
use agentguard_common::limit::Limit;
use agentguard_common::net;
use agentguard_common::steering::types;
use agentguard_common::verdict::{RULE_NONE, Reason};
use time::OffsetDateTime;

use super::clock::{wall_clock, written};
use super::dns::{Names, server};
use super::file::{self, Places};
use super::host;
use super::{
    AncestorInfo, Class, DestinationInfo, DnsInfo, Event, MAX_ANCESTORS, Outcome, ProcessInfo,
    SCHEMA_VERSION,
};
use crate::policy::Policy;
use crate::session::{PROBE_SESSION, Policies, Process, Processes, Session, Sessions};

/// Makes events.
pub struct Enricher {
    host: Arc<str>,
    sequence: u64,
    names: Names,
}

impl Enricher {
    /// For this host.
    #[must_use]
    pub fn new() -> Self {
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        Self {
            host: host.unwrap_or_else(|| "localhost".into()).into(),
            sequence: 0,
            names: Names::default(),
        }
    }

    /// An event of a session's or the daemon's life.
    pub fn lifecycle(
        &mut self,
        action: &'static str,
        session: Option<&Session>,
        resource: String,
        outcome: Outcome,
        message: Option<String>,
    ) -> Event {
        self.sequence += 1;
        let now = OffsetDateTime::now_utc();
        let role = session.map_or("agentguard", |session| session.agent.as_str());
        Event {
            id: format!("l-{:x}-{}", now.unix_timestamp_nanos(), self.sequence),
            policy_hash: session.map(|session| session.policy_hash.clone()),
            message,
            ..self.event(now, role, action, resource, outcome, Class::Lifecycle, session)
        }
    }

    /// The event that a record tells of; `None` for records that only keep our own
    /// books.
    pub fn event_of(
        &mut self,
        record: &Record<'_>,
        sessions: &Sessions,
        policies: &Policies,
        processes: &mut Processes,
        places: Places<'_>,
    ) -> Option<Event> {
        let (kind, header) = parts(record);
        if header.session == PROBE_SESSION {
            return None;
        }
        if let Record::Dns(kind, dns) = record {
            self.names.learn(*kind, dns);
        }
        let session = sessions.get(header.session);
        let time = wall_clock(header.time);
        let role = session.map_or("unknown", |session| session.agent.as_str());
        let known = processes.get(header.pid);
        let base = |resource, outcome, class| Event {
            id: format!("{:x}-{}", header.time, header.cpu),
            process: Some(process(header, &known, processes)),
            policy_hash: session.map(|session| session.policy_hash.clone()),
            ..self.event(time, role, action(kind), resource, outcome, class, session)
        };
        match record {
            Record::Egress(kind, egress) => {
                Some(decision(base, *kind, egress, policies, &self.names))
            }
            Record::Dns(Kind::Hello, hello) => Some(greeted(base, hello, policies, &self.names)),
            Record::Dns(kind, dns) => Some(named(base, *kind, dns, policies)),
            Record::File(file, path, other) => {
                Some(deed(base, file, [path, other], policies, places))
            }
            Record::Host(host) => Some(host::decision(base, host)),
            Record::Unix(_, unix) => Some(socket_decision(base, unix, policies)),
            Record::Exec(exec, tail) => {
                let told = executed(exec, tail);
                let mut event =
                    base(told.exe.clone().unwrap_or_default(), Outcome::Allowed, Class::Activity);
                event.process = Some(ProcessInfo {
                    args: told.args.clone(),
                    args_cut: header.flags & flag::ARGS_CUT != 0,
                    cwd: text(tail.cwd),
                    ..process(header, &told, processes)
                });
                processes.executed(header.pid, told);
                Some(event)
            }
            Record::Fork(fork) => {
                let event = base(fork.child.to_string(), Outcome::Allowed, Class::Activity);
                processes.forked(header.pid, fork.child);
                Some(event)
            }
            Record::Plain(Kind::Exit, plain) => {
                let mut event = base(header.pid.to_string(), Outcome::Success, Class::Activity);
                if !processes.exited(header.pid) {
                    return None;
                }
                if let Some(process) = &mut event.process {
                    (process.exit_code, process.signal) = ended(plain.status);
                }
                Some(event)
            }
            Record::Plain(Kind::ForkRefused, plain) => {
                let reason = u8::try_from(plain.status).ok().and_then(Reason::from_u8);
                Some(refused(base, header, header.pid.to_string(), reason))
            }
            Record::Plain(Kind::Option | Kind::Netlink | Kind::Ioctl, plain) => {
                let resource = steering(kind, plain.status);
                let typing = kind == Kind::Ioctl && types(plain.status);
                let reason = if typing { Reason::Typing } else { Reason::Steering };
                Some(refused(base, header, resource, Some(reason)))
            }
            Record::Plain(Kind::Limit, plain) => {
                let limit = Limit::from_u32(plain.status).map_or("unknown", Limit::as_str);
                Some(refused(base, header, format!("limit:{limit}"), Some(Reason::Budget)))
            }
            // The daemon tells of these.
            Record::Plain(..) => None,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the members that every event has")]
    fn event(
        &self,
        time: OffsetDateTime,
        role: &str,
        action: &'static str,
        resource: String,
        outcome: Outcome,
        kind: Class,
        session: Option<&Session>,
    ) -> Event {
        Event {
            timestamp: written(time),
            agent_role: role.to_owned(),
            action,
            resource,
            outcome,
            confidence: 1.0,
            kind,
            id: String::new(),
            session: session.map(|session| session.id.clone()),
            correlation_id: session.map(|session| session.correlation_id.clone()),
            parent_span_id: session.and_then(|session| session.parent_span_id.clone()),
            process: None,
            destination: None,
            dns: None,
            target: None,
            verdict: None,
            reason: None,
            rule: None,
            question: None,
            finding: None,
            snapshot: None,
            policy_hash: None,
            message: None,
            sample_rate: None,
            host: Arc::clone(&self.host),
            schema_version: SCHEMA_VERSION,
        }
    }
}

impl Default for Enricher {
    fn default() -> Self {
        Self::new()
    }
}

/// Kind and header of a record.
const fn parts<'r>(record: &'r Record<'_>) -> (Kind, &'r Header) {
    match record {
        Record::Egress(kind, egress) => (*kind, &egress.header),
        Record::Unix(kind, unix) => (*kind, &unix.header),
        Record::Dns(kind, dns) => (*kind, &dns.header),
        Record::File(file, ..) => (Kind::File, &file.header),
        Record::Host(host) => (Kind::Host, &host.header),
        Record::Exec(exec, _) => (Kind::Exec, &exec.header),
        Record::Fork(fork) => (Kind::Fork, &fork.header),
        Record::Plain(kind, plain) => (*kind, &plain.header),
    }
}

/// When the kernel made a record, in nanoseconds since boot.
#[must_use]
pub const fn recorded(record: &Record<'_>) -> u64 {
    parts(record).1.time
}

/// The number of the session that a record is about.
#[must_use]
pub const fn session_of(record: &Record<'_>) -> u64 {
    parts(record).1.session
}

/// What an event calls a kind of record.
const fn action(kind: Kind) -> &'static str {
    match kind {
        Kind::ForkRefused => "fork",
        Kind::UnixConnect => "connect",
        Kind::Question => "resolve",
        Kind::UnixSend => "send",
        Kind::Hello => "tls",
        other => other.as_str(),
    }
}

/// A refusal that no rule has to do with.
fn refused(
    base: impl Fn(String, Outcome, Class) -> Event,
    header: &Header,
    resource: String,
    reason: Option<Reason>,
) -> Event {
    Event {
        verdict: Some(Verdict::Deny.as_str()),
        reason: reason.map(Reason::as_str),
        ..base(resource, outcome(Verdict::Deny, header), Class::Decision)
    }
}

pub(super) fn outcome(verdict: Verdict, header: &Header) -> Outcome {
    // The kernel tells of no other: what is not answered yet, and waits.
    if verdict == Verdict::Ask && header.flags & flag::OBSERVED == 0 {
        return Outcome::Held;
    }
    match (verdict.passes(), header.flags & flag::OBSERVED != 0) {
        (true, _) => Outcome::Allowed,
        (false, true) => Outcome::WouldDeny,
        (false, false) => Outcome::Denied,
    }
}

/// Verdict, reason and rule, from bytes of a record.
pub(super) fn ruled(
    event: Event,
    verdict: u8,
    reason: u8,
    rule: u32,
    policy: Option<&Policy>,
) -> Event {
    let rule = (rule != RULE_NONE).then(|| {
        let id = policy.and_then(|policy| policy.rule_id(rule).map(str::to_owned));
        id.unwrap_or_else(|| rule.to_string())
    });
    let because = policy.filter(|policy| policy.is_tainted).map(|_| TAINTED.to_owned());
    Event {
        // The session may go on under another one by now.
        policy_hash: policy.map(|policy| crate::hex(&policy.hash)).or(event.policy_hash),
        message: event.message.or(because),
        verdict: Some(Verdict::from_u8(verdict).unwrap_or(Verdict::Deny).as_str()),
        reason: Some(Reason::from_u8(reason).unwrap_or(Reason::NoPolicy).as_str()),
        rule,
        ..event
    }
}

fn decision(
    base: impl Fn(String, Outcome, Class) -> Event,
    kind: Kind,
    egress: &record::Egress,
    policies: &Policies,
    names: &Names,
) -> Event {
    let verdict = Verdict::from_u8(egress.verdict).unwrap_or(Verdict::Deny);
    let transport = match egress.protocol {
        net::IPPROTO_TCP => "tcp".to_owned(),
        net::IPPROTO_MPTCP => "mptcp".to_owned(),
        net::IPPROTO_UDP => "udp".to_owned(),
        net::IPPROTO_ICMP | net::IPPROTO_ICMPV6 => "icmp".to_owned(),
        other => format!("protocol-{other}"),
    };
    let address = Ipv6Addr::from(egress.address).to_canonical();
    let inet = matches!(egress.family, net::AF_INET | net::AF_INET6)
        && egress.reason != Reason::Malformed as u8
        && kind != Kind::Socket;
    let resource = match address {
        _ if kind == Kind::Socket => asked_socket(egress),
        _ if !inet => format!("family-{}", egress.family),
        address if transport == "icmp" => format!("icmp://{address}"),
        IpAddr::V4(address) => format!("{transport}://{address}:{}", egress.port),
        IpAddr::V6(address) => format!("{transport}://[{address}]:{}", egress.port),
    };
    let event = Event {
        destination: inet.then(|| DestinationInfo {
            name: names
                .of(egress.header.session, net::Address::from_octets(egress.address))
                .map(str::to_owned),
            mapped: egress.family == net::AF_INET6 && address.is_ipv4(),
            address: address.to_string(),
            port: egress.port,
            transport,
        }),
        ..base(resource, outcome(verdict, &egress.header), Class::Decision)
    };
    let policy = policies.by_tag(egress.policy).map(Arc::as_ref);
    ruled(event, egress.verdict, egress.reason, egress.rule, policy)
}

/// A name that was asked for or answered: a decision where it was refused, else activity.
fn named(
    base: impl Fn(String, Outcome, Class) -> Event,
    kind: Kind,
    dns: &record::Dns,
    policies: &Policies,
) -> Event {
    let verdict = Verdict::from_u8(dns.verdict).unwrap_or(Verdict::Deny);
    // The answer itself went on where only an address of it was not learned.
    let class = match (verdict.passes(), kind) {
        (true, Kind::Answer) => Class::Activity,
        _ => Class::Decision,
    };
    let info = DnsInfo::of(dns);
    let resource = format!("dns:{}", info.name);
    let event = Event { dns: Some(info), ..base(resource, outcome(verdict, &dns.header), class) };
    let policy = policies.by_tag(dns.policy).map(Arc::as_ref);
    ruled(event, dns.verdict, dns.reason, dns.rule, policy)
}

/// What events say that were decided by what a policy says of tainted sessions.
pub(crate) const TAINTED: &str = "the session has read a secret";

/// The name in a TLS handshake: a decision where it was refused, or showed no name.
fn greeted(
    base: impl Fn(String, Outcome, Class) -> Event,
    hello: &record::Dns,
    policies: &Policies,
    names: &Names,
) -> Event {
    let verdict = Verdict::from_u8(hello.verdict).unwrap_or(Verdict::Deny);
    let class = if verdict == Verdict::Allow { Class::Activity } else { Class::Decision };
    let to = net::Address::from_octets(hello.resolver);
    let address = Ipv6Addr::from(hello.resolver).to_canonical();
    let event = Event {
        destination: Some(DestinationInfo {
            name: names.of(hello.header.session, to).map(str::to_owned),
            address: address.to_string(),
            port: hello.port,
            transport: "tcp".into(),
            mapped: false,
        }),
        ..base(server(hello), outcome(verdict, &hello.header), class)
    };
    let policy = policies.by_tag(hello.policy).map(Arc::as_ref);
    ruled(event, hello.verdict, hello.reason, hello.rule, policy)
}

/// A deed with a file: a decision where it was refused, else activity.
fn deed(
    base: impl Fn(String, Outcome, Class) -> Event,
    file: &record::File,
    [path, other]: [&[u8]; 2],
    policies: &Policies,
    places: Places<'_>,
) -> Event {
    let verdict = Verdict::from_u8(file.verdict).unwrap_or(Verdict::Deny);
    let class = if verdict.passes() { Class::Activity } else { Class::Decision };
    let power = file.power.checked_sub(1).and_then(Power::from_u8);
    let resource = match power {
        // Asked about an inode of which no name is known.
        Some(power) if file.file.len == 0 && file.file.place == 0 => power.as_str().to_owned(),
        _ => file::path(&file.file, path, places),
    };
    let action = Deed::from_u8(file.deed).map_or("file", file::action);
    let event = Event {
        action: power.map_or(action, Power::as_str),
        message: power.map(|_| action.to_owned()),
        target: (file.other.len != 0).then(|| file::path(&file.other, other, places)),
        ..base(resource, outcome(verdict, &file.header), class)
    };
    let policy = policies.by_tag(file.policy).map(Arc::as_ref);
    let ruled = ruled(event, file.verdict, file.reason, file.rule, policy);
    let opened = power.filter(|_| verdict.passes()).map(|_| host::RULE_ID.to_owned());
    Event { rule: opened.or(ruled.rule), ..ruled }
}

/// A socket that could not be had: family, type and protocol, by name where it has one.
fn asked_socket(egress: &record::Egress) -> String {
    let family = match egress.family {
        net::AF_INET => "inet".to_owned(),
        net::AF_INET6 => "inet6".to_owned(),
        17 => "packet".to_owned(),
        40 => "vsock".to_owned(),
        44 => "xdp".to_owned(),
        other => format!("family-{other}"),
    };
    let kind = match egress.socket_type {
        net::SOCK_STREAM => "stream".to_owned(),
        net::SOCK_DGRAM => "dgram".to_owned(),
        3 => "raw".to_owned(),
        5 => "seqpacket".to_owned(),
        other => format!("type-{other}"),
    };
    format!("socket:{family}/{kind}/{}", egress.protocol)
}

/// An option of a socket, or a message to the kernel.
fn steering(kind: Kind, status: u32) -> String {
    let (first, second) = record::unpair(status);
    match (kind, first) {
        (Kind::Ioctl, _) => format!("ioctl:{status:#x}"),
        (Kind::Netlink, 0) => format!("netlink:route/{second}"),
        (Kind::Netlink, protocol) => format!("netlink:{protocol}/{second}"),
        (_, 0) => format!("option:ip/{second}"),
        (_, 41) => format!("option:ipv6/{second}"),
        (_, level) => format!("option:{level}/{second}"),
    }
}

fn socket_decision(
    base: impl Fn(String, Outcome, Class) -> Event,
    unix: &record::Unix,
    policies: &Policies,
) -> Event {
    let verdict = Verdict::from_u8(unix.verdict).unwrap_or(Verdict::Deny);
    let (mark, name) = match unix.name.0.split_first() {
        Some((0, rest)) => ("@", rest),
        _ => ("", &unix.name.0[..]),
    };
    let end = name.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let name = String::from_utf8_lossy(name.get(..end).unwrap_or_default());
    let resource = format!("unix:{mark}{name}");
    let event = base(resource, outcome(verdict, &unix.header), Class::Decision);
    let policy = policies.by_tag(unix.policy).map(Arc::as_ref);
    ruled(event, unix.verdict, unix.reason, unix.rule, policy)
}

fn process(header: &Header, known: &Process, processes: &Processes) -> ProcessInfo {
    let ancestors = processes.ancestors(known.parent).take(MAX_ANCESTORS);
    let named = |(pid, process): (u32, &Process)| AncestorInfo { pid, exe: process.exe.clone() };
    ProcessInfo {
        pid: header.pid,
        tid: header.tid,
        ppid: known.parent,
        uid: header.uid,
        gid: header.gid,
        comm: text(header.comm.split(|byte| *byte == 0).next().unwrap_or_default())
            .unwrap_or_default(),
        exe: known.exe.clone(),
        args: Vec::new(),
        args_cut: false,
        cwd: None,
        ancestors: ancestors.map(named).collect(),
        exit_code: None,
        signal: None,
    }
}

fn executed(exec: &record::Exec, tail: &Tail<'_>) -> Process {
    let args = tail.args.strip_suffix(b"\0").unwrap_or(tail.args);
    let args = args.split(|byte| *byte == 0).map(|arg| String::from_utf8_lossy(arg).into_owned());
    Process {
        parent: Some(exec.parent),
        exe: text(tail.path),
        args: if tail.args.is_empty() { Vec::new() } else { args.collect() },
        executed: exec.header.time,
    }
}

/// Bytes as text, with the replacement character for what is not UTF-8; `None`
/// where there are none.
fn text(bytes: &[u8]) -> Option<String> {
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// A wait status, as exit code or signal.
const fn ended(status: u32) -> (Option<u32>, Option<u32>) {
    match status & 0x7f {
        0 => (Some((status >> 8) & 0xff), None),
        signal => (None, Some(signal)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_status_is_a_code_or_a_signal() {
        assert_eq!(ended(0), (Some(0), None));
        assert_eq!(ended(3 << 8), (Some(3), None));
        assert_eq!(ended(9), (None, Some(9)));
        assert_eq!(ended(11 | 0x80), (None, Some(11)), "with a core dump");
    }
}
