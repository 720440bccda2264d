//! What an agent may reach.

use agentguard_tests::{Outcome, guard::Guard, in_vm, net};

use crate::{CODER, denied, expect, resources};

#[test]
fn allowed_connections_go_through() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let outside = net::outside()?;
    let guard = Guard::start(&[CODER])?;
    let (tcp, udp) = outside.received();
    for (words, expected) in [
        ("connect 10.77.0.2:443", "connect 10.77.0.2:443 ok"),
        ("connect [fd77::2]:443", "connect [fd77::2]:443 ok"),
        ("connect [::ffff:10.77.0.2]:443", "connect [::ffff:10.77.0.2]:443 ok"),
        ("io-uring 10.77.0.2:443", "io-uring 10.77.0.2:443 ok"),
        ("reconnect 10.77.0.2:443", "reconnect 10.77.0.2:443 ok"),
        ("sendto 10.77.0.2:443", "sendto 10.77.0.2:443 ok"),
        ("unspec 10.77.0.2:443", "unspec 10.77.0.2:443 ok"),
        ("sendmmsg 10.77.0.2:443", "sendmmsg 10.77.0.2:443 ok"),
    ] {
        expect(&guard, words, &[expected]);
    }
    let decisions = guard.decisions()?;
    assert_eq!(denied(&decisions).len(), 0, "{decisions:#?}");
    // The messages of a sendmmsg that go to one address are decided once
    // (`____sys_sendmsg`). io_uring asks again when a connection is under way.
    let of = |action: &str| decisions.iter().filter(|event| event["action"] == action).count();
    assert_eq!(of("send"), 3, "{decisions:#?}");
    assert!((5..=6).contains(&of("connect")), "{decisions:#?}");
    assert!(decisions.iter().all(|event| event["rule"] == "api" && event["outcome"] == "allowed"));
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(outside.received(), (tcp + 5, udp + 5));
    Ok(())
}

#[test]
fn everything_else_is_refused_and_recorded_once() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let outside = net::outside()?;
    let guard = Guard::start(&[CODER])?;
    let before = outside.received();
    let refused = [
        ("connect 10.77.0.3:443", "tcp://10.77.0.3:443"),
        ("connect 10.77.0.2:80", "tcp://10.77.0.2:80"),
        ("connect [fd77::3]:443", "tcp://[fd77::3]:443"),
        ("connect [::ffff:10.77.0.3]:443", "tcp://10.77.0.3:443"),
        ("udp-connect 10.77.0.3:9999", "udp://10.77.0.3:9999"),
        ("sendto 10.77.0.3:9999", "udp://10.77.0.3:9999"),
        ("sendto [fd77::3]:9999", "udp://[fd77::3]:9999"),
        ("sendto [::ffff:10.77.0.3]:9999", "udp://10.77.0.3:9999"),
        ("unspec 10.77.0.3:9999", "udp://10.77.0.3:9999"),
        ("sendmmsg 10.77.0.3:9999", "udp://10.77.0.3:9999"),
        ("fastopen 10.77.0.3:443", "tcp://10.77.0.3:443"),
        ("fastopen [fd77::3]:443", "tcp://[fd77::3]:443"),
        ("io-uring 10.77.0.3:443", "tcp://10.77.0.3:443"),
        ("reconnect 10.77.0.3:443", "tcp://10.77.0.3:443"),
        ("ping 10.77.0.2", "icmp://10.77.0.2"),
        ("raw 10.77.0.2", "socket:inet/raw/1"),
        ("connect 127.0.0.1:443", "tcp://127.0.0.1:443"),
        ("connect 0.0.0.0:443", "tcp://0.0.0.0:443"),
    ];
    for (words, _) in refused {
        expect(&guard, words, &[&format!("{words} EPERM")]);
    }
    let decisions = guard.decisions()?;
    let denied = denied(&decisions);
    assert_eq!(decisions.len(), denied.len(), "{decisions:#?}");
    let expected: Vec<&str> = refused.iter().map(|(_, resource)| *resource).collect();
    assert_eq!(resources(&denied), expected);
    assert!(
        denied.iter().all(|event| event["agent_role"] == "coder" && event["confidence"] == 1.0)
    );
    assert!(denied.iter().all(|event| event["process"]["comm"] == "attempt"));
    assert!(denied.iter().all(|event| {
        event["process"]["exe"].as_str().is_some_and(|exe| exe.ends_with("/attempt"))
    }));
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(outside.received(), before, "nothing may arrive");
    Ok(())
}

#[test]
fn the_most_specific_rule_wins() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    net::outside()?;
    let guard = Guard::start(&["\
version: 1
agent: coder
egress:
  rules:
    - { allow: 10.77.0.0/24, ports: any, id: net }
    - { deny: 10.77.0.3, id: host }
    - { allow: 10.77.0.3, ports: [80], id: port }
    - { deny: 10.77.0.2, ports: [443], protocol: udp, id: udp }
"])?;
    expect(&guard, "connect 10.77.0.2:443", &["connect 10.77.0.2:443 ok"]);
    expect(&guard, "sendto 10.77.0.2:443", &["sendto 10.77.0.2:443 EPERM"]);
    expect(&guard, "connect 10.77.0.3:443", &["connect 10.77.0.3:443 EPERM"]);
    expect(&guard, "connect 10.77.0.3:80", &["connect 10.77.0.3:80 ok"]);
    let decisions = guard.decisions()?;
    let rules: Vec<_> = decisions.iter().filter_map(|event| event["rule"].as_str()).collect();
    // Denials travel apart from the rest, so only each kind is in order.
    assert_eq!(
        rules.iter().filter(|rule| ["net", "port"].contains(rule)).collect::<Vec<_>>(),
        [&"net", &"port"]
    );
    assert_eq!(
        rules.iter().filter(|rule| ["udp", "host"].contains(rule)).collect::<Vec<_>>(),
        [&"udp", &"host"]
    );
    Ok(())
}

#[test]
fn an_observed_policy_refuses_nothing_and_says_what_it_would() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    net::outside()?;
    let guard = Guard::start(&["version: 1\nagent: coder\nmode: observe\negress: {}\n"])?;
    expect(&guard, "connect 10.77.0.3:443", &["connect 10.77.0.3:443 ok"]);
    let decisions = guard.decisions()?;
    assert_eq!(decisions.len(), 1);
    assert_eq!(decisions[0]["outcome"], "would-deny");
    assert_eq!(decisions[0]["verdict"], "deny");
    assert_eq!(decisions[0]["reason"], "default");
    Ok(())
}

#[test]
fn two_agents_have_each_their_own_policy() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    net::outside()?;
    let other = "version: 1\nagent: other\negress:\n  rules:\n    - allow: 10.77.0.3\n";
    let guard = Guard::start(&[CODER, other])?;
    assert_eq!(guard.attempt("other", "connect 10.77.0.3:443")?, ["connect 10.77.0.3:443 ok"]);
    assert_eq!(guard.attempt("other", "connect 10.77.0.2:443")?, ["connect 10.77.0.2:443 EPERM"]);
    expect(&guard, "connect 10.77.0.2:443", &["connect 10.77.0.2:443 ok"]);
    expect(&guard, "connect 10.77.0.3:443", &["connect 10.77.0.3:443 EPERM"]);
    Ok(())
}

#[test]
fn no_denial_is_lost_in_a_flood() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    net::outside()?;
    let guard = Guard::start(&[CODER])?;
    let script = "for round in $(seq 60); do for port in $(seq 1 50); do : < /dev/tcp/10.77.0.3/$port; done; done 2>/dev/null";
    guard.run("coder", &["bash", "-c", script]).status()?;
    let decisions = guard.decisions()?;
    assert_eq!(denied(&decisions).len(), 3_000);
    Ok(())
}
