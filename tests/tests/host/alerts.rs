//! Alerts at Debian's Alertmanager, and events at Debian's rsyslog. The sinks are those
//! of the daemon; what feeds them is the test, because a daemon needs a kernel with
//! BPF LSM.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use agentguard::config::Settings;
use agentguard::event::{Enricher, Event, Outcome as What};
use agentguard::sink::{Health, Hub, start};
use agentguard_tests::Outcome;
use agentguard_tests::peer::{Alertmanager, Listen, Rsyslog, free_address, until};

type Error = Box<dyn std::error::Error>;

fn hub(text: &str) -> Result<Hub, Error> {
    let settings = Settings::parse(Path::new("agentguard.yaml"), text.as_bytes())?;
    // The daemon's memory is another sink's.
    Ok(start(&settings, Path::new("/nonexistent"))?)
}

fn health(hub: &Hub, name: &str) -> Result<Arc<Health>, Error> {
    let found = hub.healths().into_iter().find(|health| health.name() == name);
    Ok(found.ok_or("no such sink")?)
}

fn event(session: &str, action: &'static str, message: &str) -> Arc<Event> {
    let made = Enricher::new().lifecycle(
        action,
        None,
        "sleep 100".into(),
        What::Success,
        Some(message.into()),
    );
    Arc::new(Event { session: Some(session.into()), agent_role: "coder".into(), ..made })
}

#[test]
fn alertmanager_has_an_alert_until_it_is_over_also_after_an_outage() -> Outcome {
    let (address, spool) = (free_address()?, tempfile::tempdir()?);
    let mut hub = hub(&format!(
        "alerts:\n- name: am\n  hold: 1s\n  spool: {{directory: '{}'}}\n  to: {{alertmanager: {{url: 'http://{address}', labels: {{team: sec}}}}}}\n",
        spool.path().display()
    ))?;
    let books = health(&hub, "alerts/am")?;
    let alertmanager = Alertmanager::start(address)?;
    hub.offer(&event("one", "session.kill", "killed by user 0"));
    until("the alert is there", || Ok(alertmanager.alerts()?.len() == 1))?;
    let alert = alertmanager.alerts()?.remove(0);
    assert_eq!(alert["labels"]["alertname"], "session.kill");
    assert_eq!(alert["labels"]["severity"], "high");
    assert_eq!(alert["labels"]["session"], "one");
    assert_eq!(alert["labels"]["team"], "sec");
    let summary = alert["annotations"]["summary"].as_str().unwrap_or_default();
    assert!(summary.starts_with("session.kill: killed by user 0"), "{summary}");
    hub.offer(&event("one", "session.end", ""));
    until("the alert is over", || Ok(alertmanager.alerts()?.is_empty()))?;

    drop(alertmanager);
    hub.offer(&event("two", "session.kill", "killed by user 0"));
    until("it fails", || Ok(books.errors() > 0))?;
    let alertmanager = Alertmanager::start(address)?;
    until("the alert arrives late", || Ok(alertmanager.alerts()?.len() == 1))?;
    assert_eq!(alertmanager.alerts()?[0]["labels"]["session"], "two");
    hub.stop();
    assert_eq!((books.written(), books.lost()), (2, 0));
    Ok(())
}

/// Sends two events and compares what rsyslog understood.
fn rsyslog(address: SocketAddr, listen: &Listen<'_>, to: &str, more: &str) -> Outcome {
    let rsyslog = Rsyslog::start(address, listen)?;
    let spool = tempfile::tempdir()?;
    let mut hub = hub(&format!(
        "export:\n- name: syslog\n  to: {{syslog: {{{to}}}}}\n  spool: {{directory: '{}'}}\n{more}",
        spool.path().display()
    ))?;
    let first = event("one", "session.start", "a=b | c\\d\nnext");
    hub.offer(&first);
    hub.offer(&event("one", "session.kill", "killed by user 0"));
    until("both are there", || Ok(rsyslog.messages()?.len() == 2))?;
    hub.stop();
    let messages = rsyslog.messages()?;
    let [priority, time, host, program, id, text] = messages[0].as_slice() else {
        return Err(format!("{messages:?}").into());
    };
    // The facility is 13; the severities are informational and error.
    assert_eq!((priority.as_str(), messages[1][0].as_str()), ("110", "107"));
    assert_eq!(time.get(..23), first.timestamp.get(..23));
    assert_eq!(host.as_str(), first.host.as_ref());
    assert_eq!((program.as_str(), id.as_str()), ("agentguard", "session.start"));
    assert!(text.trim_start().starts_with("CEF:0|agentguard|agentguard|"), "{text}");
    assert!(text.contains("sleep 100: a\\=b | c\\\\d next"), "{text}");
    Ok(())
}

#[test]
fn rsyslog_understands_cef_over_tcp() -> Outcome {
    let address = free_address()?;
    rsyslog(address, &Listen::Plain, &format!("address: '{address}', transport: tcp"), "")
}

#[test]
fn rsyslog_understands_cef_over_udp() -> Outcome {
    let address = free_address()?;
    rsyslog(address, &Listen::Plain, &format!("address: '{address}', transport: udp"), "")
}

#[test]
fn rsyslog_understands_cef_over_tls() -> Outcome {
    let (address, directory) = (free_address()?, tempfile::tempdir()?);
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let certificate = directory.path().join("certificate.pem");
    let key = directory.path().join("key.pem");
    std::fs::write(&certificate, made.cert.pem())?;
    std::fs::write(&key, made.signing_key.serialize_pem())?;
    let to = format!("address: 'localhost:{}'", address.port());
    let more = format!("  tls: {{ca: '{}'}}\n", certificate.display());
    rsyslog(address, &Listen::Tls(&certificate, &key), &to, &more)
}
