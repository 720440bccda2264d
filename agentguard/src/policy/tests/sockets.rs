//! Rules for unix sockets and for ping, and rules that ask.

use agentguard_common::net::Protocols;
use agentguard_common::verdict::Verdict::{Allow, Ask, Deny};

use super::super::{RULE_LOOKUP, RULE_MANAGERS};
use super::{compiled, decide, says, valid, with_egress};

const RULES: &str = "  rules:
    - allow: ['unix:/run/db/**', 'unix:@x11*', 10.0.0.1]
      ports: 5432
    - deny: unix:/run/db/admin
    - allow: unix:/run/docker.sock
    - ask: [10.0.0.2, 'unix:/srv/ask', 'unix:/tmp/ssh-*']
    - { allow: 10.0.0.0/24, protocol: icmp }
";

#[test]
fn sockets_are_decided_by_the_longest_name() {
    let policy = compiled(&with_egress(RULES));
    for (name, verdict, rule) in [
        ("/run/db/a", Allow, 1),
        ("/var/run/db/a", Allow, 1),
        ("/run/db/admin", Deny, 2),
        ("/var/run/db/admin", Deny, 2),
        ("\0x11-1", Allow, 1),
        ("x11-1", Deny, 0),
        ("/run/docker.sock", Allow, 3),
        ("/run/containerd/containerd.sock", Deny, RULE_MANAGERS),
        ("/run/systemd/private", Deny, RULE_MANAGERS),
        ("/run/systemd/userdb/io.systemd.Machine", Allow, RULE_LOOKUP),
        ("/srv/ask", Ask, 4),
        ("/tmp/ssh-Xy12/agent.7", Ask, 4),
        ("/tmp/ssh", Deny, 0),
        ("/tmp/else", Deny, 0),
    ] {
        let ruling = policy.decide_socket(name.as_bytes()).unwrap();
        assert_eq!((ruling.verdict, ruling.rule), (verdict, rule), "{name}");
    }
    assert_eq!(policy.decide_socket(b""), None);
}

#[test]
fn managers_are_denied_where_everything_is_allowed() {
    let policy = compiled(&with_egress("  default: allow\n"));
    let verdict = |name: &str| policy.decide_socket(name.as_bytes()).unwrap().verdict;
    assert_eq!(verdict("/tmp/else"), Allow);
    for name in ["/run/docker.sock", "/run/user/1000/bus", "/var/run/dbus/system_bus_socket"] {
        assert_eq!(verdict(name), Deny, "{name}");
    }
}

#[test]
fn a_ping_is_decided_by_its_own_rules() {
    let policy = compiled(&with_egress(RULES));
    assert_eq!(decide(&policy, "10.0.0.9", 0, Protocols::ICMP).verdict, Allow);
    assert_eq!(decide(&policy, "10.0.0.9", 443, Protocols::TCP).verdict, Deny);
    assert_eq!(decide(&policy, "10.0.1.9", 0, Protocols::ICMP).verdict, Deny);
    assert_eq!(decide(&policy, "10.0.0.2", 443, Protocols::TCP).verdict, Ask);
    let open = compiled(&with_egress("  default: allow\n"));
    assert_eq!(decide(&open, "169.254.169.254", 0, Protocols::ICMP).verdict, Deny);
}

#[test]
fn what_is_out_of_place() {
    says(
        &with_egress(
            "  rules:
    - allow: unix:/run/a
      ports: 1
    - allow: 10.0.0.1
      protocol: icmp
      ports: [1, 2]
    - allow: 10.0.0.2
      protocol: [tcp, icmp]
    - allow: [unix:relative, 'unix:/a/../b', 'unix:/a/*', 'unix:@', 'unix:/a/**/b']
    - deny: unix:/run/b
    - allow: unix:/run/b
",
        ),
        r"
p.yaml:6:14: ports in a rule for unix sockets
    6 |       ports: 1
      |              ^
      = remove it
p.yaml:9:15: ports in a rule for icmp
    9 |       ports: [1, 2]
      |               ^
      = remove it: a ping has no port
p.yaml:11:18: tcp or udp in a rule for icmp, which has no ports,
   11 |       protocol: [tcp, icmp]
      |                  ^
      = write two rules, one of them for icmp
p.yaml:12:15: bad unix socket: unix:relative is no absolute path
   12 |     - allow: [unix:relative, 'unix:/a/../b', 'unix:/a/*', 'unix:@', 'unix:/a/**/b']
      |               ^
      = write unix:/the/whole/path, or unix:@name for an abstract name
p.yaml:12:30: bad unix socket: unix:/a/../b is no plain path
   12 |     - allow: [unix:relative, 'unix:/a/../b', 'unix:/a/*', 'unix:@', 'unix:/a/**/b']
      |                              ^
      = write the path without empty parts, dots and a slash at its end
p.yaml:12:46: bad unix socket: unix:/a/* is no plain path
   12 |     - allow: [unix:relative, 'unix:/a/../b', 'unix:/a/*', 'unix:@', 'unix:/a/**/b']
      |                                              ^
      = write the path without empty parts, dots and a slash at its end
p.yaml:12:59: bad unix socket: unix:@ is no name
   12 |     - allow: [unix:relative, 'unix:/a/../b', 'unix:/a/*', 'unix:@', 'unix:/a/**/b']
      |                                                           ^
      = write unix:@name
p.yaml:12:69: bad unix socket: unix:/a/**/b has a star where none can be
   12 |     - allow: [unix:relative, 'unix:/a/../b', 'unix:/a/*', 'unix:@', 'unix:/a/**/b']
      |                                                                     ^
      = write a whole name, /a/directory/**, /a/beginning* or @beginning*
p.yaml:14:14: contradiction: allow unix:/run/b, but line 13 says deny
   14 |     - allow: unix:/run/b
      |              ^
      = keep one of the two
",
    );
}

#[test]
fn names_come_back_as_they_were_written() {
    let policy = valid(&with_egress(RULES));
    let names: Vec<String> = policy
        .egress
        .rules
        .iter()
        .flat_map(|rule| rule.sockets.iter().map(|name| name.value.to_string()))
        .collect();
    assert_eq!(
        names,
        [
            "unix:/run/db/**",
            "unix:@x11*",
            "unix:/run/db/admin",
            "unix:/run/docker.sock",
            "unix:/srv/ask",
            "unix:/tmp/ssh-*"
        ]
    );
}
