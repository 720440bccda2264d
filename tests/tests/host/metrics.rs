//! The metrics endpoint against Debian's Prometheus and promtool. This is the endpoint
//! with a hub that the test feeds, and with real kernel tables that no program uses: a
//! daemon needs a kernel with BPF LSM. The end-to-end test `metrics` tries the same with
//! a real one.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use agentguard::event::{Class, Enricher, Event, FindingInfo, Outcome as What, Severity};
use agentguard::kernel::Tables;
use agentguard::policy::Limits;
use agentguard::session::{Cgroup, Phase};
use agentguard::sink::{
    Endpoint, Health, Hub, Metrics, PolicyRow, Read, SessionRow, Spec, register_kernel,
    serve_metrics,
};
use agentguard_tests::Outcome;
use agentguard_tests::prometheus::{Prometheus, check_metrics, get, shipped};

/// What stands in for a daemon.
struct Fed {
    hub: Hub,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    enricher: Enricher,
    address: SocketAddr,
    /// What would be a session's cgroup.
    cgroup: tempfile::TempDir,
}

impl Fed {
    /// `None` where this machine does not let us make kernel tables.
    fn start() -> Result<Option<Self>, Box<dyn std::error::Error>> {
        let tables = match Tables::without_programs() {
            Ok(tables) => Arc::new(tables),
            Err(error) => {
                eprintln!("skipped: needs root, and a build with the kernel programs: {error}");
                return Ok(None);
            }
        };
        let mut hub = Hub::default();
        let metrics = Metrics::new(hub.books())?;
        hub.measure(Arc::clone(&metrics));
        register_kernel(&metrics, tables, None)?;
        // No program runs here, so their times are made up; the end-to-end test has real ones.
        let runs = Spec::counter("agentguard_program_runs_total", &["program"], "Made up.");
        let time = Spec::counter("agentguard_program_run_seconds_total", &["program"], "Made up.");
        let begun = std::time::Instant::now();
        let made_up = Read::new(&[], move |sheet| {
            sheet.put(runs, &["file_open"], begun.elapsed().as_secs_f64() * 1e4);
            sheet.put(time, &["file_open"], begun.elapsed().as_secs_f64() / 1e3);
        })?;
        metrics.register(Box::new(made_up))?;
        let health = hub.health("test");
        let endpoint = Endpoint::bind(([127, 0, 0, 1], 0).into())?;
        let address = endpoint.address()?;
        serve_metrics(&mut hub, endpoint, Arc::clone(&metrics))?;
        let cgroup = tempfile::tempdir()?;
        std::fs::write(cgroup.path().join("memory.current"), "65536\n")?;
        let mut fed = Self { hub, metrics, health, enricher: Enricher::new(), address, cgroup };
        fed.live();
        Ok(Some(fed))
    }

    fn offer(&mut self, kind: Class, action: &'static str, outcome: What, reason: &'static str) {
        let made = self.enricher.lifecycle(action, None, "x".into(), outcome, None);
        let finding = (kind == Class::Finding).then(|| FindingInfo {
            rule: "probing".into(),
            evidence: Vec::new(),
            severity: Severity::High,
        });
        let (reason, agent_role) = (Some(reason), "coder".into());
        self.hub.offer(&Arc::new(Event { kind, agent_role, reason, finding, ..made }));
        self.metrics.published(kind, Duration::from_micros(80));
        self.health.add_offered(1);
        self.health.add_written(1);
        self.health.took(Duration::from_micros(20));
    }

    /// A moment of a daemon's life.
    fn live(&mut self) {
        self.offer(Class::Decision, "connect", What::Denied, "default");
        self.offer(Class::Decision, "connect", What::Allowed, "rule");
        self.offer(Class::Decision, "connect", What::WouldDeny, "default");
        self.offer(Class::Activity, "exec", What::Allowed, "rule");
        self.offer(Class::Finding, "finding", What::Success, "rule");
        self.offer(Class::Lifecycle, "session.start", What::Success, "rule");
        let session = SessionRow {
            slot: 0,
            agent: "coder".into(),
            state: Phase::Running,
            slowed: false,
            cgroup: Some(Cgroup::at(self.cgroup.path().into())),
            limits: Limits { memory: Some(1 << 20), ..Limits::default() },
        };
        let policy = PolicyRow { agent: "coder".into(), mode: "enforce", hash: "ab12".into() };
        self.metrics.overview().set(vec![session], [policy].into());
    }
}

#[test]
fn promtool_finds_nothing_to_say_of_the_metrics() -> Outcome {
    let Some(fed) = Fed::start()? else { return Ok(()) };
    let (status, text) = get(fed.address, "/metrics")?;
    assert_eq!(status, 200);
    assert!(text.contains("agentguard_kernel_records_seen_total{kind=\"connect\"} 0"), "{text}");
    assert!(text.contains("agentguard_map_max_entries{map=\"EGRESS\"}"), "{text}");
    check_metrics(&text)?;
    let wrong = check_metrics("# TYPE agentguard_x counter\nagentguard_x 1\n");
    assert!(wrong.is_err(), "promtool would say so if there were something");
    Ok(())
}

#[test]
fn the_alert_rules_do_what_their_tests_say() -> Outcome {
    let tests = shipped("alerts/agentguard.rules.test.yml");
    let output = Command::new("promtool").args(["test", "rules"]).arg(tests).output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

#[test]
fn every_panel_of_the_dashboard_has_data_from_a_live_prometheus() -> Outcome {
    let Some(mut fed) = Fed::start()? else { return Ok(()) };
    let prometheus = Prometheus::start(fed.address, Duration::from_millis(500))?;
    prometheus.fill_dashboard(|| {
        fed.live();
        std::thread::sleep(Duration::from_millis(200));
        Ok(())
    })?;
    assert_eq!(prometheus.values("up")?, [1.0]);
    assert!(prometheus.values("no_such_metric")?.is_empty());
    Ok(())
}

/// What is counted and what is described are the same.
#[test]
fn the_documentation_has_every_metric_and_no_other() -> Outcome {
    let Some(fed) = Fed::start()? else { return Ok(()) };
    let (_, text) = get(fed.address, "/metrics")?;
    let served = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let served: std::collections::BTreeSet<&str> = served.collect();
    let page = std::fs::read_to_string(shipped("metrics.md"))?;
    let row = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    let name = |found: &String| found.starts_with("agentguard_") || found.starts_with("process_");
    let described: std::collections::BTreeSet<String> =
        page.lines().filter_map(row).filter(name).collect();
    let described: std::collections::BTreeSet<&str> =
        described.iter().map(String::as_str).collect();
    assert_eq!(described, served);
    Ok(())
}
