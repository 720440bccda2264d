//! Responses: what a session does, what is done about it, and what is kept of it.

use std::time::{Duration, Instant};

use agentguard_tests::guard::{Guard, Waiting, agentguard, as_nobody, attempt_words, sessions};
use agentguard_tests::peer::until;
use agentguard_tests::{Outcome, in_vm};
use serde_json::Value;

/// A policy with these responses.
fn responding(respond: &str) -> String {
    format!("version: 1\nagent: coder\nrespond:\n{respond}")
}

/// A shell that tries, so many times, what is refused, and then goes on working.
fn tries(times: u32) -> Vec<String> {
    let attempt = attempt_words("connect 127.0.0.1:9").join(" ");
    let script = format!("echo go; for n in $(seq {times}); do {attempt}; done; sleep 100");
    ["bash", "-c", &script].map(str::to_owned).to_vec()
}

fn only_id() -> Result<String, Box<dyn std::error::Error>> {
    Ok(sessions()?.first().ok_or("no session")?["id"].as_str().unwrap_or_default().to_owned())
}

/// How far a file has been written that something in a session goes on writing.
fn progress(path: &str) -> u64 {
    std::fs::metadata(path).map_or(0, |of| of.len())
}

#[test]
fn too_many_denials_end_a_session_and_what_it_did_is_kept() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard =
        Guard::start(&[&responding("  - { when: denials > 3 in 1m, do: kill, id: enough }\n")])?;
    let ended = guard.run("coder", &tries(50)).output()?;
    assert_eq!(ended.status.code(), Some(79), "{ended:?}");
    let told = String::from_utf8(ended.stderr)?;
    assert!(told.contains("enough: denials > 3 in 1m"), "{told}");
    let killed = &guard.wait_for("session.kill", |event| event["action"] == "session.kill")?[0];
    assert_eq!(killed["message"], "enough: denials > 3 in 1m");
    let seen = &guard.wait_for("snapshot", |event| event["action"] == "session.snapshot")?[0];
    let processes = seen["snapshot"]["processes"].as_array().ok_or("no processes")?;
    let shell = processes.iter().find(|process| process["args"][0] == "bash").ok_or("no shell")?;
    assert!(shell["exe"].as_str().is_some_and(|exe| exe.ends_with("/bash")), "{shell}");
    assert!(shell["cwd"].is_string() && shell["args"][1] == "-c", "{shell}");
    let denied = guard.decisions()?.len();
    assert!((4..20).contains(&denied), "ended long before it had tried all: {denied}");
    Ok(())
}

#[test]
fn a_held_session_stands_still_wherever_it_went_and_goes_on_when_resumed() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[&responding("  - { when: denials > 2 in 1m, do: pause }\n")])?;
    let attempt = attempt_words("connect 127.0.0.1:9").join(" ");
    // One process works in the session's cgroup, one has left it.
    let script = format!(
        "echo go
        (while :; do echo x >> /tmp/inside; sleep 0.02; done) &
        setsid bash -c 'echo $$ > /sys/fs/cgroup/cgroup.procs; while :; do echo x >> /tmp/outside; sleep 0.02; done' &
        sleep 1; for n in 1 2 3; do {attempt}; done; sleep 100"
    );
    let mut agent = Waiting::start(guard.run("coder", &["bash", "-c", &script]))?;
    guard.wait_for("session.pause", |event| event["action"] == "session.pause")?;
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(sessions()?[0]["state"], "paused");
    assert_eq!(sessions()?[0]["paused"], "respond.1: denials > 2 in 1m");
    let files = ["/tmp/inside", "/tmp/outside"];
    let before = files.map(progress);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(files.map(progress), before, "nothing runs");
    assert!(before.iter().all(|bytes| *bytes > 0), "both had run: {before:?}");
    let id = only_id()?;
    assert!(agentguard(&["resume", &id])?.status.success());
    std::thread::sleep(Duration::from_secs(2));
    let after = files.map(progress);
    assert!(after[0] > before[0] && after[1] > before[1], "both go on: {before:?} {after:?}");
    assert_eq!(sessions()?[0]["state"], "running");
    let resumed =
        &guard.wait_for("session.resume", |event| event["action"] == "session.resume")?[0];
    assert_eq!(resumed["message"], "resumed by user 0");
    assert_eq!(agentguard(&["resume", &id])?.status.code(), Some(68), "it is not held");
    assert!(agentguard(&["kill", &id])?.status.success());
    agent.child.wait()?;
    Ok(())
}

#[test]
fn a_person_holds_a_session_across_a_new_daemon_and_ends_it_held() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let mut guard = Guard::start(&[crate::CODER])?;
    let mut agent = Waiting::start(guard.run(
        "coder",
        &["bash", "-c", "echo go; while :; do echo x >> /tmp/held; sleep 0.02; done"],
    ))?;
    let id = only_id()?;
    let paused = agentguard(&["pause", &id])?;
    assert!(String::from_utf8(paused.stdout)?.contains("none of its processes runs"));
    guard.kill_daemon()?;
    guard.restart()?;
    assert_eq!(sessions()?[0]["state"], "paused");
    let before = progress("/tmp/held");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(progress("/tmp/held"), before);
    assert!(agentguard(&["kill", &id])?.status.success());
    assert_eq!(agent.child.wait()?.code(), Some(79));
    assert_eq!(sessions()?.len(), 0);
    Ok(())
}

#[test]
fn a_fork_storm_under_a_limit_leaves_no_process() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let policy =
        format!("{}limits: {{ pids: 200 }}\n", responding("  - { when: limit pids, do: kill }\n"));
    let guard = Guard::start(&[&policy])?;
    let storm = "import os, time\nwhile True:\n  try:\n    os.fork()\n  except OSError: pass";
    let began = Instant::now();
    let ended = guard.run("coder", &["python3", "-c", storm]).output()?;
    assert_eq!(ended.status.code(), Some(79), "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    guard.wait_for("session.end", |event| event["action"] == "session.end")?;
    assert_eq!(sessions()?.len(), 0);
    let left = std::process::Command::new("pgrep").args(["-f", "os.fork"]).output()?;
    assert_eq!(left.stdout, b"");
    Ok(())
}

#[test]
fn a_session_is_slowed_down_people_are_told_and_the_observed_is_left_alone() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let slow = responding(
        "  - { when: denials > 2 in 1m, do: throttle, again: 1s }\n  - { when: denials > 1 in 1m, do: alert }\n",
    );
    let observed = "version: 1\nagent: watched\nmode: observe\nrespond:\n  - { when: denials > 2 in 10s, do: kill }\n";
    let guard = Guard::start(&[&slow, observed])?;
    let mut agent = Waiting::start(guard.run("coder", &tries(3)))?;
    guard.wait_for("session.throttle", |event| event["action"] == "session.throttle")?;
    let id = only_id()?;
    let cpu = std::fs::read_to_string(format!("/sys/fs/cgroup/agentguard/{id}/cpu.max"))?;
    assert_eq!(cpu.trim(), "10000 100000");
    let alerts: Vec<Value> =
        guard.wait_for("alert", |event| event["kind"] == "finding")?.into_iter().collect();
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0]["finding"]["rule"], "respond.2");
    assert_eq!(alerts[0]["finding"]["severity"], "high");
    let decision =
        guard.wait_for("denial", |event| event["id"] == alerts[0]["finding"]["evidence"][0])?;
    assert_eq!(decision[0]["outcome"], "denied", "the evidence is in the log");
    assert!(agentguard(&["kill", &id])?.status.success());
    agent.child.wait()?;
    let ran = guard
        .run("watched", &["bash", "-c", &tries(4)[2].replace("sleep 100", "true")])
        .output()?;
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    let would = guard.wait_for("respond", |event| event["action"] == "respond")?;
    assert_eq!(
        (&would[0]["outcome"], &would[0]["rule"]),
        (&"would-deny".into(), &"respond.1".into())
    );
    Ok(())
}

#[test]
fn a_session_finds_what_it_is_told_and_nobody_elses() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[&responding("  - { when: denials > 5 in 1m, do: pause }\n")])?;
    let attempt = attempt_words("connect 127.0.0.1:9").join(" ");
    let told = "until grep -q tcp:// $AGENTGUARD_NOTICE; do sleep 0.05; done";
    let script =
        format!("echo go; {attempt}; {told}; cat $AGENTGUARD_NOTICE; ls /run/agentguard/notices");
    let mut run = guard.run("coder", &["bash", "-c", &script]);
    let output = as_nobody(&mut run).output()?;
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().find(|line| line.starts_with('{')).ok_or(text.clone())?;
    let notice: Value = serde_json::from_str(line)?;
    assert_eq!((&notice["state"], &notice["agent_role"]), (&"running".into(), &"coder".into()));
    assert_eq!(notice["refusal"]["resource"], "tcp://127.0.0.1:9");
    assert!(
        notice["refusal"]["text"].as_str().is_some_and(|text| text.contains("default is deny"))
    );
    assert!(String::from_utf8(output.stderr)?.contains("Permission denied"), "no list of others");
    until("the notice to go with its session", || {
        Ok(std::fs::read_dir("/run/agentguard/notices")?.count() == 0)
    })?;
    // Held: the file says so, and why.
    let mut agent = Waiting::start(guard.run("coder", &tries(9)))?;
    guard.wait_for("session.pause", |event| event["action"] == "session.pause")?;
    let id = only_id()?;
    let file = std::fs::read_to_string(format!("/run/agentguard/notices/{id}.json"))?;
    let notice: Value = serde_json::from_str(&file)?;
    assert_eq!(
        (&notice["state"], &notice["why"]),
        (&"paused".into(), &"respond.1: denials > 5 in 1m".into())
    );
    assert!(agentguard(&["kill", &id])?.status.success());
    agent.child.wait()?;
    Ok(())
}

#[test]
fn what_is_found_is_told_with_its_evidence_and_answered() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let policy = "version: 1\nagent: coder\nfiles: { default: write }\ndetect: { probing: { threshold: 5 } }\nrespond:\n  - { when: finding probing >= 0.6, do: kill }\n";
    let guard = Guard::start(&[policy])?;
    let attempt = attempt_words("connect").join(" ");
    let script = format!(
        "echo x >> $HOME/.bashrc; for n in $(seq 30); do {attempt} 127.0.0.1:$n; done; sleep 100"
    );
    let ended = guard.run("coder", &["bash", "-c", &script]).env("HOME", "/tmp").output()?;
    assert_eq!(ended.status.code(), Some(79), "{ended:?}");
    let told = String::from_utf8(ended.stderr)?;
    assert!(told.contains("respond.1: finding probing >= 0.6"), "{told}");
    let found = guard.wait_for("findings", |event| event["kind"] == "finding")?;
    let persistence =
        found.iter().find(|event| event["resource"] == "persistence").ok_or("none")?;
    assert_eq!(persistence["finding"]["severity"], "high");
    let probing = found.iter().find(|event| event["resource"] == "probing").ok_or("none")?;
    let evidence = probing["finding"]["evidence"].as_array().ok_or("no evidence")?;
    assert_eq!(evidence.len(), 5);
    let logged = guard.events()?;
    for id in evidence {
        assert!(logged.iter().any(|event| event["id"] == *id && event["outcome"] == "denied"));
    }
    Ok(())
}
