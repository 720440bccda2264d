//! What an agent may reach by name.

use std::process::Command;
use std::time::{Duration, Instant};

use agentguard_tests::guard::{Guard, Waiting, attempt_words};
use agentguard_tests::resolver::{self, Dnsmasq, STRANGE};
use agentguard_tests::{Outcome, in_vm, net};
use serde_json::Value;

use crate::{denied, expect, resources};

/// Whose names may have the addresses of the tests' network.
const NAMED: &str = "\
version: 1
agent: named
egress:
  dns: { inside: [10.77.0.0/24, 'fd77::/64'] }
  rules:
    - allow: [api.test, alias.test]
      id: api
    - allow: '*.wild.test'
      ports: [443, 80]
      id: wild
    - deny: bad.wild.test
      id: bad
";

/// Half of the time that resolver libraries are told to wait for an answer.
const AT_ONCE: Duration = Duration::from_secs(15);

fn attempt(guard: &Guard, words: &str) -> Vec<String> {
    guard.attempt("named", words).unwrap_or_else(|error| vec![error.to_string()])
}

#[test]
fn allowed_names_are_resolved_and_reached() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let outside = net::outside()?;
    let server = Dnsmasq::start()?;
    let guard = Guard::start(&[NAMED])?;
    let before = outside.received().0;
    let words = "connect 10.77.0.2:443 reach api.test:443 connect 10.77.0.2:443 \
                 connect 10.77.0.2:80 connect [fd77::2]:443 reach API.Test:443 \
                 reach x.y.wild.test:80 connect 10.77.0.3:9999 reach alias.test:443";
    assert_eq!(
        attempt(&guard, words),
        [
            "connect 10.77.0.2:443 EPERM",
            "reach api.test:443 ok",
            "connect 10.77.0.2:443 ok",
            "connect 10.77.0.2:80 EPERM",
            "connect [fd77::2]:443 ok",
            "reach API.Test:443 ok",
            "reach x.y.wild.test:80 ok",
            "connect 10.77.0.3:9999 EPERM",
            "reach alias.test:443 ok",
        ]
    );
    let decisions = guard.decisions()?;
    assert_eq!(
        resources(&denied(&decisions)),
        ["tcp://10.77.0.2:443", "tcp://10.77.0.2:80", "tcp://10.77.0.3:9999"]
    );
    let reached: Vec<_> = decisions
        .iter()
        .filter(|event| event["action"] == "connect" && event["reason"] == "name")
        .filter(|event| event["destination"]["port"] != 0)
        .map(|event| (&event["destination"]["name"], &event["rule"]))
        .collect();
    assert!(reached.contains(&(&Value::from("api.test"), &Value::from("api"))), "{reached:?}");
    let wild = (&Value::from("x.y.wild.test"), &Value::from("wild"));
    assert!(reached.contains(&wild), "{reached:?}");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(outside.received().0, before + 6);
    assert!(server.asked("api.test")? >= 2);
    Ok(())
}

#[test]
fn other_names_are_refused_at_once_and_nobody_hears_of_them() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let server = Dnsmasq::start()?;
    let guard = Guard::start(&[NAMED])?;
    let names =
        ["secret.evil.test", "wild.test", "bad.wild.test", "xapi.test", "api.test.evil.test"];
    for name in names {
        let start = Instant::now();
        let printed = attempt(&guard, &format!("resolve {name}"));
        assert!(printed[0].starts_with(&format!("resolve {name} error")), "{printed:?}");
        assert!(start.elapsed() < AT_ONCE, "{name}: {:?}", start.elapsed());
        assert_eq!(server.asked(name)?, 0, "{name}");
    }
    let decisions = guard.decisions()?;
    let refused = denied(&decisions);
    for name in names {
        let about = format!("dns:{name}");
        let one = refused.iter().find(|event| event["resource"] == about.as_str());
        let one = one.unwrap_or_else(|| panic!("{name}: {refused:#?}"));
        assert_eq!(one["action"], "resolve");
        assert_eq!(one["process"]["comm"], "attempt");
        assert_eq!(one["dns"]["name"], name);
        let rule = if name == "bad.wild.test" { Value::from("bad") } else { Value::Null };
        assert_eq!(one["rule"], rule, "{name}");
    }
    Ok(())
}

#[test]
fn only_the_resolvers_are_asked_and_only_by_questions() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let server = Dnsmasq::start()?;
    let strange = resolver::strange()?;
    let guard = Guard::start(&[NAMED])?;
    let heard = strange.lock().map_or(0, |kept| kept.len());
    let lines = server.log()?.lines().count();
    let real = resolver::REAL[0];
    // A plain question for api.test: id, flags, counts; name, type, class.
    let api = "000701000001000000000000";
    let name = "0361706904746573740000010001";
    let opt = "00002904d000000000";
    let long = "78".repeat(200);
    for (words, expected) in [
        (format!("ask {STRANGE}:53/1/api.test"), "EPERM"),
        (format!("ask-tcp {STRANGE}:53/1/api.test"), "EPERM"),
        (format!("send-bytes {STRANGE}:5353/{api}{name}"), "EPERM"),
        ("send-bytes 224.0.0.251:5353/00".into(), "EPERM"),
        ("send-bytes 224.0.0.252:5355/00".into(), "EPERM"),
        // Something behind the question, instead of it, in the header, in place of a name.
        (format!("send-bytes {real}:53/{api}{name}736563726574"), "EPERM"),
        (format!("send-bytes {real}:53/736563726574"), "EPERM"),
        (format!("send-bytes {real}:53/00070f000001000000000000{name}"), "EPERM"),
        (format!("send-bytes {real}:53/000701000002000000000000{name}{name}"), "EPERM"),
        (format!("send-bytes {real}:53/000701000001000100000000{name}{name}"), "EPERM"),
        (format!("send-bytes {real}:53/{api}c00c00010001"), "EPERM"),
        (format!("send-bytes {real}:53/{api}08{}00010001", "6170692e74657374"), "EPERM"),
        (format!("send-bytes {real}:53/000701000001000000000001{name}{opt}00c8{long}"), "EPERM"),
        (format!("ask {real}:53/1/evil.test"), "EPERM"),
    ] {
        let printed = attempt(&guard, &words);
        assert!(printed.last().is_some_and(|line| line.ends_with(expected)), "{printed:?}");
    }
    // Over TCP, a segment that is dropped is not answered.
    for words in [
        format!("ask-tcp {real}:53/1/evil.test"),
        format!("ask-two {real}:53/1/api.test"),
        format!("send-bytes tcp-{real}:53/0003616263"),
    ] {
        let printed = attempt(&guard, &words);
        assert!(printed.last().is_some_and(|line| line.ends_with("silence")), "{printed:?}");
    }
    assert_eq!(strange.lock().map_or(0, |kept| kept.len()), heard);
    let log = server.log()?;
    let new: Vec<&str> = log.lines().skip(lines).collect();
    assert!(new.is_empty(), "{new:#?}");
    // And what is in order gets through, by all ways there are.
    for (words, expected) in [
        (format!("ask {real}:53/1/api.test"), "answer 10.77.0.2"),
        (format!("ask [{}]:53/28/api.test", resolver::REAL[1]), "answer fd77::2"),
        (format!("ask-tcp {real}:53/1/api.test"), "answer 10.77.0.2"),
        (format!("ask-tcp [{}]:53/1/api.test", resolver::REAL[1]), "answer 10.77.0.2"),
        (format!("ask-two {real}:53/1/a.wild.test"), "ask-two"),
    ] {
        let printed = attempt(&guard, &words);
        assert!(printed[0].starts_with(expected), "{printed:?}");
        assert!(printed.last().is_some_and(|line| line.ends_with(" ok")), "{printed:?}");
    }
    Ok(())
}

/// May ask the strange server for anything below `strange.test`.
const STRANGER: &str = "\
version: 1
agent: named
egress:
  dns: { resolvers: [10.77.0.53], inside: [10.77.0.0/24] }
  rules:
    - allow: '*.strange.test'
";

#[test]
fn an_answer_counts_for_the_question_that_was_asked() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    resolver::strange()?;
    let guard = Guard::start(&[STRANGER])?;
    let asked = |way: &str, kind: u16, label: &str| {
        let words = format!(
            "{way} {STRANGE}:53/{kind}/{label}.strange.test connect 10.77.0.2:443 connect 10.77.0.3:443"
        );
        attempt(&guard, &words)
    };
    for (label, kind, answered, learned) in [
        ("right", 1, true, true),
        ("upper", 1, true, true),
        ("id", 1, false, false),
        ("name", 1, false, false),
        ("kind", 1, false, false),
        ("broken", 1, false, false),
        ("twice", 1, true, true),
        ("many", 1, true, true),
        ("mixed", 1, true, true),
        ("service", 65, true, true),
        ("cut", 1, true, false),
    ] {
        let printed = asked("ask", kind, label);
        let ended = if answered { " ok" } else { " silence" };
        assert!(
            printed.iter().any(|line| line.ends_with(&format!("{label}.strange.test{ended}"))),
            "{label}: {printed:?}"
        );
        let second =
            if learned { "connect 10.77.0.2:443 ok" } else { "connect 10.77.0.2:443 EPERM" };
        assert!(printed.iter().any(|line| line == second), "{label}: {printed:?}");
        assert_eq!(printed.last().map(String::as_str), Some("connect 10.77.0.3:443 EPERM"));
    }
    let printed = asked("ask-tcp", 1, "cut");
    assert!(printed.iter().any(|line| line == "connect 10.77.0.2:443 ok"), "{printed:?}");
    let decisions = guard.decisions()?;
    let reasons = |reason: &str| {
        let of = |event: &&Value| event["action"] == "answer" && event["reason"] == reason;
        decisions.iter().filter(of).count()
    };
    assert_eq!(reasons("unasked"), 4, "{decisions:#?}");
    assert_eq!(reasons("malformed"), 1, "{decisions:#?}");
    assert_eq!(reasons("rebinding"), 1, "{decisions:#?}");
    Ok(())
}

#[test]
fn names_outside_do_not_lead_inside() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    resolver::strange()?;
    let guard = Guard::start(&[STRANGER])?;
    for (label, address) in
        [("inside", "192.168.7.7"), ("metadata", "169.254.169.254"), ("loopback", "127.0.0.1")]
    {
        let words = format!("ask {STRANGE}:53/1/{label}.strange.test connect {address}:443");
        let printed = attempt(&guard, &words);
        assert_eq!(printed[0], format!("answer {address}"));
        assert_eq!(printed.last(), Some(&format!("connect {address}:443 EPERM")));
    }
    let decisions = guard.decisions()?;
    let found = decisions.iter().filter(|event| event["reason"] == "rebinding");
    let found: Vec<_> = found.map(|event| event["dns"]["addresses"][0].as_str()).collect();
    assert_eq!(found, [Some("192.168.7.7"), Some("169.254.169.254"), Some("127.0.0.1")]);
    Ok(())
}

#[test]
fn what_one_session_learned_is_its_own() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let _server = Dnsmasq::start()?;
    let guard = Guard::start(&[NAMED])?;
    let words = attempt_words("wait-for-line connect 10.77.0.2:443");
    let mut other = Waiting::start(guard.run("named", &words))?;
    assert_eq!(attempt(&guard, "reach api.test:443"), ["reach api.test:443 ok"]);
    other.go()?;
    assert_eq!(other.rest()?, ["connect 10.77.0.2:443 EPERM"]);
    Ok(())
}

#[test]
fn nobody_answers_in_the_place_of_a_resolver() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let _server = Dnsmasq::start()?;
    let guard =
        Guard::start(&[NAMED, "version: 1\nagent: free\negress: { default: allow, dns: {} }\n"])?;
    let words = format!("pretend {}:53/10.77.0.1:4000", resolver::REAL[0]);
    let printed = guard.attempt("free", &words)?;
    assert_eq!(printed, [format!("{words} EPERM")]);
    Ok(())
}

#[test]
fn other_programs_resolve_as_they_are_used_to() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let _server = Dnsmasq::start()?;
    let guard = Guard::start(&[NAMED])?;
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("look-up");
    let source = folder.path().join("look-up.c");
    std::fs::write(
        &source,
        "#include <netdb.h>\n#include <stdio.h>\nint main(int n, char **a) { struct addrinfo *r; \
         int e = getaddrinfo(a[1], \"443\", 0, &r); puts(e ? gai_strerror(e) : \"found\"); return !!e; }\n",
    )?;
    let compiled =
        Command::new("musl-gcc").arg("-static").arg("-o").args([&program, &source]).status()?;
    assert!(compiled.success());
    for (name, found) in [("api.test", true), ("evil.test", false)] {
        for words in [
            vec![program.display().to_string(), name.to_owned()],
            vec!["getent".into(), "ahosts".into(), name.into()],
            vec![
                "python3".into(),
                "-c".into(),
                format!("import socket; socket.getaddrinfo({name:?}, 443)"),
            ],
        ] {
            let start = Instant::now();
            let output = guard.run("named", &words).output()?;
            assert_eq!(output.status.success(), found, "{words:?}: {output:?}");
            // musl does not look at what sending comes to, and waits for an answer.
            let waits = !found && words[0] == program.display().to_string();
            assert_eq!(start.elapsed() >= AT_ONCE, waits, "{words:?}: {:?}", start.elapsed());
        }
    }
    let decisions = guard.decisions()?;
    // What else musl does is refused, and does it no harm: it connects to port 65535 to see
    // which address of its own would be used. That it asks two servers under one id is in order.
    let mut refused = denied(&decisions);
    refused.retain(|event| event["action"] != "connect");
    assert!(
        resources(&refused).iter().all(|resource| *resource == "dns:evil.test"),
        "{refused:#?}"
    );
    expect_refusals(&refused);
    Ok(())
}

/// A program asks for both kinds of addresses; more than a few tries would be a loop.
fn expect_refusals(refused: &[&Value]) {
    assert!((3..=12).contains(&refused.len()), "{}", refused.len());
}

#[test]
fn policies_without_names_ask_whom_their_rules_allow() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    resolver::strange()?;
    let policy =
        "version: 1\nagent: coder\negress:\n  rules:\n    - { allow: 10.77.0.53, ports: 53 }\n";
    let guard = Guard::start(&[policy])?;
    let words = format!("ask {STRANGE}:53/1/whatever.test");
    expect(&guard, &words, &["answer 10.77.0.2", &format!("{words} ok")]);
    Ok(())
}
