//! From the event to the receiver, with the fake server in its place.

use std::path::Path;
use std::time::Instant;

use super::*;
use crate::config::Settings;
use crate::event::Outcome;
use crate::sink::delivery::fake::{Fake, Reply, Seen};
use crate::sink::sample;

/// One sink, from a configuration as a person would write it.
fn alerts(spool: &Path, to: &str) -> Alerts {
    let text = format!(
        "alerts:\n- name: test\n  min_severity: low\n  quiet: 1h\n  hold: 100ms\n  spool: {{directory: '{}'}}\n  to: {to}\n",
        spool.display()
    );
    let settings = Settings::parse("f".as_ref(), text.as_bytes()).unwrap();
    Alerts::new(&settings.alerts.0[0]).unwrap()
}

fn http(fake: &Fake) -> String {
    format!("{{http: {{url: '{}'}}}}", fake.url("/"))
}

struct Running {
    events: mpsc::Sender<Arc<Event>>,
    health: Arc<Health>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(alerts: Alerts) -> Self {
        let (events, receiver) = mpsc::channel(64);
        let health = Arc::new(Health::new("test"));
        let task = tokio::spawn(alerts.run(receiver, Arc::clone(&health)));
        Self { events, health, task }
    }

    async fn offer(&self, event: Event) {
        if wants(&event) {
            self.health.add_offered(1);
            self.events.send(Arc::new(event)).await.unwrap();
        }
    }

    async fn stop(self) -> Arc<Health> {
        drop(self.events);
        self.task.await.unwrap();
        self.health
    }

    async fn errors(&self, count: u64) {
        let begun = Instant::now();
        while self.health.errors() < count {
            assert!(begun.elapsed() < Duration::from_secs(30));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn statuses(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(|seen| seen.json()["status"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_alert_is_told_once_and_told_to_be_over() {
    let (fake, spool) = (Fake::start([]).await, tempfile::tempdir().unwrap());
    let running = Running::start(alerts(spool.path(), &http(&fake)));
    for _ in 0..3 {
        running.offer(sample::lifecycle("session.kill")).await;
        running.offer(sample::denied()).await;
    }
    fake.wait(1).await;
    running.offer(sample::lifecycle("session.end")).await;
    let seen = fake.wait(2).await;
    assert_eq!(statuses(&seen), ["firing", "resolved"]);
    assert_eq!(seen[0].json()["key"], seen[1].json()["key"]);
    assert_eq!(seen[1].json()["count"], 3);
    let health = running.stop().await;
    let books = (health.offered(), health.written(), health.sampled(), health.lost());
    assert_eq!(books, (4, 1, 3, 0));
}

#[tokio::test]
async fn an_outage_delays_alerts_and_loses_none() {
    let fake = Fake::start([Reply::status(503), Reply::status(503)]).await;
    let spool = tempfile::tempdir().unwrap();
    let running = Running::start(alerts(spool.path(), &http(&fake)));
    running.offer(sample::lifecycle("session.kill")).await;
    running.offer(Event { session: None, ..sample::lifecycle("daemon.stop") }).await;
    let seen = fake.wait(4).await;
    let rules: Vec<_> = seen.iter().map(|seen| seen.json()["rule"].clone()).collect();
    assert_eq!(rules, ["session.kill", "session.kill", "session.kill", "daemon.stop"]);
    let health = running.stop().await;
    assert_eq!((health.written(), health.lost(), health.errors()), (2, 0, 2));
}

#[tokio::test]
async fn what_could_not_be_told_is_told_by_the_next_daemon_and_over_there_too() {
    let spool = tempfile::tempdir().unwrap();
    // Nobody listens there.
    let running = Running::start(alerts(spool.path(), "{http: {url: 'http://127.0.0.1:1/'}}"));
    running.offer(sample::lifecycle("session.kill")).await;
    running.errors(1).await;
    // As it is after the alert was remembered; before, it would be told twice.
    tokio::time::sleep(Duration::from_millis(200)).await;
    running.task.abort();
    let fake = Fake::start([]).await;
    let running = Running::start(alerts(spool.path(), &http(&fake)));
    assert_eq!(statuses(&fake.wait(1).await), ["firing"]);
    running.offer(sample::lifecycle("session.kill")).await;
    running.offer(sample::lifecycle("session.end")).await;
    let seen = fake.wait(2).await;
    assert_eq!(statuses(&seen), ["firing", "resolved"], "not told again: it was known");
    let health = running.stop().await;
    let books = (health.offered(), health.written(), health.sampled(), health.lost());
    assert_eq!(books, (3, 1, 2, 0), "the one of the earlier daemon among them");
}

#[tokio::test]
async fn what_was_remembered_and_not_queued_is_told_at_the_start() {
    let (fake, spool) = (Fake::start([]).await, tempfile::tempdir().unwrap());
    let sink = alerts(spool.path(), &http(&fake));
    let mut killed = Tracker::new(sink.rules, tracker::Memory::default());
    killed.take(alert::signal(&sample::lifecycle("session.kill")).unwrap(), now());
    std::fs::create_dir_all(&sink.directory).unwrap();
    memory::write(&sink.directory.join("open.json"), &killed.memory()).await.unwrap();
    let running = Running::start(sink);
    assert_eq!(statuses(&fake.wait(1).await), ["firing"]);
    let health = running.stop().await;
    assert_eq!((health.offered(), health.written()), (0, 0), "it was an earlier daemon's event");
}

#[tokio::test]
async fn alertmanager_is_reminded_of_open_alerts() {
    let (fake, spool) = (Fake::start([]).await, tempfile::tempdir().unwrap());
    let to = format!("{{alertmanager: {{url: '{}'}}}}", fake.url(""));
    let sink = Alerts { remind: Duration::from_millis(1), ..alerts(spool.path(), &to) };
    let running = Running::start(sink);
    running.offer(sample::lifecycle("session.kill")).await;
    let seen = fake.wait(2).await;
    assert_eq!(seen[0].json()[0]["labels"], seen[1].json()[0]["labels"]);
    assert_eq!(running.stop().await.written(), 1, "reminders are no events");
}

#[tokio::test]
async fn what_is_refused_for_good_is_lost_and_said() {
    let fake = Fake::start([Reply { body: "bad dedup_key".into(), ..Reply::status(400) }]).await;
    let spool = tempfile::tempdir().unwrap();
    let running = Running::start(alerts(spool.path(), &http(&fake)));
    let failed = Event { outcome: Outcome::Failure, ..sample::lifecycle("log.lost") };
    running.offer(failed).await;
    running.offer(sample::lifecycle("session.kill")).await;
    fake.wait(2).await;
    let health = running.stop().await;
    assert_eq!((health.written(), health.lost()), (1, 1));
    assert!(health.last_error().unwrap().contains("bad dedup_key"));
}
