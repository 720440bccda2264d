//! Policies that change while sessions run.

use std::path::Path;
use std::time::{Duration, Instant};

use agentguard_tests::guard::{Guard, PATIENCE, Waiting, agentguard, sessions};
use agentguard_tests::net::Outside;
use agentguard_tests::resolver::Dnsmasq;
use agentguard_tests::{Outcome, in_vm, net};
use serde_json::Value;

use crate::denied;

/// Does a line's worth of Python for each line that comes, and says what came of it.
const TALK: &str = r"
import errno, os, socket, sys
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
kept = None

def keep(host, port):
    global kept
    kept = socket.create_connection((host, port), 5)

def reach(host, port):
    socket.create_connection((host, port), 5).close()

print('ready', flush=True)
for line in sys.stdin:
    try:
        eval(line)
        print('ok', flush=True)
    except socket.gaierror:
        print('no name', flush=True)
    except OSError as error:
        print(errno.errorcode[error.errno], flush=True)
";

const WORDS: [&str; 4] = ["/usr/bin/python3", "-B", "-c", TALK];

fn policy(egress: &str, files: &str) -> String {
    format!(
        "version: 1
agent: worker
egress:
  dns: {{ inside: [10.77.0.0/24], floor: 5m }}
  rules:
{egress}files:
  default: write
  rules:
{files}"
    )
}

struct Talk(Waiting);

impl Talk {
    fn start(guard: &Guard) -> Result<Self, Box<dyn std::error::Error>> {
        Ok(Self(Waiting::start(guard.run("worker", &WORDS))?))
    }

    fn say(&mut self, line: &str) -> Result<String, Box<dyn std::error::Error>> {
        self.0.say(line)?;
        Ok(self.0.line()?)
    }
}

fn write(guard: &Guard, text: &str) -> std::io::Result<()> {
    let (new, file) = (guard.policies().join(".new"), guard.policies().join("0.yaml"));
    std::fs::write(&new, text)?;
    std::fs::rename(new, file)
}

/// What the command says of a change, which must go well.
fn apply() -> Result<Value, Box<dyn std::error::Error>> {
    let output = agentguard(&["policy", "apply", "--json"])?;
    assert!(output.status.success(), "{output:?}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn heard(outside: &Outside, text: &str) -> bool {
    let text = text.as_bytes();
    outside.heard().iter().any(|said| said.windows(text.len()).any(|part| part == text))
}

#[test]
fn a_changed_policy_holds_at_once_for_sessions_that_run() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let outside = net::outside()?;
    let server = Dnsmasq::start()?;
    let folder = tempfile::tempdir()?;
    let place = folder.path().display();
    std::fs::write(folder.path().join("plain"), "x")?;
    let old = policy(
        "    - { allow: 10.77.0.3, ports: any }
    - { allow: [api.test, '*.wild.test'], ports: [80, 443] }
",
        &format!("    - deny: {place}/later\n"),
    );
    let new = policy(
        "    - { allow: 10.77.0.54, ports: any }
    - { allow: [api.test], ports: [80, 443] }
",
        &format!("    - deny: {place}/plain\n"),
    );
    let guard = Guard::start_with(&[&old], &["--no-watch"])?;
    let mut talk = Talk::start(&guard)?;
    let plain = format!("open('{place}/plain').close()");
    let later = format!("open('{place}/later', 'w').close()");
    assert_eq!(talk.say("keep('10.77.0.3', 443)")?, "ok");
    assert_eq!(talk.say("kept.send(b'before')")?, "ok");
    assert_eq!(talk.say("reach('api.test', 443)")?, "ok");
    assert_eq!(talk.say("reach('a.wild.test', 443)")?, "ok");
    assert_eq!(talk.say("reach('10.77.0.54', 443)")?, "EPERM");
    assert_eq!(talk.say(&plain)?, "ok");
    assert_eq!(talk.say(&later)?, "EACCES");
    write(&guard, &new)?;
    // Without a word, nothing changes.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(talk.say("kept.send(b'still')")?, "ok");
    let asked = server.asked("api.test")?;
    let said = apply()?;
    assert_eq!(said["changes"][0]["agent"], "worker", "{said}");
    assert_eq!(said["changes"][0]["change"], "changed", "{said}");
    assert_eq!(said["changes"][0]["sessions"], 1, "{said}");
    assert_eq!(talk.say("kept.send(b'after')")?, "EPERM");
    assert_eq!(talk.say("reach('10.77.0.3', 443)")?, "EPERM");
    assert_eq!(talk.say("reach('10.77.0.54', 443)")?, "ok");
    // What was learned for a name is known still, where the name is allowed still.
    assert_eq!(talk.say("reach('10.77.0.2', 443)")?, "ok");
    assert_eq!(server.asked("api.test")?, asked);
    assert_eq!(talk.say("reach('a.wild.test', 443)")?, "no name");
    assert_eq!(talk.say(&plain)?, "EACCES");
    assert_eq!(talk.say(&later)?, "ok");
    assert_eq!(talk.say("reach('api.test', 80)")?, "ok");
    let told = guard.wait_for("the change", |event| event["action"] == "policy.apply")?;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["agent_role"], "worker");
    assert_eq!(sessions()?[0]["policy_hash"], told[0]["policy_hash"]);
    // What the session had before is gone, once nothing can read it.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(talk.say(&plain)?, "EACCES");
    // A change without one.
    assert_eq!(apply()?["changes"], Value::Array(Vec::new()));
    drop(talk);
    guard.decisions()?;
    let until = Instant::now() + PATIENCE;
    while !heard(outside, "before") && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(heard(outside, "still") && !heard(outside, "after"));
    Ok(())
}

#[test]
fn a_file_that_is_wrong_changes_nothing_and_is_told_of() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    net::outside()?;
    let old = policy("    - { allow: 10.77.0.3, ports: any }\n", "    - deny: /nowhere\n");
    let guard = Guard::start(&[&old])?;
    let mut talk = Talk::start(&guard)?;
    write(&guard, &old.replace("allow:", "alow:"))?;
    let told = guard.wait_for("the refusal", |event| event["action"] == "policy.reject")?;
    assert_eq!(told[0]["outcome"], "failure", "{told:?}");
    let message = told[0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("0.yaml:6:") && message.contains("alow"), "{message}");
    assert_eq!(talk.say("reach('10.77.0.3', 443)")?, "ok");
    let refused = agentguard(&["policy", "apply"])?;
    assert_eq!(refused.status.code(), Some(64), "{refused:?}");
    // Put in order, it is taken up without a word.
    write(&guard, &old.replace("10.77.0.3", "10.77.0.54"))?;
    guard.wait_for("the change", |event| event["action"] == "policy.apply")?;
    assert_eq!(talk.say("reach('10.77.0.3', 443)")?, "EPERM");
    assert_eq!(talk.say("reach('10.77.0.54', 443)")?, "ok");
    // An agent that is not declared any more: its sessions keep what they had.
    std::fs::remove_file(guard.policies().join("0.yaml"))?;
    guard.wait_for("the end of it", |event| {
        event["action"] == "policy.apply" && event["policy_hash"].is_null()
    })?;
    assert_eq!(talk.say("reach('10.77.0.54', 443)")?, "ok");
    let none = agentguard(&["run", "--agent", "worker", "--", "true"])?;
    assert!(!none.status.success());
    // A session may not change policies.
    write(&guard, &old)?;
    guard.wait_for("the agent again", |event| {
        let message = event["message"].as_str().unwrap_or_default();
        event["action"] == "policy.apply" && message.starts_with("a new agent")
    })?;
    let inside = guard.run("worker", &["agentguard", "policy", "apply"]).output()?;
    assert!(!inside.status.success(), "{inside:?}");
    assert!(String::from_utf8_lossy(&inside.stderr).contains("session"), "{inside:?}");
    Ok(())
}

/// Connects to either of two places and opens either of two files, without end.
const BUSY: &str = r"
import socket, sys, time
print('ready', flush=True)
while True:
    time.sleep(0.01)
    for host in ('10.77.0.3', '10.77.0.54'):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            one.connect((host, 443))
        except OSError:
            pass
        one.close()
    for name in ('one', 'two'):
        try:
            open(sys.argv[1] + '/' + name).close()
        except OSError:
            pass
";

#[test]
fn no_decision_sees_half_of_one_and_half_of_another() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    net::outside()?;
    let folder = tempfile::tempdir()?;
    let mut texts = Vec::new();
    for (name, host) in [("one", "10.77.0.3"), ("two", "10.77.0.54")] {
        std::fs::write(folder.path().join(name), "x")?;
        let other = if name == "one" { "two" } else { "one" };
        texts.push(policy(
            &format!("    - {{ allow: {host}, ports: any }}\n"),
            &format!("    - deny: {}/{other}\n", folder.path().display()),
        ));
    }
    let mut guard = Guard::start_with(&[&texts[0]], &["--no-watch"])?;
    let place = folder.path().display().to_string();
    let words = ["/usr/bin/python3", "-B", "-c", BUSY, &place];
    let _busy = Waiting::start(guard.run("worker", &words))?;
    let first = sessions()?[0]["policy_hash"].clone();
    for turn in 1..=20 {
        write(&guard, &texts[turn % 2])?;
        apply()?;
        if turn % 7 == 0 {
            // Killed at once, another takes over what has become of it.
            guard.kill_daemon()?;
            guard.restart()?;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let ids = sessions()?;
    assert_eq!(ids.len(), 1, "{ids:?}");
    let id = ids[0]["id"].as_str().unwrap_or_default().to_owned();
    agentguard(&["kill", &id])?;
    let decisions = guard.decisions()?;
    let of = |event: &Value| {
        let resource = event["resource"].as_str().unwrap_or_default();
        let first = event["policy_hash"] == first;
        // Under the first, 10.77.0.54 and the file two are refused.
        let expected = if first {
            resource.contains("10.77.0.54") || resource.ends_with("/two")
        } else {
            resource.contains("10.77.0.3") || resource.ends_with("/one")
        };
        (expected, resource.to_owned())
    };
    let mut refused = denied(&decisions);
    refused.retain(|event| event["reason"] != "ending");
    for event in &refused {
        let (expected, resource) = of(event);
        assert!(expected, "{resource}: {event}");
    }
    let kinds = |first_one: bool| {
        let mut found = refused.iter().filter(|event| (event["policy_hash"] == first) == first_one);
        let files = found.clone().any(|event| event["resource"].as_str().is_some_and(is_path));
        files && found.any(|event| !event["resource"].as_str().is_some_and(is_path))
    };
    assert!(kinds(true) && kinds(false), "both policies refused hosts and files");
    Ok(())
}

fn is_path(resource: &str) -> bool {
    Path::new(resource).is_absolute()
}
