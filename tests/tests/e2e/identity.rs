//! A process belongs to its session whatever it does.

use agentguard_tests::guard::{Guard, Waiting, agentguard, attempt_words, sessions};
use agentguard_tests::{Outcome, in_vm, net};

use crate::{CODER, denied, expect};

const REFUSED: &str = "connect 10.77.0.3:443 EPERM";

#[test]
fn no_way_of_making_a_process_sheds_the_session() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let outside = net::outside()?;
    let guard = Guard::start(&[&format!("{CODER}host:\n  allow: cgroups\n")])?;
    let before = outside.received();
    let ways = ["fork", "detach", "namespaces", "root-cgroup", "thread", "exec"];
    for way in ways {
        expect(&guard, &format!("{way} connect 10.77.0.3:443"), &[REFUSED]);
    }
    expect(&guard, "detach root-cgroup namespaces exec thread connect 10.77.0.3:443", &[REFUSED]);
    // vfork and posix_spawn, by a shell.
    let shell = format!(
        "({} & wait); exec {}",
        attempt_words("connect 10.77.0.3:443").join(" "),
        attempt_words("connect 10.77.0.3:443").join(" ")
    );
    let output = guard.run("coder", &["bash", "-c", &shell]).output()?;
    assert_eq!(String::from_utf8(output.stdout)?, format!("{REFUSED}\n{REFUSED}\n"));
    let decisions = guard.decisions()?;
    assert_eq!(denied(&decisions).len(), ways.len() + 3, "{decisions:#?}");
    assert_eq!(outside.received(), before);
    Ok(())
}

#[test]
fn processes_of_no_session_are_left_alone() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    net::outside()?;
    let guard = Guard::start(&[CODER])?;
    for to in ["10.77.0.3:443", "[fd77::3]:443", "[::ffff:10.77.0.3]:443", "127.0.0.1:22"] {
        let words = attempt_words(&format!("connect {to} sendto {to}"));
        let output = std::process::Command::new(&words[0]).args(&words[1..]).output()?;
        let text = String::from_utf8(output.stdout)?;
        assert!(!text.contains("EPERM"), "{text}");
    }
    assert_eq!(guard.decisions()?.len(), 0);
    Ok(())
}

#[test]
fn denials_stand_without_the_daemon_and_the_next_one_takes_over() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    net::outside()?;
    let mut guard = Guard::start(&[CODER])?;
    let words = "wait-for-line connect 10.77.0.3:443 connect 10.77.0.2:443 wait-for-line fork connect 10.77.0.3:443 wait-for-line detach connect 10.77.0.3:80";
    let mut agent = Waiting::start(guard.run("coder", &attempt_words(words)))?;
    let id = sessions()?[0]["id"].clone();
    guard.kill_daemon()?;
    agent.go()?;
    assert_eq!(agent.line()?, REFUSED);
    assert_eq!(agent.line()?, "connect 10.77.0.2:443 ok");
    assert_eq!(agent.line()?, "waiting");
    let refused = agentguard(&["run", "--agent", "coder", "--", "true"])?;
    assert_eq!(refused.status.code(), Some(69), "no new session without a daemon");
    guard.restart()?;
    let adopted = sessions()?;
    assert_eq!((adopted.len(), &adopted[0]["id"]), (1, &id), "{adopted:?}");
    agent.go()?;
    assert_eq!(agent.line()?, REFUSED);
    guard.kill_daemon()?;
    guard.restart()?;
    assert_eq!(agent.line()?, "waiting");
    agent.go()?;
    assert_eq!(agent.rest()?, ["connect 10.77.0.3:80 EPERM"]);
    let decisions = guard.decisions()?;
    assert_eq!(
        denied(&decisions).len(),
        3,
        "the one without a daemon is there too: {decisions:#?}"
    );
    assert!(decisions.iter().all(|event| event["session"] == id && event["agent_role"] == "coder"));
    Ok(())
}

#[test]
fn a_daemon_killed_at_any_moment_logs_each_denial_once() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    net::outside()?;
    let mut guard = Guard::start(&[CODER])?;
    let script = "echo waiting; read; for n in $(seq 400); do : </dev/tcp/10.77.0.3/$n; done 2>/dev/null; true";
    let mut agent = Waiting::start(guard.run("coder", &["bash", "-c", script]))?;
    agent.go()?;
    let mut restarts = 0;
    while agent.child.try_wait()?.is_none() || restarts < 4 {
        // In the middle of its work, at another point of it each time.
        std::thread::sleep(std::time::Duration::from_millis(50 + 13 * restarts));
        guard.kill_daemon()?;
        guard.restart()?;
        restarts += 1;
    }
    assert!(agent.child.wait()?.success());
    let decisions = guard.decisions()?;
    let ids: std::collections::BTreeSet<_> =
        decisions.iter().filter_map(|event| event["id"].as_str()).collect();
    assert_eq!((denied(&decisions).len(), ids.len()), (400, 400), "after {restarts} restarts");
    Ok(())
}

#[test]
fn a_session_that_ends_without_a_daemon_is_cleaned_up() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    net::outside()?;
    let mut guard = Guard::start(&[CODER])?;
    let mut agent =
        Waiting::start(guard.run("coder", &attempt_words("wait-for-line connect 10.77.0.3:443")))?;
    let id = sessions()?[0]["id"].as_str().unwrap_or_default().to_owned();
    guard.kill_daemon()?;
    agent.go()?;
    assert_eq!(agent.rest()?, [REFUSED]);
    guard.restart()?;
    let ended = guard.wait_for("session.end", |event| event["action"] == "session.end")?;
    assert_eq!(ended[0]["session"], id.as_str());
    assert_eq!(denied(&guard.decisions()?).len(), 1);
    assert!(!std::path::Path::new(&format!("/sys/fs/cgroup/agentguard/{id}")).exists());
    Ok(())
}

#[test]
fn a_guarded_process_cannot_get_itself_another_session() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    net::outside()?;
    let open = "version: 1\nagent: open\negress:\n  default: allow\n";
    let guard = Guard::start(&[CODER, open])?;
    let inner = "agentguard run --agent open -- true; echo run=$?; agentguard kill $AGENTGUARD_SESSION; echo kill=$?; agentguard events; echo events=$?; agentguard ps --json | wc -l";
    let output = guard.run("coder", &["bash", "-c", inner]).output()?;
    assert_eq!(String::from_utf8(output.stdout)?, "run=68\nkill=68\nevents=68\n1\n");
    Ok(())
}
