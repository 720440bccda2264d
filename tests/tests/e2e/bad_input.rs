//! Wrong input, and a host that lacks something: a clear message, a code of its
//! own, nothing half done.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use agentguard_tests::guard::{Guard, agentguard, as_nobody, attempt_words, clean, daemon_command};
use agentguard_tests::{Outcome, in_vm};

use crate::{CODER, denied};

#[test]
fn a_daemon_with_a_bad_policy_does_not_start_and_loads_nothing() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    clean()?;
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("log/events.jsonl");
    let bad = [
        ("version: 1\nagent: [", ":2:"),
        (
            "version: 1\nagent: coder\nsecrets: /srv/key\negress: { default: ask }\n",
            "not supported yet",
        ),
        ("version: 1\nagent: coder\negres: {}\n", "egress"),
        ("version: 1\nagent: coder\negress:\n  rules:\n    - allow: 10.1.2.3/16\n", "10.1.0.0/16"),
        (
            "version: 1\nagent: coder\negress:\n  rules:\n    - allow: 10.1.2.3\n    - allow: 10.1.2.3\n",
            ":6:",
        ),
        ("version: 1\nagent: coder\negress:\n  rules:\n    - allow: []\n", ":5:"),
    ];
    for (text, told) in bad {
        std::fs::write(directory.path().join("coder.yaml"), text)?;
        let output = daemon_command(directory.path(), &log).output()?;
        let message = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(64), "{text}: {message}");
        assert!(message.contains("coder.yaml:") && message.contains(told), "{text}: {message}");
        let check = agentguard(&["policy", "check", &directory.path().display().to_string()])?;
        assert_eq!(check.status.code(), Some(64));
    }
    assert!(!Path::new("/sys/fs/bpf/agentguard").exists());
    assert!(!log.exists());
    Ok(())
}

#[test]
fn a_kernel_without_type_information_is_told_and_nothing_stays() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    clean()?;
    let directory = tempfile::tempdir()?;
    let none: Option<&str> = None;
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(none, "/sys/kernel/btf", Some("tmpfs"), flags, none)?;
    let daemon = daemon_command(directory.path(), &directory.path().join("log")).output();
    let doctor = agentguard(&["doctor"]);
    nix::mount::umount2("/sys/kernel/btf", nix::mount::MntFlags::empty())?;
    for output in [daemon?, doctor?] {
        assert_eq!(output.status.code(), Some(71), "{output:?}");
    }
    assert!(!Path::new("/sys/fs/bpf/agentguard").exists());
    Ok(())
}

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
fn a_log_that_cannot_be_opened_keeps_the_daemon_from_starting() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    clean()?;
    let directory = tempfile::tempdir()?;
    let output = daemon_command(directory.path(), Path::new("/proc/nowhere/log")).output()?;
    assert_eq!(output.status.code(), Some(73), "{output:?}");
    assert!(!Path::new("/sys/fs/bpf/agentguard").exists());
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
