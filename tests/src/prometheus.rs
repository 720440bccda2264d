//! Debian's Prometheus beside a daemon or a part of one: scrapes it, and answers every
//! question that the dashboard asks.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Outcome;
use crate::guard::PATIENCE;

/// A file of `docs/`.
#[must_use]
pub fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(path)
}

/// What an HTTP server answers to a GET: status and body.
///
/// # Errors
///
/// Where it does not answer.
pub fn get(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // By 1.0 the answer comes as it is, and ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or(io::ErrorKind::InvalidData)?, body.to_owned()))
}

/// Has promtool look at what an endpoint says.
///
/// # Errors
///
/// With what promtool objects to.
pub fn check_metrics(text: &str) -> Outcome {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    promtool.stdin.take().ok_or("promtool has no input")?.write_all(text.as_bytes())?;
    let output = promtool.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    if output.status.success() && said.is_empty() {
        return Ok(());
    }
    Err(format!("promtool check metrics: {}", String::from_utf8_lossy(&said)).into())
}

/// Prometheus, scraping one address. Dropping it ends it.
pub struct Prometheus {
    process: Child,
    address: SocketAddr,
    window: Duration,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    /// Starts it with the shipped alert rules. It scrapes once in `every`; rates are
    /// taken over some times that.
    ///
    /// # Errors
    ///
    /// Where it does not get ready.
    pub fn start(target: SocketAddr, every: Duration) -> Result<Self, Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let rules = shipped("alerts/agentguard.rules.yml").canonicalize()?;
        let config = directory.path().join("prometheus.yml");
        let (every_ms, rules) = (every.as_millis(), rules.display());
        let text = [
            "global:".to_owned(),
            format!("  scrape_interval: {every_ms}ms"),
            format!("  scrape_timeout: {every_ms}ms"),
            "  evaluation_interval: 1s".to_owned(),
            format!("rule_files: ['{rules}']"),
            "scrape_configs:".to_owned(),
            "- job_name: agentguard".to_owned(),
            format!("  static_configs: [{{targets: ['{target}']}}]"),
        ];
        std::fs::write(&config, text.join("\n"))?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .spawn()?;
        let mut this = Self { process, address, window: every * 8, _directory: directory };
        // A big program, and an emulated VM.
        let until = Instant::now() + PATIENCE * 5;
        while !get(address, "/-/ready").is_ok_and(|(status, _)| status == 200) {
            if Instant::now() > until || this.process.try_wait()?.is_some() {
                return Err("Prometheus does not get ready".into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(this)
    }

    /// The values that an expression has now; those that are no number are left out.
    ///
    /// # Errors
    ///
    /// Where Prometheus does not understand it.
    pub fn values(&self, expression: &str) -> Result<Vec<f64>, Box<dyn std::error::Error>> {
        let path = format!("/api/v1/query?query={}", encoded(expression));
        let (status, body) = get(self.address, &path)?;
        if status != 200 {
            return Err(format!("{expression}: {body}").into());
        }
        let answer: Value = serde_json::from_str(&body)?;
        let results = answer["data"]["result"].as_array().ok_or("no result")?;
        let value = |result: &Value| result["value"][1].as_str()?.parse::<f64>().ok();
        Ok(results.iter().filter_map(value).filter(|value| value.is_finite()).collect())
    }

    /// The expression of a panel, with what Grafana would put in for its variables.
    #[must_use]
    pub fn filled(&self, expression: &str) -> String {
        let window = format!("{}ms", self.window.as_millis());
        expression
            .replace("$__rate_interval", &window)
            .replace("$__range", &window)
            .replace("$instance", ".*")
            .replace("$agent", ".*")
    }

    /// Waits until every query of the dashboard has had data, and runs `meanwhile` in
    /// between, so that there is something to see.
    ///
    /// # Errors
    ///
    /// With the panels that had none.
    pub fn fill_dashboard(&self, mut meanwhile: impl FnMut() -> Outcome) -> Outcome {
        let dashboard: Value =
            serde_json::from_str(&std::fs::read_to_string(shipped("dashboards/agentguard.json"))?)?;
        let mut left = queries(&dashboard);
        if left.len() < 30 {
            return Err("that is not the whole dashboard".into());
        }
        let until = Instant::now() + PATIENCE * 6;
        while !left.is_empty() {
            if Instant::now() > until {
                let titles: Vec<String> =
                    left.into_iter().map(|(title, query)| format!("{title}: {query}")).collect();
                return Err(format!("no data for\n{}", titles.join("\n")).into());
            }
            meanwhile()?;
            let mut without = Vec::new();
            for (title, query) in left {
                if self.values(&self.filled(&query))?.is_empty() {
                    without.push((title, query));
                }
            }
            left = without;
        }
        Ok(())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Title and expression of every query of a dashboard, those of its variables too.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let panels = dashboard["panels"].as_array().into_iter().flatten();
    let of_panels = panels.flat_map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(|target| (text(&panel["title"]), text(&target["expr"])))
    });
    let variables = dashboard["templating"]["list"].as_array().into_iter().flatten();
    let of_variables = variables.filter_map(|variable| {
        let asked = variable["definition"].as_str()?.strip_prefix("label_values(")?;
        let (metric, label) = asked.strip_suffix(')')?.rsplit_once(", ")?;
        Some((text(&variable["name"]), format!("count by ({label}) ({metric})")))
    });
    of_panels.chain(of_variables).collect()
}

/// A text as part of an address.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}
