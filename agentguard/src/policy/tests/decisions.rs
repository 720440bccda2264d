//! What policies decide: the meaning of the language, rule by rule.

use agentguard_common::net::Protocols;
use agentguard_common::verdict::{RULE_NONE, Reason, Ruling, Verdict};

use super::super::{RULE_METADATA, explain};
use super::{compiled, decide, valid, with_egress};

const TCP: Protocols = Protocols::TCP;
const UDP: Protocols = Protocols::UDP;

fn by_rule(verdict: Verdict, rule: u32) -> Ruling {
    Ruling { verdict, reason: Reason::Rule, rule }
}

fn by_default(verdict: Verdict) -> Ruling {
    Ruling { verdict, reason: Reason::Default, rule: RULE_NONE }
}

#[test]
fn an_empty_allowlist_allows_nothing() {
    for text in ["version: 1\nagent: a\n", &with_egress("  rules: []\n"), &with_egress("  {}\n")] {
        let compiled = compiled(text);
        for address in ["10.0.0.1", "127.0.0.1", "::1", "169.254.169.254", "0.0.0.0"] {
            assert_eq!(decide(&compiled, address, 443, TCP), by_default(Verdict::Deny));
        }
    }
}

#[test]
fn ports_that_are_not_given() {
    let compiled =
        compiled(&with_egress("  rules:\n    - allow: 10.0.0.0/8\n    - deny: 10.0.0.1\n"));
    assert_eq!(decide(&compiled, "10.0.0.2", 443, TCP), by_rule(Verdict::Allow, 1));
    assert_eq!(decide(&compiled, "10.0.0.2", 443, UDP), by_rule(Verdict::Allow, 1));
    assert_eq!(decide(&compiled, "10.0.0.2", 80, TCP), by_default(Verdict::Deny));
    for port in [0, 1, 443, 65535] {
        assert_eq!(decide(&compiled, "10.0.0.1", port, UDP), by_rule(Verdict::Deny, 2));
    }
}

#[test]
fn the_longest_prefix_that_covers_the_port_decides() {
    let compiled = compiled(&with_egress(
        "  rules:
    - deny: 0.0.0.0/0
    - allow: 10.0.0.0/8
      ports: any
    - deny: 10.1.0.0/16
      ports: [25, 1000-2000]
    - allow: 10.1.2.0/24
      ports: 25
      protocol: tcp
",
    ));
    assert_eq!(decide(&compiled, "11.0.0.1", 25, TCP), by_rule(Verdict::Deny, 1));
    assert_eq!(decide(&compiled, "10.1.2.3", 25, TCP), by_rule(Verdict::Allow, 4));
    assert_eq!(decide(&compiled, "10.1.2.3", 25, UDP), by_rule(Verdict::Deny, 3));
    assert_eq!(decide(&compiled, "10.1.2.3", 1500, TCP), by_rule(Verdict::Deny, 3));
    assert_eq!(decide(&compiled, "10.1.2.3", 80, TCP), by_rule(Verdict::Allow, 2));
    assert_eq!(decide(&compiled, "::ffff:10.1.2.3", 25, TCP), by_rule(Verdict::Allow, 4));
    assert_eq!(decide(&compiled, "2001:db8::1", 25, TCP), by_default(Verdict::Deny));
}

#[test]
fn at_one_prefix_fewer_ports_then_fewer_protocols_then_deny() {
    let compiled = compiled(&with_egress(
        "  rules:
    - deny: 10.0.0.1
      ports: any
    - allow: 10.0.0.1
      ports: 80-90
    - deny: 10.0.0.1
      ports: 85
    - allow: 10.0.0.1
      ports: 84-94
      protocol: udp
    - deny: 10.0.0.1
      ports: 83-93
    - deny: 10.0.0.1
      ports: 89-99
      protocol: udp
",
    ));
    assert_eq!(decide(&compiled, "10.0.0.1", 85, UDP), by_rule(Verdict::Deny, 3), "one port");
    assert_eq!(decide(&compiled, "10.0.0.1", 86, UDP), by_rule(Verdict::Allow, 4), "one protocol");
    assert_eq!(decide(&compiled, "10.0.0.1", 90, UDP), by_rule(Verdict::Deny, 6), "deny");
    assert_eq!(decide(&compiled, "10.0.0.1", 86, TCP), by_rule(Verdict::Deny, 5), "deny");
    assert_eq!(decide(&compiled, "10.0.0.1", 81, TCP), by_rule(Verdict::Allow, 2));
    assert_eq!(decide(&compiled, "10.0.0.1", 95, TCP), by_rule(Verdict::Deny, 1));
}

#[test]
fn ipv4_and_ipv6_do_not_mix() {
    let compiled = compiled(&with_egress("  rules:\n    - allow: ::/0\n      ports: any\n"));
    assert_eq!(decide(&compiled, "2001:db8::1", 1, TCP).verdict, Verdict::Allow);
    for address in ["10.0.0.1", "::ffff:10.0.0.1", "0.0.0.0"] {
        assert_eq!(decide(&compiled, address, 1, TCP).verdict, Verdict::Deny, "{address}");
    }
}

#[test]
fn any_is_decided_as_loopback() {
    let compiled = compiled(&with_egress(
        "  rules:\n    - deny: [127.0.0.0/8, ::1]\n    - allow: [0.0.0.0/0, ::/0]\n      ports: any\n",
    ));
    for address in ["0.0.0.0", "::", "127.0.0.1", "::1", "::ffff:0.0.0.0"] {
        assert_eq!(decide(&compiled, address, 80, TCP), by_rule(Verdict::Deny, 1), "{address}");
    }
}

const METADATA: [&str; 5] =
    ["169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "fd00:ec2::254"];

#[test]
fn metadata_is_denied_unless_named() {
    let open = compiled(&with_egress("  default: allow\n"));
    let wide = compiled(&with_egress(
        "  rules:\n    - allow: [0.0.0.0/0, ::/0]\n      ports: [any, 80]\n",
    ));
    for address in METADATA {
        for port in [80, 443, 53] {
            let denied = by_rule(Verdict::Deny, RULE_METADATA);
            assert_eq!(decide(&open, address, port, TCP), denied, "{address}");
            assert_eq!(decide(&wide, address, port, UDP), denied, "{address}");
        }
    }
    assert_eq!(decide(&open, "169.254.169.253", 80, TCP), by_default(Verdict::Allow));
    let named = compiled(&with_egress(
        "  rules:
    - allow: 169.254.0.0/16
      ports: any
    - allow: [169.254.169.254, \"::ffff:169.254.170.2\"]
      ports: 80
",
    ));
    assert_eq!(decide(&named, "169.254.169.254", 80, TCP), by_rule(Verdict::Allow, 2));
    assert_eq!(decide(&named, "169.254.170.2", 80, TCP), by_rule(Verdict::Allow, 2));
    assert_eq!(decide(&named, "169.254.169.254", 81, TCP), by_rule(Verdict::Allow, 1));
    assert_eq!(decide(&named, "100.100.100.200", 80, TCP), by_default(Verdict::Deny));
}

#[test]
fn a_denied_metadata_address_is_the_users_rule() {
    let compiled = compiled(&with_egress(
        "  default: allow\n  rules:\n    - deny: 169.254.169.254\n      ports: 80\n",
    ));
    assert_eq!(decide(&compiled, "169.254.169.254", 80, TCP), by_rule(Verdict::Deny, 1));
    let rest = decide(&compiled, "169.254.169.254", 81, TCP);
    assert_eq!(rest, by_rule(Verdict::Deny, RULE_METADATA));
}

#[test]
fn explained() {
    let policy = valid(
        "version: 1
agent: coder
description: For tests.
match:
  - exe: /usr/bin/claude
  - user: 1000
egress:
  default: allow
  rules:
    - allow: 169.254.169.254
    - deny: 10.0.0.0/8
      id: internal
    - allow: [10.1.0.0/16, fd00::/8]
      ports: [22, 8000-8010]
      protocol: tcp
",
    );
    assert_eq!(
        explain(&policy),
        "\
Agent coder
  For tests.
  Enforced: what is denied is refused.

Sessions
  Whatever `agentguard run --agent coder` starts.
  Processes that run /usr/bin/claude.
  Processes of the user with number 1000.

Network
  egress.1: allow 169.254.169.254 on port 443 (no ports are given), TCP and UDP.
  internal: deny 10.0.0.0/8 on every port (no ports are given), TCP and UDP.
  egress.3: allow 10.1.0.0/16, fd00::/8 on port 22, ports 8000-8010, TCP.
  builtin.metadata: deny 169.254.170.2, 100.100.100.200, fd00:ec2::254, 168.63.129.16 (cloud \
metadata) on every port.
  Where no rule matches: allow.
  Where several match: the longest prefix decides, then the fewest ports, then the fewest \
protocols; then deny beats ask beats allow.
  builtin.managers: deny the unix sockets of container and service managers, of D-Bus and of
    login sessions, unless a rule names the very same socket.
  builtin.lookup: allow the unix sockets that look up users.
  What the session listens on itself: allow (unix sockets, and TCP on loopback).
  Anything that is neither TCP, UDP, ping nor a unix socket: deny.

Files
  Nothing is said of them: the host's own permissions hold.

Programs
  Nothing is said of them: the host's own permissions hold.

Host and other processes
  Processes outside of the session, the kernel, its settings and devices, cgroups: deny.
  agentguard's own files: deny, whatever is written here.
"
    );
    let closed = explain(&valid("version: 1\nagent: a\nmode: observe\n"));
    assert!(closed.contains("  Observed: "), "{closed}");
    assert!(closed.contains("Network\n  No host may be reached.\n"), "{closed}");
}
