//! Sessions and the daemon: begun, listed, killed, ended, refused.

use std::time::Duration;

use agentguard_tests::guard::{
    Guard, Waiting, agentguard, attempt_words, daemon_command, sessions,
};
use agentguard_tests::{Outcome, in_vm};

use crate::CODER;

#[test]
fn kill_leaves_no_process_alive() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[&format!("{CODER}host:\n  allow: cgroups\n")])?;
    // Processes that detach, move to another cgroup, and go on making more.
    let script = "
        echo waiting
        for n in 1 2 3; do setsid bash -c 'echo $$ > /sys/fs/cgroup/cgroup.procs; while :; do sleep 0.01; done' & done
        while :; do bash -c 'sleep 100' & sleep 0.01; done";
    let mut agent = Waiting::start(guard.run("coder", &["bash", "-c", script]))?;
    std::thread::sleep(Duration::from_secs(1));
    let id = sessions()?[0]["id"].as_str().unwrap_or_default().to_owned();
    assert!(sessions()?[0]["tasks"].as_u64() > Some(4));
    let killed = agentguard(&["kill", &id[..6]])?;
    assert!(killed.status.success(), "{killed:?}");
    assert_eq!(agent.child.wait()?.code(), Some(79), "run says that agentguard ended it");
    assert_eq!(sessions()?.len(), 0);
    let left = std::process::Command::new("pgrep").args(["-f", "sleep 100"]).output()?;
    assert_eq!(left.stdout, b"");
    let events = guard.wait_for("session.end", |event| event["session"] == id.as_str())?;
    let actions: Vec<_> = events
        .iter()
        .filter(|event| event["kind"] == "lifecycle")
        .map(|event| &event["action"])
        .collect();
    assert_eq!(actions, ["session.start", "session.kill", "session.snapshot", "session.end"]);
    Ok(())
}

/// Kernels from 7.0 on leave out a tracepoint's program where it was preempted and is
/// hit again: the count of tasks can be off, and must harm nobody.
#[test]
fn a_session_lasts_as_long_as_its_processes() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let script = "
        for n in 1 2 3 4 5 6; do (for i in $(seq 40); do /bin/true || exit 3; done) & all+=($!); done
        for pid in ${all[@]}; do wait $pid || exit 4; done";
    let ran = guard.run("coder", &["bash", "-c", script]).output()?;
    assert!(ran.status.success(), "{ran:?}");
    guard.wait_for("session.end", |event| event["action"] == "session.end")?;
    assert_eq!(sessions()?.len(), 0);
    Ok(())
}

#[test]
fn ps_tells_of_a_session_while_it_lasts() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    assert_eq!(sessions()?.len(), 0);
    let mut agent = Waiting::start(guard.run("coder", &attempt_words("wait-for-line")))?;
    let listed = sessions()?;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["agent"], "coder");
    assert_eq!(listed[0]["state"], "running");
    assert_eq!(listed[0]["tasks"], 1);
    assert_eq!(listed[0]["command"][1], "wait-for-line");
    agent.go()?;
    agent.rest()?;
    guard.wait_for("session.end", |event| event["action"] == "session.end")?;
    assert_eq!(sessions()?.len(), 0);
    let all = agentguard(&["ps", "--all", "--json"])?;
    assert!(String::from_utf8(all.stdout)?.contains("\"state\":\"ended\""));
    Ok(())
}

#[test]
fn many_sessions_come_and_go_and_leave_nothing() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    for _ in 0..30 {
        assert!(guard.run("coder", &["true"]).status()?.success());
    }
    let waiting: Result<Vec<_>, _> = (0..20)
        .map(|_| Waiting::start(guard.run("coder", &attempt_words("wait-for-line"))))
        .collect();
    assert_eq!(sessions()?.len(), 20);
    for mut agent in waiting? {
        agent.go()?;
        agent.rest()?;
    }
    guard.decisions()?;
    std::thread::sleep(Duration::from_secs(2));
    let left: Vec<_> = std::fs::read_dir("/sys/fs/cgroup/agentguard")?
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(std::fs::read_dir("/run/agentguard/sessions")?.count(), 0);
    let ends = guard.events()?.iter().filter(|event| event["action"] == "session.end").count();
    assert_eq!(ends, 50);
    Ok(())
}

#[test]
fn a_second_daemon_is_refused_and_the_first_goes_on() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let second = daemon_command(&guard.policies(), guard.log()).output()?;
    assert_eq!(second.status.code(), Some(70));
    assert!(String::from_utf8(second.stderr)?.contains(&guard.daemon_pid().to_string()));
    assert!(guard.run("coder", &["true"]).status()?.success());
    Ok(())
}
