//! What sessions did.

use std::process::{Command, Stdio};

use agentguard_tests::guard::{Guard, as_nobody, attempt_path};
use agentguard_tests::{Outcome, in_vm};
use serde_json::Value;

use crate::CODER;

fn of<'a>(events: &'a [Value], action: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["action"] == action).collect()
}

#[test]
fn programs_are_recorded_with_arguments_directory_user_and_end() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start_with(&[CODER], &["--log-activity"])?;
    let script = "cd /tmp; /bin/echo one 'two words' \"$(printf 'x%.0s' $(seq 3000))\" >/dev/null; /bin/sh -c 'exit 3'; true";
    let mut command = guard.run("coder", &["bash", "-c", script]);
    assert!(as_nobody(&mut command).status()?.success());
    guard.decisions()?;
    let events = guard.events()?;
    let execs = of(&events, "exec");
    let echo = execs.iter().find(|event| event["process"]["args"][1] == "one").ok_or("no echo")?;
    let process = &echo["process"];
    assert!(process["exe"].as_str().is_some_and(|exe| exe.ends_with("/echo")), "{echo:#}");
    assert_eq!(process["args"][2], "two words");
    assert_eq!(process["args"][3].as_str().map(str::len), Some(1023), "a long argument is cut");
    assert_eq!(process["args_cut"], true, "and the record says so");
    assert_eq!((&process["cwd"], &process["uid"]), (&Value::from("/tmp"), &Value::from(65_534)));
    assert!(process["ppid"].as_u64() > Some(0));
    let exits = of(&events, "exit");
    assert!(exits.iter().any(|event| event["process"]["exit_code"] == 3), "{exits:#?}");
    assert!(!of(&events, "fork").is_empty());
    assert!(
        events
            .iter()
            .filter(|event| event["kind"] == "activity")
            .all(|event| event["session"].is_string())
    );
    Ok(())
}

#[test]
fn activity_is_seen_while_following_and_stays_out_of_the_log() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let mut follower = Command::new("agentguard")
        .args(["events", "--follow", "--json", "--activity"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(
        follower.stdout.take().ok_or("no output")?,
    ));
    // The first line is kept from the daemon's start: the follower is connected.
    lines.next().ok_or("nothing to follow")??;
    guard.run("coder", &["/bin/true"]).status()?;
    let mut actions = Vec::new();
    for line in lines {
        let event: Value = serde_json::from_str(&line?)?;
        let action = event["action"].as_str().unwrap_or_default().to_owned();
        let end = action == "session.end";
        // What the daemon has said of policies is no session's.
        if event["session"].is_string() {
            actions.push(action);
        }
        if end {
            break;
        }
    }
    follower.kill()?;
    follower.wait()?;
    assert_eq!(actions, ["session.start", "exec", "exit", "session.end"]);
    assert!(guard.events()?.iter().all(|event| event["kind"] != "activity"));
    Ok(())
}

#[test]
fn every_line_begins_with_the_fields_that_people_filter_by() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    guard.run("coder", &[attempt_path().as_str(), "connect", "127.0.0.1:1"]).status()?;
    guard.decisions()?;
    let text = std::fs::read_to_string(guard.log())?;
    assert!(text.lines().count() >= 4);
    for line in text.lines() {
        let mut at = 0;
        for field in ["timestamp", "agent_role", "action", "resource", "outcome", "confidence"] {
            let found = line.find(&format!("\"{field}\":")).ok_or("a field is missing")?;
            assert!(found >= at, "{field} out of order: {line}");
            at = found;
        }
    }
    Ok(())
}
