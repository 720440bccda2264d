//! Rules by name, and how names are looked up.

use std::fmt::Write;
use std::time::{Duration, Instant};

use agentguard_common::egress::dns;
use agentguard_common::name::list_key;
use agentguard_common::net::{Address, Protocols};
use agentguard_common::verdict::Verdict::{Allow, Ask, Deny};
use agentguard_common::verdict::{RULE_NONE, Reason};

use super::super::{MAX_PORT_RULES, MAX_RULES, explain};
use super::{compiled, decide, messages, says, valid, with_egress};

const RULES: &str = "  rules:
    - allow: ['*.github.com', github.com]
      ports: [22, 443]
      protocol: tcp
    - deny: ['*.gist.github.com', gist.github.com]
    - ask: raw.gist.github.com
    - allow: [api.example, 10.0.0.1, 'unix:/run/a']
    - { allow: '*.example', protocol: icmp }
    - deny: api.example
      ports: 1-1024
";

#[test]
fn the_most_specific_name_decides() {
    let policy = compiled(&with_egress(RULES));
    for (name, port, protocol, verdict, rule) in [
        ("github.com", 443, Protocols::TCP, Allow, 1),
        ("API.GitHub.com.", 22, Protocols::TCP, Allow, 1),
        ("a.b.github.com", 443, Protocols::TCP, Allow, 1),
        ("github.com", 443, Protocols::UDP, Deny, 0),
        ("github.com", 80, Protocols::TCP, Deny, 0),
        ("xgithub.com", 443, Protocols::TCP, Deny, 0),
        ("github.com.evil.test", 443, Protocols::TCP, Deny, 0),
        ("com", 443, Protocols::TCP, Deny, 0),
        ("gist.github.com", 443, Protocols::TCP, Deny, 2),
        ("a.gist.github.com", 443, Protocols::TCP, Deny, 2),
        ("raw.gist.github.com", 443, Protocols::TCP, Ask, 3),
        ("raw.gist.github.com", 22, Protocols::TCP, Deny, 2),
        ("a.raw.gist.github.com", 443, Protocols::TCP, Deny, 2),
        ("api.example", 443, Protocols::UDP, Allow, 4),
        ("api.example", 80, Protocols::TCP, Deny, 6),
        ("api.example", 2000, Protocols::TCP, Deny, 0),
        ("api.example", 0, Protocols::ICMP, Allow, 5),
    ] {
        let ruling = policy.decide_name(name, port, protocol);
        assert_eq!((ruling.verdict, ruling.rule), (verdict, rule), "{name}:{port}");
        let reason = if rule == RULE_NONE { Reason::Default } else { Reason::Rule };
        assert_eq!(ruling.reason, reason, "{name}:{port}");
    }
    for (name, verdict, rule) in [
        ("github.com", Allow, 1),
        ("a.github.com", Allow, 1),
        ("gist.github.com", Deny, 2),
        // People are asked about the connection.
        ("raw.gist.github.com", Allow, 3),
        ("api.example", Allow, 4),
        ("b.example", Allow, 5),
        ("example", Deny, 0),
        ("evil.test", Deny, 0),
    ] {
        let ruling = policy.ask(name);
        assert_eq!((ruling.verdict, ruling.rule), (verdict, rule), "{name}");
    }
    for none in ["", ".", &"a".repeat(254)] {
        assert_eq!(policy.ask(none).reason, Reason::Malformed);
        assert_eq!(policy.decide_name(none, 443, Protocols::TCP).verdict, Deny);
    }
    assert_eq!(decide(&policy, "10.0.0.1", 443, Protocols::TCP).verdict, Allow);
}

#[test]
fn where_everything_is_allowed_names_are_asked_unless_they_are_of_no_use() {
    let policy = compiled(&with_egress(
        "  default: allow
  rules:
    - deny: [evil.test, '*.evil.test']
    - { deny: half.test, protocol: tcp }
    - { deny: most.test, ports: 1-65535 }
    - { deny: ping.test, protocol: icmp }
    - { deny: 25.test, ports: 25 }
",
    ));
    for (name, verdict) in [
        ("evil.test", Deny),
        ("a.evil.test", Deny),
        ("half.test", Allow),
        ("most.test", Deny),
        ("ping.test", Allow),
        ("25.test", Allow),
        ("other.test", Allow),
    ] {
        assert_eq!(policy.ask(name).verdict, verdict, "{name}");
    }
    assert_eq!(policy.decide_name("25.test", 25, Protocols::TCP).verdict, Deny);
    assert_eq!(policy.decide_name("25.test", 26, Protocols::TCP).reason, Reason::Default);
}

#[test]
fn names_of_which_the_same_is_said_share_a_list() {
    let policy = compiled(&with_egress(
        "  rules:
    - allow: [a.test, b.test, '*.c.test']
    - deny: x.c.test
      ports: 443
    - deny: y.c.test
",
    ));
    assert_eq!(policy.names.len(), 5);
    let lists = policy.egress.keys().filter(|key| key.bits == list_key(0, 0).bits).count();
    assert_eq!((lists, policy.egress.len()), (3, 3));
    assert!(policy.names_at(7).all(|(key, _)| key.policy == 7));
    assert_eq!(policy.names_at(7).count(), 5);
    assert_eq!((policy.entry.v4_count, policy.entry.v6_count), (0, 0));
}

#[test]
fn a_policy_without_names_does_not_look_at_questions() {
    let entry = compiled(&with_egress("  rules:\n    - allow: 10.0.0.1\n")).entry;
    assert_eq!((entry.dns, entry.floor, entry.cap, entry.inside_count), (0, 0, 0, 0));
    let entry = compiled(&with_egress("  rules:\n    - deny: a.test\n")).entry;
    assert_eq!((entry.dns, entry.floor, entry.cap), (dns::CHECKED | dns::SYSTEM, 300, 3600));
    let entry = compiled(&with_egress("  dns: {}\n")).entry;
    assert_eq!(entry.dns, dns::CHECKED | dns::SYSTEM);
}

const DNS: &str = "  rules:
    - allow: a.test
  dns:
    resolvers: [10.0.0.53, 'fd00::53']
    inside: [10.0.0.0/8, 169.254.169.254]
    floor: 1s
    cap: 7d
";

#[test]
fn lookups_reach_the_kernel() {
    let policy = compiled(&with_egress(DNS));
    assert_eq!(policy.resolvers.len(), 2);
    assert_eq!(policy.resolvers[0], Address::v4(0x0a00_0035));
    let entry = policy.entry;
    assert_eq!((entry.dns, entry.inside_count), (dns::CHECKED, 2));
    assert_eq!((entry.floor, entry.cap), (1, 604_800));
    assert_eq!((entry.inside[0].bits, entry.inside[1].bits), (104, 128));
    let policy = compiled(&with_egress("  dns:\n    resolvers: [system, '::1']\n"));
    assert_eq!((policy.entry.dns, policy.resolvers.len()), (dns::CHECKED | dns::SYSTEM, 1));
}

#[test]
fn names_and_lookups_are_explained() {
    let said = explain(&valid(&with_egress(DNS)));
    for part in [
        "egress.1: allow a.test on port 443 (no ports are given), TCP and UDP.",
        "what a rule allows on some port; by asking 10.0.0.53, fd00::53 and no others",
        "and its cloud, except in 10.0.0.0/8, 169.254.169.254.",
        "at least 1 second, at most 7 days.",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    assert!(!explain(&valid(&with_egress("  default: allow\n"))).contains("Names"));
    let said = explain(&valid(&with_egress("  dns: {}\n")));
    assert!(said.contains("the host's resolvers (/etc/resolv.conf) and no others"), "{said}");
}

/// What is said about a name, without the path and the excerpt.
fn about(text: &str) -> (String, String) {
    let said = messages(&with_egress(&format!("  rules:\n    - allow: \"{text}\"\n")));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 4, "{said}");
    let problem = lines[0].strip_prefix("p.yaml:5:14: ").unwrap();
    (problem.to_owned(), lines[3].strip_prefix("      = ").unwrap().to_owned())
}

#[test]
fn texts_that_are_no_names() {
    let star = "write *.example.com for all names below example.com, at any depth";
    let all = "write *.example.com for the names below one, or default: allow for all";
    let dots = "write one dot between labels";
    let plain = "write letters, digits, hyphens and underscores, with dots between";
    let number = "write all four numbers of an address, or a name that ends in a word";
    let local = "write 127.0.0.1 and ::1: for this host's own name no resolver is asked";
    for (text, why, mend) in [
        ("*", "is every name there is", all),
        ("a.*.com", "has a star where none can be", star),
        ("*.*.com", "has a star where none can be", star),
        ("foo*.com", "has a star where none can be", star),
        ("*foo.com", "has a star where none can be", star),
        ("a.com.*", "has a star where none can be", star),
        ("https://example.com/x", "is a URL", "write example.com"),
        ("https://example.com", "is a URL", "write example.com"),
        ("http://u:p@a.test:8080/x?y", "is a URL", "write a.test here, and ports: [8080]"),
        ("https://10.0.0.1/", "is a URL", "write 10.0.0.1"),
        ("https://[::1]:8443/", "is a URL", "write ::1 here, and ports: [8443]"),
        ("github.com/rust-lang", "has a path in it", "write github.com"),
        ("a:80", "has a port in it", "write a here, and ports: [80]"),
        ("*.a.test:443", "has a port in it", "write *.a.test here, and ports: [443]"),
        ("a.test:https", "has a port in it", "write a.test"),
        ("a..b", "has an empty label in it", dots),
        (".a.b", "has an empty label in it", dots),
        ("a.b..", "has an empty label in it", dots),
        ("*.", "has an empty label in it", dots),
        ("a b.com", "has a character in it that no name has", plain),
        ("a.test,b.test", "has a character in it that no name has", plain),
        ("a\u{ff0a}.com", "has a character in it that no name has", plain),
        ("a.com\u{301}:", "has a port in it", "write a.com\u{301}"),
        ("\u{30a}\u{200d}.de", "is no name by IDNA's rules", "write it as xn--…"),
        ("a.123", "ends in a number, as addresses do", number),
        ("*.10", "ends in a number, as addresses do", number),
        ("0x7f000001", "ends in a number, as addresses do", number),
        ("a.0xff", "ends in a number, as addresses do", number),
        ("localhost", "is this host", local),
        ("*.LocalHost.", "is this host", local),
    ] {
        assert_eq!(about(text), (format!("bad name: {text} {why}"), mend.to_owned()));
    }
    for (text, why) in
        [("a".repeat(64), "has a label that is too long"), (["a"; 128].join("."), "is too long")]
    {
        let said = about(&text).0;
        assert!(said.starts_with("bad name: ") && said.ends_with(why), "{said}");
    }
    valid(&with_egress(&format!("  rules:\n    - allow: {}\n", ["a"; 127].join("."))));
}

#[test]
fn names_that_clash_or_never_decide() {
    says(
        &with_egress(
            "  rules:
    - allow: [a.test, A.TEST.]
    - deny: a.test
      ports: 443
      protocol: udp
    - allow: '*.a.test'
    - deny: '*.a.test'
      ports: 443
      protocol: tcp
    - allow: [b.test, c.test]
      ports: [80, 81]
    - deny: [b.test, c.test]
      ports: 80-81
      id: late
    - allow: [a.test, 10.0.0.1]
      ports: 1
",
        ),
        r"
p.yaml:5:23: repeated rule: allow a.test, port 443, tcp and udp is already on line 5
    5 |     - allow: [a.test, A.TEST.]
      |                       ^
      = remove one of the two
p.yaml:6:13: contradiction: deny a.test, port 443, udp, but line 5 says allow
    6 |     - deny: a.test
      |             ^
      = keep one, or narrow one to fewer addresses, names or ports
p.yaml:10:13: contradiction: deny *.a.test, port 443, tcp, but line 9 says allow
   10 |     - deny: '*.a.test'
      |             ^
      = keep one, or narrow one to fewer addresses, names or ports
p.yaml:15:7: unreachable rule: late never decides, more specific rules for the same networks and names cover all of it
   15 |     - deny: [b.test, c.test]
      |       ^
      = remove it, or give it a network, a name or ports that the others leave open
",
    );
    // A name of the rule is enough to live on, and so is a network.
    valid(&with_egress(
        "  rules:
    - allow: [b.test, 10.0.0.1]
      ports: [80, 81]
    - deny: [b.test, 10.0.0.1, c.test]
      ports: 80-81
    - deny: [b.test, 10.0.0.1, 10.0.0.2]
      ports: 80-82
",
    ));
}

#[test]
fn lookups_that_are_none() {
    says(
        &with_egress(
            "  dns:
    resolvers: ['10.0.0.53:53', 10.0.0.0/8, dns.google, 0.0.0.0, '::1', system, '::1', system]
    inside: [10.0.0.1/8, a.test, 10.0.0.0/8, '::ffff:10.0.0.0/104']
    floor: 300
    cap: 8d
    inisde: x
",
        ),
        r"
p.yaml:5:17: bad resolver: 10.0.0.53:53 has a port in it
    5 |     resolvers: ['10.0.0.53:53', 10.0.0.0/8, dns.google, 0.0.0.0, '::1', system, '::1', system]
      |                 ^
      = write 10.0.0.53: resolvers are asked on port 53
p.yaml:5:33: bad resolver: 10.0.0.0/8 is a network
    5 |     resolvers: ['10.0.0.53:53', 10.0.0.0/8, dns.google, 0.0.0.0, '::1', system, '::1', system]
      |                                 ^
      = write the address of each resolver
p.yaml:5:45: bad resolver: dns.google is no address
    5 |     resolvers: ['10.0.0.53:53', 10.0.0.0/8, dns.google, 0.0.0.0, '::1', system, '::1', system]
      |                                             ^
      = write an address such as 10.20.0.53, or system for the host's resolvers
p.yaml:5:57: bad resolver: 0.0.0.0 is no destination
    5 |     resolvers: ['10.0.0.53:53', 10.0.0.0/8, dns.google, 0.0.0.0, '::1', system, '::1', system]
      |                                                         ^
      = write 127.0.0.1
p.yaml:5:81: repeated rule: resolver ::1 is already on line 5
    5 |     resolvers: ['10.0.0.53:53', 10.0.0.0/8, dns.google, 0.0.0.0, '::1', system, '::1', system]
      |                                                                                 ^
      = remove one of the two
p.yaml:5:88: repeated rule: resolver system is already on line 5
    5 |     resolvers: ['10.0.0.53:53', 10.0.0.0/8, dns.google, 0.0.0.0, '::1', system, '::1', system]
      |                                                                                        ^
      = remove one of the two
p.yaml:6:14: bad CIDR: 10.0.0.1/8 has bits set beyond its prefix
    6 |     inside: [10.0.0.1/8, a.test, 10.0.0.0/8, '::ffff:10.0.0.0/104']
      |              ^
      = write 10.0.0.0/8 for the network, or 10.0.0.1 for the one address
p.yaml:6:26: bad CIDR: a.test is neither an address nor a network
    6 |     inside: [10.0.0.1/8, a.test, 10.0.0.0/8, '::ffff:10.0.0.0/104']
      |                          ^
      = write an address such as 10.20.0.1, or a network such as 10.20.0.0/16
p.yaml:6:46: repeated rule: network 10.0.0.0/8 is already on line 6
    6 |     inside: [10.0.0.1/8, a.test, 10.0.0.0/8, '::ffff:10.0.0.0/104']
      |                                              ^
      = remove one of the two
p.yaml:7:12: bad duration: floor is 300, which has no unit
    7 |     floor: 300
      |            ^
      = write 300s for seconds; or m, h or d
p.yaml:8:10: bad duration: cap is 8d, which is too long
    8 |     cap: 8d
      |          ^
      = write 7d or less
p.yaml:9:5: unknown key: inisde in dns
    9 |     inisde: x
      |     ^
      = did you mean inside?
",
    );
}

#[test]
fn a_floor_above_the_cap() {
    let first = |text: &str| {
        let said = messages(&with_egress(&format!("  dns: {{ {text} }}\n")));
        let mut lines = said.lines().map(str::to_owned);
        (lines.next().unwrap(), lines.next_back().unwrap())
    };
    let (said, mend) = first("floor: 2h, cap: 1h");
    assert!(said.ends_with("floor is 2h, which is longer than the cap"), "{said}");
    assert!(mend.ends_with("= write 1h or less"), "{mend}");
    let (said, mend) = first("floor: 2h");
    assert!(said.ends_with("is longer than the cap, 1h where none is given"), "{said}");
    assert!(mend.ends_with("= write cap: 2h too, or more"), "{mend}");
    let (said, mend) = first("cap: 60s");
    assert!(said.ends_with("cap is 1m, which is shorter than the floor, 5m where none is given"));
    assert!(mend.ends_with("= write floor: 1m too, or less"), "{mend}");
}

#[test]
fn more_than_there_is_room_for() {
    let list =
        |count: u8| (1..=count).map(|at| format!("10.0.0.{at}")).collect::<Vec<_>>().join(", ");
    valid(&with_egress(&format!("  dns: {{ resolvers: [{}, system] }}\n", list(8))));
    valid(&with_egress(&format!("  dns: {{ inside: [{}] }}\n", list(8))));
    let said = messages(&with_egress(&format!("  dns: {{ resolvers: [{}] }}\n", list(9))));
    assert!(said.contains("too many resolvers: 9, of at most 8"), "{said}");
    let said = messages(&with_egress(&format!("  dns: {{ inside: [{}] }}\n", list(9))));
    assert!(said.contains("too many networks in inside: 9, of at most 8"), "{said}");
}

#[test]
fn as_many_port_rules_as_fit() {
    let crowded = |own: usize| {
        let list = |from: usize, count: usize| {
            (from..from + count).map(|at| (at * 2 + 1).to_string()).collect::<Vec<_>>().join(", ")
        };
        with_egress(&format!(
            "  rules:
    - allow: '*.test'
      ports: [{}]
    - deny: a.test
      ports: [{}]
      id: narrow
",
            list(0, 34),
            list(1000, own)
        ))
    };
    let policy = compiled(&crowded(MAX_PORT_RULES - 34));
    assert_eq!(policy.decide_name("a.test", 67, Protocols::TCP).verdict, Allow);
    assert_eq!(policy.decide_name("a.test", 2001, Protocols::TCP).rule, 2);
    let said = messages(&crowded(MAX_PORT_RULES - 33));
    assert!(said.contains("more than 68 apply to a.test (rule narrow)"), "{said}");
    assert!(said.ends_with("rules of the wildcards that cover it count too"), "{said}");
}

/// So long may 100,000 names take in a debug build on a machine with other things to do.
/// A linear search for each would take hours.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_hundred_thousand_names() {
    let started = Instant::now();
    let name = |at: usize| format!("h{at}.d{}.z{}.test", at % 1000, at % 10);
    let mut apart = with_egress("  rules:\n    - deny: '*.z3.test'\n      ports: 80\n");
    let mut together = with_egress("  rules:\n    - allow:\n");
    for at in 0..MAX_RULES - 1 {
        writeln!(apart, "    - allow: {}", name(at)).unwrap();
        writeln!(together, "      - {}", name(at)).unwrap();
    }
    for (text, lists) in [(apart, MAX_RULES), (together, 1)] {
        let policy = compiled(&text);
        assert_eq!(policy.egress.len(), lists);
        for at in 0..MAX_RULES - 1 {
            assert_eq!(policy.decide_name(&name(at), 443, Protocols::TCP).verdict, Allow);
            assert_eq!(policy.ask(&format!("x.{}", name(at))).verdict, Deny);
        }
    }
    let taken = started.elapsed();
    assert!(taken < PATIENCE, "{taken:?}");
}
