//! What is said about rules and matches.

use super::{messages, says, valid, with_egress};

#[test]
fn bits_beyond_the_prefix() {
    says(
        "version: 1
agent: coder
egress:
  default: deny
  rules:
    - allow: 10.0.0.0/8
    - allow: 10.1.2.3/16
    - allow: [10.20.0.0/16, 2001:db8::1/32]
",
        r"
p.yaml:7:14: bad CIDR: 10.1.2.3/16 has bits set beyond its prefix
    7 |     - allow: 10.1.2.3/16
      |              ^
      = write 10.1.0.0/16 for the network, or 10.1.2.3 for the one address
p.yaml:8:29: bad CIDR: 2001:db8::1/32 has bits set beyond its prefix
    8 |     - allow: [10.20.0.0/16, 2001:db8::1/32]
      |                             ^
      = write 2001:db8::/32 for the network, or 2001:db8::1 for the one address
",
    );
}

/// What is said about a network, without the path and the excerpt.
fn about_network(text: &str) -> (String, String) {
    let said = messages(&with_egress(&format!("  rules:\n    - allow: \"{text}\"\n")));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 4, "{said}");
    let problem = lines[0].strip_prefix("p.yaml:5:14: ").unwrap();
    (problem.to_owned(), lines[3].strip_prefix("      = ").unwrap().to_owned())
}

#[test]
fn texts_that_are_no_networks() {
    let address = "write an address such as 10.20.0.1, or a network such as 10.20.0.0/16";
    let v4 = "write a length from 0 to 32 for IPv4";
    let v6 = "write a length from 0 to 128 for IPv6";
    let mapped = "write the IPv4 network itself (0.0.0.0/0 is all of IPv4), and IPv6 apart";
    let all = "write 0.0.0.0/0 for all of IPv4, and ::/0 for all of IPv6";
    let loopback = "is no destination: connecting to it reaches this host's loopback";
    for (text, why, mend) in [
        ("10.0.0.1/33", "has a bad prefix length", v4),
        ("10.0.0.1/", "has a bad prefix length", v4),
        ("10.0.0.1/08", "has a bad prefix length", v4),
        ("10.0.0.1/+8", "has a bad prefix length", v4),
        ("10.0.0.0/8/8", "has a bad prefix length", v4),
        ("fd00::/129", "has a bad prefix length", v6),
        (
            "10.0.0.0/255.255.0.0",
            "has a network mask where the length of a prefix belongs",
            "write 10.0.0.0/16",
        ),
        ("10.0.0.1:443", "has a port in it", "write the address 10.0.0.1 here, and ports: [443]"),
        ("[::1]:443", "has a port in it", "write the address ::1 here, and ports: [443]"),
        ("[::1]", "has brackets around it", "write ::1"),
        (
            "fe80::1%eth0",
            "has a zone in it",
            "leave out the % and what follows: rules hold on every interface",
        ),
        ("any", "is neither an address nor a network", all),
        ("10.0.0.1-10.0.0.9", "is a range of addresses", "write the networks that make it up"),
        ("10.0.0", "is neither an address nor a network", address),
        ("300.0.0.1", "is neither an address nor a network", address),
        ("010.0.0.1", "is neither an address nor a network", address),
        ("2001:db8::1::2", "is neither an address nor a network", address),
        ("::ffff:0:0/90", "is an IPv4-mapped prefix that reaches beyond IPv4", mapped),
        ("::ffff:10.0.0.0/8", "is an IPv4-mapped prefix that reaches beyond IPv4", mapped),
        ("0.0.0.0", loopback, "write 127.0.0.1"),
        ("0.0.0.0/32", loopback, "write 127.0.0.1"),
        ("::", loopback, "write ::1"),
        ("::/128", loopback, "write ::1"),
        ("::ffff:0.0.0.0", loopback, "write 127.0.0.1"),
    ] {
        assert_eq!(about_network(text), (format!("bad CIDR: {text} {why}"), mend.to_owned()));
    }
}

#[test]
fn verdicts_are_allow_and_deny() {
    says(
        &with_egress(
            "  default: ask
  tls: hard
  rules:
    - audit: 10.0.0.1
    - allow: 10.0.0.1
      ask: 10.0.0.2
    - ports: 80
    - 10.0.0.1
    - allow: 10.0.0.9
      protocol: sctp
",
        ),
        r"
p.yaml:4:12: not supported yet: default: ask
    4 |   default: ask
      |            ^
      = write deny or allow
p.yaml:5:8: bad value: tls is hard
    5 |   tls: hard
      |        ^
      = write off, report or strict
p.yaml:7:7: not supported yet: the key audit
    7 |     - audit: 10.0.0.1
      |       ^
      = remove it: a policy that cannot be enforced is not loaded
p.yaml:8:7: two verdicts in one rule
    8 |     - allow: 10.0.0.1
      |       ^
      = write two rules, one for each
p.yaml:10:7: missing: allow, ask or deny in the rule
   10 |     - ports: 80
      |       ^
      = say which addresses it allows or denies
p.yaml:11:7: wrong type: rules takes a map of keys and values, not text
   11 |     - 10.0.0.1
      |       ^
      = write a map of keys and values
p.yaml:13:17: bad value: protocol is sctp
   13 |       protocol: sctp
      |                 ^
      = write tcp, udp or icmp (for ping); left out, it is tcp and udp
",
    );
}

#[test]
fn ports_that_are_none() {
    let number = "write a number from 1 to 65535, a range such as 8000-8010, or any";
    for (text, why, mend) in [
        ("0", "has port 0 in it", "ports start at 1; write any for every port"),
        ("0-10", "has port 0 in it", "ports start at 1; write any for every port"),
        ("65536", "is beyond the last port", "ports end at 65535"),
        ("99999999999999999999", "is beyond the last port", "ports end at 65535"),
        ("90-80", "runs backwards", "write 80-90"),
        ("http", "is no port", number),
        ("-1", "is no port", number),
        ("1-2-3", "is no port", number),
        ("'*'", "is no port", number),
        ("+80", "is no port", number),
        ("0x50", "is no port", number),
    ] {
        says(
            &with_egress(&format!("  rules:\n    - deny: 10.0.0.1\n      ports: [80, {text}]\n")),
            &format!(
                "p.yaml:6:19: bad port: {shown} {why}
    6 |       ports: [80, {text}]
      |                   ^
      = {mend}",
                shown = text.trim_matches('\''),
            ),
        );
    }
}

#[test]
fn lists_without_items() {
    says(
        &with_egress(
            "  rules:
    - allow: []
    - allow: 10.0.0.1
      ports: []
      protocol: []
    - deny:
",
        ),
        r"
p.yaml:5:14: lists nothing: allow is empty
    5 |     - allow: []
      |              ^
      = give allow a value, or remove it
p.yaml:7:14: lists nothing: ports is empty
    7 |       ports: []
      |              ^
      = give ports a value, or remove it
p.yaml:8:17: lists nothing: protocol is empty
    8 |       protocol: []
      |                 ^
      = give protocol a value, or remove it
p.yaml:9:7: lists nothing: deny is empty
    9 |     - deny:
      |       ^
      = give deny a value, or remove it
",
    );
    let policy = valid(&with_egress("  rules: []\n"));
    assert!(policy.egress.rules.is_empty());
}

#[test]
fn ids_that_are_none_or_taken() {
    says(
        &with_egress(
            "  rules:
    - allow: 10.0.0.1
      id: x
    - allow: 10.0.0.2
      id: x
    - allow: 10.0.0.3
      id: egress.4
    - allow: 10.0.0.4
    - allow: 10.0.0.5
      id: Bad Id
    - allow: 10.0.0.6
      id: builtin.metadata
",
        ),
        r"
p.yaml:7:7: duplicate id: x is the rule on line 5
    7 |     - allow: 10.0.0.2
      |       ^
      = give one of the two another id
p.yaml:11:7: duplicate id: egress.4 is the rule on line 9
   11 |     - allow: 10.0.0.4
      |       ^
      = give one of the two another id
p.yaml:13:11: bad id: Bad Id
   13 |       id: Bad Id
      |           ^
      = write 1 to 63 of a-z, 0-9, dot, _ and -, a letter or digit first
p.yaml:15:11: bad id: builtin.metadata
   15 |       id: builtin.metadata
      |           ^
      = choose another: ids that begin with builtin. are taken
",
    );
}

#[test]
fn rules_that_repeat_or_contradict_others() {
    says(
        &with_egress(
            "  rules:
    - allow: 10.0.0.4
    - allow: 10.0.0.4
      ports: 443
    - deny: 10.0.0.4
      ports: 443
      protocol: tcp
    - deny: 10.0.0.5
      ports: [80, 80]
    - deny: [10.0.0.6, 10.0.0.6]
    - allow: ::ffff:10.0.0.0/104
    - allow: 10.0.0.0/8
",
        ),
        r"
p.yaml:6:14: repeated rule: allow 10.0.0.4, port 443, tcp and udp is already on line 5
    6 |     - allow: 10.0.0.4
      |              ^
      = remove one of the two
p.yaml:8:13: contradiction: deny 10.0.0.4, port 443, tcp, but line 5 says allow
    8 |     - deny: 10.0.0.4
      |             ^
      = keep one, or narrow one to fewer addresses, names or ports
p.yaml:12:19: repeated rule: deny 10.0.0.5, port 80, tcp and udp is already on line 12
   12 |       ports: [80, 80]
      |                   ^
      = remove one of the two
p.yaml:13:24: repeated rule: deny 10.0.0.6, any port, tcp and udp is already on line 13
   13 |     - deny: [10.0.0.6, 10.0.0.6]
      |                        ^
      = remove one of the two
p.yaml:15:14: repeated rule: allow 10.0.0.0/8, port 443, tcp and udp is already on line 14
   15 |     - allow: 10.0.0.0/8
      |              ^
      = remove one of the two
",
    );
}

#[test]
fn rules_that_never_decide() {
    says(
        &with_egress(
            "  rules:
    - allow: [10.0.0.6, 10.0.0.7]
      ports: [80, 81]
    - deny: [10.0.0.6, 10.0.0.7]
      ports: 80-81
      id: late
",
        ),
        r"
p.yaml:7:7: unreachable rule: late never decides, more specific rules for the same networks and names cover all of it
    7 |     - deny: [10.0.0.6, 10.0.0.7]
      |       ^
      = remove it, or give it a network, a name or ports that the others leave open
",
    );
    // One network of the rule, or one protocol, is enough to live on.
    valid(&with_egress(
        "  rules:
    - allow: 10.0.0.6
      ports: [80, 81]
    - deny: [10.0.0.6, 10.0.0.7]
      ports: 80-81
    - allow: 10.0.0.8
      ports: [80, 81]
      protocol: tcp
    - deny: 10.0.0.8
      ports: 80-81
",
    ));
}

#[test]
fn matches_that_recognise_nothing() {
    says(
        "version: 1
agent: a
match:
  - exe: bin/claude
  - exe: /usr/../bin/x
  - exe: /usr/bin/*
  - user: 4294967295
  - user: a b
  - cgroup: system.slice
  - unit: foo
  - exe: /bin/a
    user: bob
  - {}
  - /usr/bin/x
  - user: 0
  - user: '0'
",
        r"
p.yaml:4:10: bad match: bin/claude is not an absolute path
    4 |   - exe: bin/claude
      |          ^
      = write it from the root, with / first
p.yaml:5:10: bad match: /usr/../bin/x has an empty part, . or .. in it
    5 |   - exe: /usr/../bin/x
      |          ^
      = write the path without detours
p.yaml:6:10: bad match: /usr/bin/* has a pattern in it
    6 |   - exe: /usr/bin/*
      |          ^
      = name each program by its own path
p.yaml:7:11: bad match: 4294967295 is no user
    7 |   - user: 4294967295
      |           ^
      = write a user's name or number
p.yaml:8:11: bad match: a b is no user
    8 |   - user: a b
      |           ^
      = write a user's name or number
p.yaml:9:13: bad match: system.slice is not an absolute path
    9 |   - cgroup: system.slice
      |             ^
      = write it from the root, with / first
p.yaml:10:11: bad match: foo is no unit that has processes
   10 |   - unit: foo
      |           ^
      = name a .service, a .scope or a .slice
p.yaml:11:5: two keys in one match
   11 |   - exe: /bin/a
      |     ^
      = write each on its own line, after its own dash: one of them is enough
p.yaml:13:5: missing: exe, user, cgroup or unit in the match
   13 |   - {}
      |     ^
      = say how to recognise the process
p.yaml:14:5: wrong type: match takes a map of keys and values, not text
   14 |   - /usr/bin/x
      |     ^
      = write a map of keys and values
p.yaml:16:5: repeated rule: this match is already on line 15
   16 |   - user: '0'
      |     ^
      = remove one of the two
",
    );
}
