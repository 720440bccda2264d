//! `run` passes everything through.

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use agentguard_tests::guard::{Guard, Waiting, agentguard, as_nobody, attempt_words};
use agentguard_tests::{Outcome, in_vm};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::CODER;

fn shell(guard: &Guard, script: &str) -> std::process::Command {
    guard.run("coder", &["bash", "-c", script])
}

#[test]
fn input_output_and_exit_code() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let mut child = shell(&guard, "cat; echo oops >&2; exit 42")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().ok_or("no stdin")?.write_all(b"in \xff out")?;
    let output = child.wait_with_output()?;
    assert_eq!(
        (output.status.code(), &output.stdout[..], &output.stderr[..]),
        (Some(42), &b"in \xff out"[..], &b"oops\n"[..])
    );
    Ok(())
}

#[test]
fn environment_directory_user_and_groups() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let script = "echo $GIVEN; pwd; id -u; id -g; id -G; ulimit -n; umask; test -n \"$AGENTGUARD_SESSION\" && echo session; cat /proc/self/cgroup";
    let mut direct = std::process::Command::new("bash");
    direct.args(["-c", "ulimit -n; umask"]);
    let direct = String::from_utf8(direct.output()?.stdout)?;
    let mut command = shell(&guard, script);
    let output = as_nobody(command.env("GIVEN", "a b").current_dir("/tmp")).output()?;
    let text = String::from_utf8(output.stdout)?;
    let (head, cgroup) = text.split_once("session\n").ok_or("no session")?;
    assert_eq!(head, format!("a b\n/tmp\n65534\n65534\n65534\n{direct}"), "{:?}", output.stderr);
    assert!(cgroup.contains("/agentguard/"), "{cgroup}");
    Ok(())
}

#[test]
fn traceparent_is_kept_or_made() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let output = shell(&guard, "echo $TRACEPARENT").env("TRACEPARENT", given).output()?;
    assert_eq!(String::from_utf8(output.stdout)?.trim(), given);
    let output = shell(&guard, "echo $TRACEPARENT").env_remove("TRACEPARENT").output()?;
    let made = String::from_utf8(output.stdout)?;
    let starts = guard.wait_for("session.start", |event| event["action"] == "session.start")?;
    assert_eq!(starts[0]["correlation_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(starts[0]["parent_span_id"], "00f067aa0ba902b7");
    assert_eq!(starts[1]["correlation_id"].as_str(), made.get(3..35));
    assert!(starts[1].get("parent_span_id").is_none());
    let (trace, session) = (starts[1]["correlation_id"].as_str(), starts[1]["session"].as_str());
    let span = agentguard::session::session_span_id(trace.ok_or("")?, session.ok_or("")?);
    assert_eq!(made.get(36..52), Some(agentguard::hex(&span).as_str()), "the session's own");
    Ok(())
}

#[test]
fn signals_reach_the_command_and_its_end_is_ours() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let agent = Waiting::start(shell(
        &guard,
        "trap 'echo got; exit 7' USR1; echo waiting; while :; do sleep 0.05; done",
    ))?;
    let pid = Pid::from_raw(i32::try_from(agent.child.id())?);
    kill(pid, Signal::SIGUSR1)?;
    assert_eq!(agent.rest()?, ["got"]);

    let mut agent = Waiting::start(guard.run("coder", &attempt_words("wait-for-line sleep")))?;
    kill(Pid::from_raw(i32::try_from(agent.child.id())?), Signal::SIGTERM)?;
    assert_eq!(agent.child.wait()?.signal(), Some(Signal::SIGTERM as i32));

    let status = guard.run("coder", &attempt_words("raise SIGABRT")).status()?;
    assert_eq!(status.signal(), Some(Signal::SIGABRT as i32));
    let status = guard.run("coder", &attempt_words("raise SIGKILL")).status()?;
    assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "its own doing, not agentguard's");
    Ok(())
}

#[test]
fn a_stopped_command_stops_run_and_goes_on_with_it() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let agent = Waiting::start(shell(&guard, "echo waiting; kill -STOP $$; echo on"))?;
    let pid = i32::try_from(agent.child.id())?;
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat"));
    let stopped =
        |text: &str| text.rsplit(')').next().is_some_and(|rest| rest.trim().starts_with('T'));
    let until = std::time::Instant::now() + agentguard_tests::guard::PATIENCE;
    while !stopped(&state()?) {
        assert!(std::time::Instant::now() < until, "run does not stop");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    kill(Pid::from_raw(pid), Signal::SIGCONT)?;
    assert_eq!(agent.rest()?, ["on"]);
    Ok(())
}

#[test]
fn what_cannot_be_executed_has_its_codes() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    assert_eq!(guard.run("coder", &["no-such-program"]).status()?.code(), Some(127));
    assert_eq!(guard.run("coder", &["/etc/passwd"]).status()?.code(), Some(126));
    assert_eq!(guard.run("coder", &["/etc"]).status()?.code(), Some(126));
    let nobody = agentguard(&["run", "--agent", "nobody", "--", "true"])?;
    assert_eq!(nobody.status.code(), Some(65));
    assert!(String::from_utf8(nobody.stderr)?.contains("declared: coder"));
    // Nothing half done is left behind.
    let decisions = guard.decisions()?;
    assert!(decisions.is_empty(), "{decisions:#?}");
    Ok(())
}
