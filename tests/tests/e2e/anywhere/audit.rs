//! The audit log of a real daemon: whole after sessions, kills and restarts, and found out
//! when somebody changes it. And secrets of real commands, that reach no log.

use agentguard_tests::guard::{Guard, agentguard, lines};
use agentguard_tests::{Outcome, in_vm};

use crate::CODER;

#[test]
fn the_audit_log_verifies_after_sessions_and_a_killed_daemon() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let mut guard = Guard::start(&[CODER])?;
    guard.attempt("coder", "connect 127.0.0.1:9")?;
    guard.kill_daemon()?;
    guard.restart()?;
    guard.attempt("coder", "connect 127.0.0.1:9")?;
    guard.decisions()?;
    guard.stop_daemon()?;
    let path = guard.log().with_file_name("audit.jsonl").display().to_string();
    let verify = ["audit", "verify", &path, "--key", "/var/lib/agentguard/audit.pub"];
    let whole = agentguard(&verify)?;
    let said = lines(&whole).join("\n");
    assert!(whole.status.success(), "{said}");
    assert!(said.contains("the checkpoint of a daemon that stopped"), "{said}");
    let text = std::fs::read_to_string(&path)?;
    let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!(count("\"outcome\":\"denied\""), 2, "each denial once: {text}");
    assert_eq!(count("\"action\":\"session.start\""), 2);
    assert_eq!(count("\"action\":\"policy.load\""), 2, "one for each start");
    // Somebody takes a denial out.
    let at = text.lines().position(|line| line.contains("\"denied\"")).ok_or("no denial")?;
    let left: Vec<_> = text.lines().enumerate().filter(|(line, _)| *line != at).collect();
    let left: String = left.iter().map(|(_, line)| format!("{line}\n")).collect();
    std::fs::write(&path, left)?;
    let changed = agentguard(&verify)?;
    let said = lines(&changed).join("\n");
    assert_eq!(changed.status.code(), Some(82), "{said}");
    assert!(said.contains(&format!("audit.jsonl:{}: removed", at + 1)), "{said}");
    Ok(())
}

#[test]
fn secrets_among_arguments_reach_no_log() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    const SECRET: &str = "ghp_abcdefghij0123456789ABCDEFGHIJ012345";
    let mut guard = Guard::start_with(&[CODER], &["--log-activity"])?;
    let script = format!("env TOKEN=hunter2 true; echo {SECRET}; /bin/true --password hunter2");
    let ran = guard.run("coder", &["bash", "-c", &script]).output()?;
    assert!(ran.status.success(), "{ran:?}");
    guard.wait_for("exec", |event| {
        event["process"]["args"].to_string().contains("[redacted:password]")
    })?;
    guard.decisions()?;
    guard.stop_daemon()?;
    let directory = guard.log().parent().ok_or("no directory")?;
    for name in ["events.jsonl", "audit.jsonl"] {
        let text = std::fs::read_to_string(directory.join(name))?;
        assert!(!text.contains(SECRET) && !text.contains("hunter2"), "{name}: {text}");
        assert!(text.contains("[redacted:github-token]"), "{name}: {text}");
    }
    Ok(())
}
