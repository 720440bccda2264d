//! Programs that nobody started with `run`, and that a policy's `match:` takes in.

use std::process::Command;
use std::time::Duration;

use agentguard_tests::guard::{Guard, Waiting, as_nobody, attempt_path, lines, sessions};
use agentguard_tests::{Outcome, in_vm, net};

use crate::{CODER, denied};

const AGENT: &str = "/tmp/adopted/agent";
const WORDS: [&str; 4] = ["connect", "10.77.0.3:443", "connect", "10.77.0.2:443"];
const HELD: [&str; 2] = ["connect 10.77.0.3:443 EPERM", "connect 10.77.0.2:443 ok"];
const FREE: [&str; 2] = ["connect 10.77.0.3:443 ok", "connect 10.77.0.2:443 ok"];

fn matching(what: &str) -> Result<Guard, Box<dyn std::error::Error>> {
    net::outside()?;
    std::fs::create_dir_all("/tmp/adopted")?;
    std::fs::copy(attempt_path(), AGENT)?;
    Ok(Guard::start(&[&CODER.replace("egress:", &format!("match:\n  - {what}\negress:"))])?)
}

fn run(program: &str) -> std::io::Result<Vec<String>> {
    Ok(lines(&Command::new(program).args(WORDS).output()?))
}

#[test]
fn a_program_that_matches_is_guarded_from_its_first_instruction() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = matching(&format!("exe: {AGENT}"))?;
    assert_eq!(run(&attempt_path())?, FREE, "another program is left alone");
    for _ in 0..12 {
        assert_eq!(run(AGENT)?, HELD);
        std::thread::sleep(Duration::from_millis(100));
    }
    std::fs::create_dir_all("/tmp/adopted/link")?;
    let _ = std::os::unix::fs::symlink(AGENT, "/tmp/adopted/link/other");
    assert_eq!(run("/tmp/adopted/link/other")?, HELD, "a link leads to the same program");
    let decisions = guard.decisions()?;
    assert_eq!(denied(&decisions).len(), 13);
    let starts = guard.events()?;
    let starts = starts.iter().filter(|event| event["action"] == "session.start");
    assert_eq!(starts.clone().count(), 13, "each is a session of its own");
    assert!(starts.clone().all(|event| event["agent_role"] == "coder"));
    Ok(())
}

#[test]
fn what_an_adopted_program_starts_is_in_its_session() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = matching(&format!("exe: {AGENT}"))?;
    let mut command = Command::new(AGENT);
    command.args(["wait-for-line", "fork", "detach", "exec", "connect", "10.77.0.3:443"]);
    let mut agent = Waiting::start(command)?;
    guard.wait_for("session.start", |event| event["action"] == "session.start")?;
    let listed = sessions()?;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["pid"].as_u64(), Some(u64::from(agent.child.id())));
    assert_eq!(listed[0]["command"][1], "wait-for-line");
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", agent.child.id()))?;
    assert!(cgroup.contains(listed[0]["id"].as_str().ok_or("no id")?), "{cgroup}");
    agent.go()?;
    assert_eq!(agent.rest()?, ["connect 10.77.0.3:443 EPERM"]);
    Ok(())
}

#[test]
fn a_user_and_a_cgroup_can_be_matched() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    {
        let _guard = matching("user: 65534")?;
        assert_eq!(run(AGENT)?, FREE);
        let output = as_nobody(Command::new(AGENT).args(WORDS)).output()?;
        assert_eq!(lines(&output), HELD);
    }
    let _guard = matching("cgroup: /matched/inner")?;
    std::fs::create_dir_all("/sys/fs/cgroup/matched/inner/deeper")?;
    std::thread::sleep(Duration::from_secs(3));
    let script = "echo $$ > /sys/fs/cgroup/matched/inner/deeper/cgroup.procs; exec \"$@\"";
    let output = Command::new("bash").args(["-c", script, "bash", AGENT]).args(WORDS).output()?;
    assert_eq!(lines(&output), HELD);
    assert_eq!(run(AGENT)?, FREE);
    for path in ["matched/inner/deeper", "matched/inner", "matched"] {
        std::fs::remove_dir(format!("/sys/fs/cgroup/{path}"))?;
    }
    Ok(())
}

#[test]
fn without_the_daemon_what_matches_is_guarded_or_does_not_run() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let mut guard = matching(&format!("exe: {AGENT}"))?;
    guard.kill_daemon()?;
    let mut guarded = 0;
    let refused = loop {
        match run(AGENT) {
            Ok(printed) => assert_eq!(printed, HELD),
            Err(error) => break error,
        }
        guarded += 1;
        assert!(guarded < 100, "never refused");
    };
    assert_eq!(refused.raw_os_error(), Some(1), "EPERM");
    assert_eq!(guarded, 8, "as many as stood by");
    assert_eq!(run(&attempt_path())?, FREE, "other programs run");
    guard.restart()?;
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(run(AGENT)?, HELD, "the next daemon fills up");
    let failed = guard.wait_for("refusal", |event| event["outcome"] == "failure")?;
    assert!(
        failed[0]["message"].as_str().is_some_and(|text| text.contains("no-standby")),
        "{failed:?}"
    );
    assert_eq!(denied(&guard.decisions()?).len(), 9);
    Ok(())
}

#[test]
fn a_session_whose_adoption_nobody_heard_of_is_found() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let mut guard = matching(&format!("exe: {AGENT}"))?;
    guard.kill_daemon()?;
    let mut command = Command::new(AGENT);
    command.args(["wait-for-line", "connect", "10.77.0.3:443"]);
    let mut agent = Waiting::start(command)?;
    // Another reader takes the record out of the ring buffer and does nothing with it.
    let (mut decisions, _) = agentguard::kernel::Pins::default().tables()?.rings()?;
    let mut taken = 0;
    while !decisions.drain(|_| taken += 1) {}
    assert_eq!(taken, 1, "the adoption's record");
    guard.restart()?;
    let starts = guard.wait_for("session.start", |event| event["action"] == "session.start")?;
    assert_eq!(starts[0]["resource"], format!("{AGENT} wait-for-line connect 10.77.0.3:443"));
    assert_eq!(sessions()?[0]["pid"].as_u64(), Some(u64::from(agent.child.id())));
    agent.go()?;
    assert_eq!(agent.rest()?, ["connect 10.77.0.3:443 EPERM"]);
    assert_eq!(denied(&guard.decisions()?).len(), 1);
    Ok(())
}
