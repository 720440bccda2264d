//! Limits: memory, processes, CPU, time and open files are held, only the session feels it,
//! and whoever looks is told.

use std::time::{Duration, Instant};

use agentguard_tests::guard::{
    Guard, Waiting, agentguard, attempt_words, daemon_command, sessions,
};
use agentguard_tests::{Outcome, in_vm};
use serde_json::Value;

/// A policy with these lines below `limits:`.
fn limited(limits: &str) -> String {
    format!("version: 1\nagent: coder\nlimits:\n{limits}")
}

fn limit_events(guard: &Guard, resource: &str) -> Result<Vec<Value>, Box<dyn std::error::Error>> {
    let fits = |event: &Value| event["action"] == "limit" && event["resource"] == resource;
    Ok(guard.wait_for(resource, fits)?)
}

#[test]
fn a_session_that_uses_up_its_memory_is_ended_and_nobody_else() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[&limited("  memory: 64MiB\n")])?;
    let hog = "import sys\nb = []\nwhile True: b.append(bytearray(1 << 20))";
    let mut beside = std::process::Command::new("sleep").arg("100").spawn()?;
    let ended = guard
        .run("coder", &["sh", "-c", "sleep 100 & python3 -c \"$0\"; sleep 100", hog])
        .output()?;
    assert_eq!(ended.status.code(), Some(79), "{ended:?}");
    let told = String::from_utf8(ended.stderr)?;
    assert!(told.contains("limits.memory: 64MiB were used up"), "{told}");
    assert_eq!(beside.try_wait()?, None, "what is no session goes on");
    beside.kill()?;
    beside.wait()?;
    limit_events(&guard, "memory")?;
    guard.wait_for("session.end", |event| event["action"] == "session.end")?;
    assert_eq!(sessions()?.len(), 0, "the shell and the sleep are gone too");
    Ok(())
}

#[test]
fn more_processes_than_allowed_are_not_made() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[&limited("  pids: 20\n")])?;
    let bomb = "import os, time\nn = 0\nwhile True:\n  try:\n    if os.fork() == 0: time.sleep(100)\n    n += 1\n  except OSError as e:\n    print(e.errno, n, flush=True); break\nos.kill(0, 9)";
    let ran = guard.run("coder", &["setsid", "python3", "-c", bomb]).output()?;
    let told = String::from_utf8(ran.stdout)?;
    let mut words = told.split_whitespace();
    assert_eq!(words.next(), Some("11"), "EAGAIN: {told}");
    let made: u32 = words.next().unwrap_or("").parse()?;
    assert!((15..20).contains(&made), "{made}");
    let events = limit_events(&guard, "pids")?;
    assert_eq!(events[0]["outcome"], "denied");
    Ok(())
}

#[test]
fn a_busy_loop_gets_its_share_and_no_more() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[&limited("  cpu: 20%\n")])?;
    let mut agent =
        Waiting::start(guard.run("coder", &["sh", "-c", "echo go; while :; do :; done"]))?;
    std::thread::sleep(Duration::from_secs(1));
    let used = || -> Result<f64, Box<dyn std::error::Error>> {
        Ok(sessions()?[0]["usage"]["cpu"].as_f64().ok_or("no cpu time")?)
    };
    let (from, began) = (used()?, Instant::now());
    std::thread::sleep(Duration::from_secs(4));
    let share = (used()? - from) / began.elapsed().as_secs_f64() / 10_000.0;
    assert!((5.0..30.0).contains(&share), "{share}%");
    let id = sessions()?[0]["id"].as_str().unwrap_or_default().to_owned();
    assert!(agentguard(&["kill", &id])?.status.success());
    agent.child.wait()?;
    Ok(())
}

#[test]
fn a_session_ends_when_its_time_is_over() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[&limited("  runtime: 3s\n")])?;
    let began = Instant::now();
    let ended = guard.run("coder", &["sleep", "100"]).output()?;
    assert_eq!(ended.status.code(), Some(79), "{ended:?}");
    assert!(String::from_utf8(ended.stderr)?.contains("limits.runtime=3s is over"));
    assert!((2..30).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    limit_events(&guard, "runtime")?;
    Ok(())
}

#[test]
fn open_files_are_limited_for_every_process() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[&limited("  open_files: 16\n")])?;
    let ran = guard.run("coder", &["bash", "-c", "ulimit -Hn; bash -c 'ulimit -n'"]).output()?;
    assert_eq!(String::from_utf8(ran.stdout)?, "16\n16\n");
    Ok(())
}

#[test]
fn limits_change_while_a_session_runs_and_are_shown() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[&limited("  memory: 1GiB\n")])?;
    let mut agent = Waiting::start(guard.run("coder", &attempt_words("wait-for-line")))?;
    let listed = sessions()?;
    let id = listed[0]["id"].as_str().unwrap_or_default().to_owned();
    assert_eq!(listed[0]["limits"]["memory"], 1 << 30);
    assert!(listed[0]["usage"]["memory"].as_u64() > Some(0), "{listed:?}");
    let file =
        |name: &str| std::fs::read_to_string(format!("/sys/fs/cgroup/agentguard/{id}/{name}"));
    assert_eq!(file("memory.max")?.trim(), (1 << 30).to_string());
    assert_eq!(file("memory.oom.group")?.trim(), "1");
    let changed = agentguard(&["limit", &id, "memory=2GiB", "pids=30", "cpu=150%"])?;
    assert!(changed.status.success(), "{changed:?}");
    assert_eq!(file("memory.max")?.trim(), (2u64 << 30).to_string());
    assert_eq!(file("pids.max")?.trim(), "30");
    assert_eq!(file("cpu.max")?.trim(), "150000 100000");
    assert!(agentguard(&["limit", &id, "pids=none"])?.status.success());
    assert_eq!(file("pids.max")?.trim(), "max");
    let detail = String::from_utf8(agentguard(&["ps", "--detail"])?.stdout)?;
    assert!(detail.contains("limits: memory=2GiB cpu=150%"), "{detail}");
    assert!(detail.contains("waits:  "), "{detail}");
    for (words, code) in [("speed=1", 2), ("memory=2GB", 2), ("cpu=fast", 2)] {
        assert_eq!(agentguard(&["limit", &id, words])?.status.code(), Some(code), "{words}");
    }
    assert_eq!(
        file("memory.max")?.trim(),
        (2u64 << 30).to_string(),
        "what is wrong changes nothing"
    );
    agent.go()?;
    agent.rest()?;
    guard.wait_for("session.limit", |event| event["action"] == "session.limit")?;
    Ok(())
}

#[test]
fn a_limit_that_cannot_be_enforced_keeps_a_session_or_the_daemon_from_starting() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    // Memory has no disk behind it.
    let guard = Guard::start(&[&limited("  io: 1MiB/s\n")])?;
    let refused = guard.run("coder", &["true"]).current_dir("/tmp").output()?;
    assert_eq!(refused.status.code(), Some(64), "{refused:?}");
    assert!(String::from_utf8(refused.stderr)?.contains("no disk stands behind"));
    drop(guard);
    let directory = tempfile::tempdir()?;
    let policy = format!("{}workspace: /tmp\n", limited("  io: 1MiB/s\n"));
    std::fs::write(directory.path().join("coder.yaml"), policy)?;
    let output = daemon_command(directory.path(), &directory.path().join("log")).output()?;
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    Ok(())
}
