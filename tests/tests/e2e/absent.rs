//! What is tried where no program of ours is in the kernel. The module's name puts it before
//! the others, which leave the programs loaded for each other: loading takes half a minute.

use std::path::Path;

use agentguard_tests::guard::{Guard, agentguard, clean, daemon_command};
use agentguard_tests::{Outcome, in_vm};

use crate::CODER;

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
fn a_match_that_can_never_hold_is_an_error() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    clean()?;
    let directory = tempfile::tempdir()?;
    let text = CODER.replace("egress:", "match:\n  - user: no-such-user\negress:");
    std::fs::write(directory.path().join("coder.yaml"), text)?;
    let path = directory.path().display().to_string();
    let output = agentguard(&["daemon", "--policies", &path, "--log", "/tmp/adopted.jsonl"])?;
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    assert!(String::from_utf8(output.stderr)?.contains("no-such-user"));
    assert!(!std::path::Path::new("/sys/fs/bpf/agentguard").exists());
    Ok(())
}

#[test]
fn doctor_proves_every_mechanism() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    clean()?;
    let without = agentguard(&["doctor", "--json"])?;
    assert!(without.status.success(), "{without:?}");
    let guard = Guard::start(&[CODER])?;
    let with = agentguard(&["doctor", "--json"])?;
    assert!(with.status.success(), "{with:?}");
    for output in [without, with] {
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let trials = report["trials"].as_array().ok_or("no trials")?;
        assert_eq!(trials.len(), 17);
        assert!(trials.iter().all(|trial| trial["outcome"] == "enforced"), "{report:#}");
        assert!(report["names"]["resolvers"][0]["address"].is_string(), "{report:#}");
    }
    assert_eq!(guard.decisions()?.len(), 0, "a trial is no decision");
    Ok(())
}
