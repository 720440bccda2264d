//! Wrong input, and a host that lacks something: a clear message, a code of its
//! own, nothing half done.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Command;

use agentguard_tests::guard::{Guard, agentguard, as_nobody, attempt_words};
use agentguard_tests::{Outcome, in_vm};

use crate::{CODER, denied};

#[test]
fn commands_that_need_root_or_a_daemon_say_so() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    for words in [&["daemon"][..], &["doctor"], &["unload"], &["load"]] {
        let output = as_nobody(Command::new("agentguard").args(words)).output()?;
        assert_eq!(output.status.code(), Some(67), "{words:?}: {output:?}");
    }
    for words in
        [&["ps"][..], &["kill", "x"], &["events"], &["run", "--agent", "coder", "--", "true"]]
    {
        let output = agentguard(words)?;
        assert_eq!(output.status.code(), Some(69), "{words:?}: {output:?}");
        assert!(String::from_utf8(output.stderr)?.contains("start it"));
    }
    assert_eq!(agentguard(&["no-such-command"])?.status.code(), Some(2));
    assert_eq!(agentguard(&["run", "--agent", "coder"])?.status.code(), Some(2));
    Ok(())
}

#[test]
fn a_session_that_is_not_there_has_its_code() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let _guard = Guard::start(&[CODER])?;
    for id in ["nosuch", ""] {
        let output = agentguard(&["kill", id])?;
        assert_eq!(output.status.code(), Some(66), "{output:?}");
    }
    Ok(())
}

#[test]
fn another_users_session_is_not_theirs_to_see_or_kill() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let mut agent = agentguard_tests::guard::Waiting::start(
        guard.run("coder", &attempt_words("wait-for-line")),
    )?;
    let id = agentguard_tests::guard::sessions()?[0]["id"].as_str().unwrap_or_default().to_owned();
    let ps = as_nobody(Command::new("agentguard").args(["ps", "--json"])).output()?;
    assert_eq!((ps.status.code(), ps.stdout.len()), (Some(0), 0));
    let kill = as_nobody(Command::new("agentguard").args(["kill", &id])).output()?;
    assert_eq!(kill.status.code(), Some(68));
    agent.go()?;
    agent.rest()?;
    Ok(())
}

#[test]
fn a_full_disk_under_the_log_changes_no_verdict() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let none: Option<&str> = None;
    std::fs::create_dir_all("/tmp/full")?;
    nix::mount::mount(
        none,
        "/tmp/full",
        Some("tmpfs"),
        nix::mount::MsFlags::empty(),
        Some("size=64k"),
    )?;
    let done = full_disk();
    nix::mount::umount2("/tmp/full", nix::mount::MntFlags::MNT_DETACH)?;
    done
}

fn full_disk() -> Outcome {
    let guard = Guard::start_logging_to(&[CODER], "/tmp/full/events.jsonl")?;
    std::fs::write("/tmp/full/filler", vec![0; 40 << 10])?;
    let _ = std::fs::write("/tmp/full/more", vec![0; 40 << 10]);
    let script =
        format!("for n in $(seq 200); do {}; done", attempt_words("connect 127.0.0.1:9").join(" "));
    let output = guard.run("coder", &["bash", "-c", &script]).output()?;
    let text = String::from_utf8(output.stdout)?;
    assert_eq!(text.matches("EPERM").count(), 200, "verdicts stand");
    std::fs::remove_file("/tmp/full/filler")?;
    std::fs::remove_file("/tmp/full/more")?;
    std::thread::sleep(std::time::Duration::from_secs(3));
    let log = std::fs::read_to_string("/tmp/full/events.jsonl")?;
    assert!(log.contains("\"log.lost\""), "the loss is counted in the log: {log}");
    Ok(())
}

#[test]
fn malformed_requests_do_no_harm() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let long = vec![b'a'; 2 << 20];
    for request in [
        &b"\n"[..],
        b"{}\n",
        b"\xff\xfe\n",
        b"{\"op\":\"enrol\"}\n",
        b"{\"op\":\"fate\"}\n",
        b"[[[[[[",
        &long,
    ] {
        let mut socket = UnixStream::connect("/run/agentguard/agentguard.sock")?;
        let _ = socket.write_all(request);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let _ = socket.read_to_end(&mut Vec::new());
    }
    // A session that is begun and then left alone goes with its connection.
    let mut socket = UnixStream::connect("/run/agentguard/agentguard.sock")?;
    socket.write_all(b"{\"op\":\"run\",\"agent\":\"coder\",\"workspace\":\"/\",\"command\":[],\"traceparent\":null}\n")?;
    let mut answer = [0; 256];
    assert!(socket.read(&mut answer)? > 0);
    drop(socket);
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(agentguard_tests::guard::sessions()?.len(), 0);
    assert_eq!(guard.attempt("coder", "connect 127.0.0.1:9")?, ["connect 127.0.0.1:9 EPERM"]);
    assert_eq!(denied(&guard.decisions()?).len(), 1);
    Ok(())
}
