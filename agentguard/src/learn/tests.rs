//! From what was seen to a policy that is in order and allows just that.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use proptest::prelude::*;

use super::seen::{Act, Seen, Use};
use super::{Given, Learned, learn};
use crate::policy::{Access, Bindings, NoLinks, PathTable, Policy};

const TCP: u8 = 1;
const UDP: u8 = 2;

fn given() -> Given {
    Given {
        agent: "coder".into(),
        workspace: Some("/home/bob/code".into()),
        home: Some("/home/bob".into()),
        group: false,
        command: "make \u{1b}[31m all".into(),
    }
}

fn seen(acts: impl IntoIterator<Item = Act>) -> Seen {
    let mut seen = Seen::default();
    for act in acts {
        let one = Use { count: 1, by: BTreeSet::from(["make".to_owned()]) };
        seen.acts.entry(act).or_default().add(&one);
    }
    seen
}

fn read(path: &str) -> Act {
    Act::Read(path.into())
}

fn write(path: &str) -> Act {
    Act::Write { path: path.into(), made: false }
}

fn make(path: &str) -> Act {
    Act::Write { path: path.into(), made: true }
}

fn connect(name: Option<&str>, address: &str, port: u16, protocol: u8) -> Act {
    let name = name.map(str::to_owned);
    Act::Connect { name, address: address.parse().unwrap(), port, protocol }
}

fn learned(acts: impl IntoIterator<Item = Act>) -> Learned {
    let learned = learn(&seen(acts), &given(), None).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(learned.proof.refused, Vec::<String>::new(), "{}", learned.text);
    learned
}

fn policy(text: &str) -> Policy {
    Policy::parse(Path::new("test.yaml"), text.as_bytes())
        .unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

/// What a policy says of paths.
fn paths(text: &str) -> impl Fn(&str, Access) -> bool + use<> {
    let policy = policy(text);
    let bindings = Bindings {
        homes: vec!["/home/bob".into()],
        workspace: Some("/home/bob/code".into()),
        ..Bindings::default()
    };
    let bound = policy.bind(&bindings, &NoLinks).unwrap().unwrap();
    let table = PathTable::new(&bound.compile(&policy).unwrap());
    move |path: &str, access: Access| table.decide(path.as_bytes(), access).verdict.passes()
}

/// The lines of lists, without quotes and comments.
fn lines(text: &str) -> Vec<String> {
    let items = text.lines().filter_map(|line| line.strip_prefix("        - "));
    items.map(|item| item.split(" #").next().unwrap_or("").trim().replace('"', "")).collect()
}

#[test]
fn nothing_but_what_was_seen_is_allowed() {
    let text = learned([read("/etc/hosts"), connect(None, "1.2.3.4", 22, TCP)]).text;
    let policy = policy(&text);
    assert!(policy.egress.lookups().is_none());
    let may = paths(&text);
    assert!(may("/etc/hosts", Access::Read) && !may("/etc/hosts", Access::Write));
    assert!(!may("/etc/passwd", Access::Read) && !may("/usr/bin/make", Access::Exec));
    assert!(text.contains("# once, by make"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn names_go_before_addresses_and_share_a_rule_by_ports() {
    let text = learned([
        Act::Ask("api.test".into()),
        Act::Ask("only.asked.test".into()),
        connect(Some("api.test"), "1.2.3.4", 443, TCP),
        connect(Some("api.test"), "2001:db8::4", 443, TCP),
        connect(Some("b.test"), "1.2.3.4", 443, TCP),
        connect(Some("c.test"), "1.2.3.5", 443, UDP),
        connect(None, "2001:db8::5", 5432, TCP),
    ])
    .text;
    let policy = policy(&text);
    let rules: Vec<_> = policy
        .egress
        .rules
        .iter()
        .map(|rule| (rule.names.len(), rule.networks.len(), rule.protocols.0))
        .collect();
    assert_eq!(rules, [(2, 0, TCP), (1, 0, UDP), (1, 0, TCP), (0, 1, TCP)], "{text}");
    let compiled = policy.compile().unwrap();
    assert!(compiled.ask("only.asked.test").verdict.passes());
    let tcp = agentguard_common::net::Protocols::TCP;
    assert!(!compiled.decide_name("only.asked.test", 443, tcp).verdict.passes());
}

#[test]
fn names_stand_under_a_star_only_when_told_to() {
    let acts = ["a.x.com", "b.x.com", "a.co.uk", "b.co.uk"]
        .map(|name| connect(Some(name), "1.2.3.4", 443, TCP));
    let names = |group| {
        let given = Given { group, ..given() };
        lines(&learn(&seen(acts.clone()), &given, None).unwrap().text)
    };
    assert!(names(false).contains(&"a.x.com".into()));
    let grouped = names(true);
    assert!(grouped.contains(&"*.x.com".into()) && grouped.contains(&"a.co.uk".into()));
    assert!(!grouped.iter().any(|name| name == "*.co.uk"), "{grouped:?}");
}

#[test]
fn paths_are_folded_where_the_rules_of_thumb_say() {
    let mut acts = vec![
        write("/home/bob/code/src/main.rs"),
        read("/home/bob/code/README"),
        make("/tmp/x/y"),
        read("/usr/share/zoneinfo/UTC"),
        write("/home/bob/.claude/projects/a/b"),
        make("/home/bob/.local/share/tool/db"),
        write("/home/bob/.claude.json"),
        make("/home/bob/.claude.json.tmp.12.ab"),
        make("/srv/data/new/file"),
        read("/home/bob/.ssh/known_hosts"),
        read("/proc/4711/status"),
        write("/dev/null"),
    ];
    acts.extend((0..9).map(|number| read(&format!("/var/lib/many/{number}"))));
    acts.extend((0..8).map(|number| read(&format!("/var/lib/few/{number}"))));
    let text = learned(acts).text;
    let lines = lines(&text);
    for line in [
        "${workspace}",
        "/tmp",
        "/usr",
        "~/.claude",
        "~/.local/share/tool",
        "~/.claude.json",
        "~/.claude.json.*",
        "/srv/data/new",
        "~/.ssh/known_hosts",
        "/proc/[0-9]*/status",
        "/var/lib/many",
        "/var/lib/few/7",
        "**/.env",
        "${workspace}/.git/hooks",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line}: {text}");
    }
    assert!(!lines.iter().any(|found| found == "/dev/null" || found == "/var/lib/few"), "{text}");
    let may = paths(&text);
    for (path, access, expected) in [
        ("/home/bob/code/.env", Access::Read, false),
        ("/home/bob/code/.git/hooks/x", Access::Write, false),
        ("/home/bob/.ssh/id", Access::Read, false),
        ("/home/bob/.bashrc", Access::Write, false),
        ("/usr/bin/x", Access::Write, false),
        ("/home/bob/.claude/x", Access::Write, true),
    ] {
        assert_eq!(may(path, access), expected, "{path}: {text}");
    }
}

#[test]
fn hooks_that_were_written_may_be_written() {
    let text = learned([make("/home/bob/code/.git/hooks/pre-commit")]).text;
    assert!(paths(&text)("/home/bob/code/.git/hooks/x", Access::Write), "{text}");
    assert!(!paths(&text)("/home/bob/code/.vscode/x", Access::Write), "{text}");
}

#[test]
fn a_directory_that_was_listed_is_not_opened() {
    let text = learned([read("/etc"), read("/etc/hosts"), read("/")]).text;
    let may = paths(&text);
    assert!(may("/etc", Access::Read) && may("/etc/hosts", Access::Read) && may("/", Access::Read));
    assert!(!may("/etc/passwd", Access::Read) && !may("/etc/ssl/x", Access::Read), "{text}");
}

#[test]
fn programs_have_their_paths_and_libraries_their_directories() {
    let text = learned([
        Act::Exec("/usr/bin/make".into()),
        Act::Exec("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2".into()),
        Act::Map("/usr/lib/x86_64-linux-gnu/libc.so.6".into()),
        Act::Map("/tmp/.3f-1.node".into()),
        Act::Exec("/home/bob/code/target/debug/x".into()),
        Act::Memory,
    ])
    .text;
    let found = lines(&text);
    assert_eq!(
        found.iter().filter(|line| !line.starts_with("**")).collect::<Vec<_>>(),
        ["/usr/bin/make", "${workspace}/target/debug/x", "/tmp/**/*.node", "/usr/**/*.so*"]
    );
    assert!(text.contains("memory: allow"), "{text}");
    assert!(!paths(&text)("/usr/bin/cc", Access::Exec));
}

#[test]
fn addresses_inside_are_written_down() {
    let mut seen =
        seen([Act::Ask("db.test".into()), connect(Some("db.test"), "10.1.2.3", 5432, TCP)]);
    seen.inside.insert(IpAddr::from([10, 1, 2, 3]));
    let text = learn(&seen, &given(), None).unwrap().text;
    let dns = policy(&text).egress.lookups().unwrap();
    assert_eq!(dns.inside.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.1.2.3"]);
}

const BASE: &str = "\
version: 1
agent: coder
egress:
  rules:
    - { allow: api.test, id: mine }
    - { deny: 9.9.9.9, id: not-that }
  dns: { inside: 10.0.0.0/8 }
files:
  default: deny
  rules:
    - { write: '${workspace}', id: learned-write }
    - { deny: ~/.aws, id: keys }
";

#[test]
fn what_a_base_says_stays_and_is_not_said_again() {
    let base = policy(BASE);
    let acts = [
        connect(Some("api.test"), "1.2.3.4", 443, TCP),
        connect(Some("new.test"), "1.2.3.4", 443, TCP),
        connect(None, "9.9.9.9", 443, TCP),
        write("/home/bob/code/x"),
        write("/srv/deep/x"),
        read("/home/bob/.aws/key"),
        Act::Exec("/usr/bin/make".into()),
    ];
    let learned = learn(&seen(acts), &given(), Some(&base)).unwrap();
    let text = &learned.text;
    let new = policy(text);
    assert_eq!(
        lines(text),
        ["api.test", "9.9.9.9", "new.test", "${workspace}", "~/.aws", "/srv/deep/x"]
    );
    assert!(new.exec.is_none(), "{text}");
    assert!(new.line_of("mine").is_some() && new.line_of("learned-write-2").is_some(), "{text}");
    assert!(text.contains("refused by rule not-that"), "{text}");
    // What a rule of the base refuses stays refused, and that is said.
    assert_eq!(learned.proof.refused.len(), 2, "{:?}", learned.proof);
    // Learning the same again from the result adds nothing.
    let again = learn(&seen([write("/srv/deep/x")]), &given(), Some(&new)).unwrap();
    assert_eq!(lines(&again.text), lines(text));
}

#[test]
fn sections_that_nothing_is_learned_for_stay_as_they_are() {
    let more = "limits:\n  # enough\n  memory: 1GiB\n\nhost: { allow: [signal] }\n";
    let base = policy(&format!("{}{more}", BASE.replace("  dns:", "  tls: strict\n  dns:")));
    let learned = learn(&seen([write("/srv/deep/x")]), &given(), Some(&base)).unwrap();
    assert_eq!(learned.lost, Vec::<String>::new(), "{}", learned.text);
    let new = policy(&learned.text);
    assert_eq!((&new.limits.limits, &new.host), (&base.limits.limits, &base.host));
    assert_eq!(new.egress.tls, base.egress.tls);
    assert!(learned.text.contains("# enough"), "{}", learned.text);
    // In one line, the sections are not found, and that is said.
    let flow = policy("{ version: 1, agent: coder, egress: { rules: [] }, limits: { pids: 9 } }\n");
    let learned = learn(&seen([write("/srv/deep/x")]), &given(), Some(&flow)).unwrap();
    assert_eq!(learned.lost, ["- 9 limits.pids"]);
}

#[test]
fn what_was_lost_is_said() {
    let mut seen = seen([read("/etc/hosts")]);
    seen.missed = 7;
    assert!(learn(&seen, &given(), None).unwrap().text.contains("NOT COMPLETE: 7 events"));
}

/// Acts as they can come, names and paths odd ones among them.
fn acts() -> impl Strategy<Value = Vec<Act>> {
    let name = "([a-c]{1,2}|[x-z_*\\[${}\u{fffd} #:'\"-]{1,3}|task|[0-9]{1,2}|\\.env|\\.ssh|[a-b]\\.so(\\.[0-9])?)";
    let top = prop_oneof![
        Just("/home/bob/code"),
        Just("/home/bob"),
        Just("/home/bob/.config"),
        Just("/tmp"),
        Just("/usr/lib"),
        Just("/proc"),
        Just("/srv"),
        Just(""),
    ];
    let path = (top, proptest::collection::vec(name, 0..4)).prop_map(|(top, names)| {
        let path: String = names.iter().map(|name| format!("/{name}")).collect();
        let path = format!("{top}{path}");
        if path.is_empty() { "/".to_owned() } else { path }
    });
    let host = "([a-c]\\.)?[a-c]\\.(com|co\\.uk|test)";
    let ip = prop_oneof![
        any::<u32>().prop_map(|ip| IpAddr::from(ip.to_be_bytes())),
        any::<u128>().prop_map(|ip| IpAddr::from(ip.to_be_bytes()))
    ];
    let act = prop_oneof![
        path.clone().prop_map(Act::Read),
        (path.clone(), any::<bool>()).prop_map(|(path, made)| Act::Write { path, made }),
        path.clone().prop_map(Act::Exec),
        path.prop_map(Act::Map),
        host.prop_map(Act::Ask),
        (proptest::option::of(host), ip, 1u16.., 1u8..3).prop_map(
            |(name, address, port, protocol)| { Act::Connect { name, address, port, protocol } }
        ),
        "[/@][a-z/*]{1,9}".prop_map(Act::Unix),
        Just(Act::Memory),
    ];
    proptest::collection::vec(act, 1..40)
}

/// What cannot be learned: addresses that are no destinations or the clouds' metadata services, and sockets
/// whose names no rule can have.
fn can_be(act: &Act) -> bool {
    match act {
        Act::Connect { address, .. } => {
            let at = crate::policy::address_of(*address);
            at.reached() == at && !at.is_metadata()
        }
        Act::Unix(name) => crate::policy::SocketName::parse(&format!("unix:{name}"))
            .is_ok_and(|read| read.to_string().ends_with(name.as_str()) && !name.ends_with('*')),
        _ => act.path().is_none_or(|(path, _)| is_plain(path)),
    }
}

/// Whether a path is of names that can be written down. Others, and those of processes, become
/// patterns, which can contradict what was seen of the directories above them: then no policy
/// is written.
fn is_plain(path: &str) -> bool {
    !path.contains('\u{fffd}') && !path.starts_with("/proc")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_seen_the_policy_is_in_order_and_allows_it(acts in acts(), group in any::<bool>()) {
        let seen = seen(acts.into_iter().filter(can_be));
        let given = Given { group, ..given() };
        let learned = learn(&seen, &given, None).map_err(|errors| TestCaseError::fail(errors.to_string()))?;
        prop_assert_eq!(&learned.proof.refused, &Vec::<String>::new(), "{}", learned.text);
        // And again on top of itself, nothing changes.
        let base = policy(&learned.text);
        let again = learn(&seen, &given, Some(&base)).map_err(|errors| TestCaseError::fail(errors.to_string()))?;
        prop_assert_eq!(lines(&again.text), lines(&learned.text));
    }

    #[test]
    fn secrets_that_were_not_used_stay_closed(acts in acts()) {
        let is_secret = |path: &str| path.contains(".ssh") || path.contains(".env");
        let apart = |act: &Act| act.path().is_none_or(|(path, _)| !is_secret(path));
        let seen = seen(acts.into_iter().filter(can_be).filter(apart));
        let learned = learn(&seen, &given(), None).map_err(|errors| TestCaseError::fail(errors.to_string()))?;
        let may = paths(&learned.text);
        for path in [
            "/home/bob/.ssh/id",
            "/home/bob/.aws/credentials",
            "/home/bob/.config/gh/hosts.yml",
            "/home/bob/code/.env",
            "/tmp/a/.env",
            "/etc/shadow",
        ] {
            prop_assert!(!may(path, Access::Read), "{}\n{}", path, learned.text);
        }
    }
}
