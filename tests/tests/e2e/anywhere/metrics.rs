//! Metrics of a real daemon. Prometheus and the dashboard are tried outside of the VM, where
//! a scrape takes no seconds.

use std::net::SocketAddr;
use std::process::Command;

use agentguard_tests::guard::{Guard, agentguard};
use agentguard_tests::prometheus::{check_metrics, get};
use agentguard_tests::{Outcome, in_vm, net};

use crate::CODER;

/// Where the daemon of these tests serves.
const ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 9477);

/// Refuses nothing, and says what it would refuse.
const WATCHED: &str = "\
version: 1
agent: watched
mode: observe
limits: { memory: 512MiB, pids: 256 }
egress:
  rules:
    - allow: 10.77.0.2
";

#[test]
fn what_happens_is_in_the_metrics() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    net::outside()?;
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("agentguard.yaml");
    std::fs::write(&config, "metrics:\n  listen: 127.0.0.1:9477\n  program_stats: true\n")?;
    let config = config.display().to_string();
    assert!(agentguard(&["config", "check", &config])?.status.success());
    let guard = Guard::start_with(&[CODER, WATCHED], &["--config", &config])?;
    guard.attempt("coder", "connect 10.77.0.3:443")?;
    guard.decisions()?;

    let curl = Command::new("curl").args(["-sS", "http://127.0.0.1:9477/metrics"]).output()?;
    let text = String::from_utf8(curl.stdout)?;
    let denied = "agentguard_decisions_total{action=\"connect\",agent=\"coder\",outcome=\"denied\",reason=\"default\"} 1";
    assert!(text.lines().any(|line| line == denied), "{text}");
    let ran = |program: &str| {
        let begin = format!("agentguard_program_runs_total{{program=\"{program}\"}} ");
        let count = text.lines().find_map(|line| line.strip_prefix(&begin)?.parse::<u64>().ok());
        count.unwrap_or(0)
    };
    assert!(ran("socket_connect") > 0 && ran("task_alloc") > 0, "{text}");
    check_metrics(&text)?;
    let address = SocketAddr::from(ADDRESS);
    assert_eq!(get(address, "/healthz")?, (200, "ok\n".into()));
    // A session cannot read them: loopback is not free.
    assert_eq!(guard.attempt("coder", "connect 127.0.0.1:9477")?, ["connect 127.0.0.1:9477 EPERM"]);

    // Something to see: a session with limits that goes on, and enough refusals for a finding.
    let mut sleeper = guard.run("watched", &["sleep", "1000"]).spawn()?;
    guard.attempt("coder", &["connect 10.77.0.3:443"; 25].join(" "))?;
    guard.wait_for("finding", |event| event["kind"] == "finding")?;
    let (_, text) = get(address, "/metrics")?;
    assert!(text.contains("agentguard_findings_total{agent=\"coder\""), "{text}");
    sleeper.kill()?;
    sleeper.wait()?;
    Ok(())
}
