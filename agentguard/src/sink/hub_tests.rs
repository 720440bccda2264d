//! The hub with sinks that are made for the test: good ones, slow ones, and such as
//! hang, end early or panic.

use std::time::Instant;

use tokio::sync::mpsc::Receiver;

use super::*;
use crate::event::{Enricher, Outcome};

fn event(kind: Class) -> Arc<Event> {
    let made = Enricher::new().lifecycle("test", None, "x".into(), Outcome::Success, None);
    Arc::new(Event { kind, ..made })
}

const fn all(_: &Event) -> bool {
    true
}

fn decisions(event: &Event) -> bool {
    event.kind == Class::Decision
}

async fn count(mut events: Receiver<Arc<Event>>, health: Arc<Health>) {
    while events.recv().await.is_some() {
        health.add_written(1);
    }
}

async fn hang(events: Receiver<Arc<Event>>, _: Arc<Health>) {
    std::future::pending::<()>().await;
    drop(events);
}

#[test]
fn a_sink_gets_what_it_wants_and_drains_when_the_daemon_stops() {
    let mut hub = Hub::default();
    hub.attach("every", all, count).unwrap();
    hub.attach("decisions", decisions, count).unwrap();
    for _ in 0..100 {
        hub.offer(&event(Class::Activity));
        hub.offer(&event(Class::Decision));
    }
    let healths = hub.healths();
    hub.stop();
    let books = |health: &Health| (health.offered(), health.written(), health.lost());
    assert_eq!(books(&healths[0]), (200, 200, 0));
    assert_eq!(books(&healths[1]), (100, 100, 0));
}

#[test]
fn a_sink_that_hangs_loses_activity_first_and_holds_up_nobody() {
    let mut hub = Hub::default();
    hub.attach("hangs", all, hang).unwrap();
    hub.attach("works", all, count).unwrap();
    let (hangs, works) = (Arc::clone(&hub.healths()[0]), Arc::clone(&hub.healths()[1]));
    let many = u64::try_from(QUEUE).unwrap() * 2;
    let begun = Instant::now();
    let activity = event(Class::Activity);
    for _ in 0..many {
        hub.offer(&activity);
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "nothing waits");
    let reserved = u64::try_from(RESERVED).unwrap();
    assert_eq!(hangs.lost(), many - (u64::try_from(QUEUE).unwrap() - reserved));
    let lost = hangs.lost();
    for _ in 0..reserved {
        hub.offer(&event(Class::Decision));
    }
    assert_eq!(hangs.lost(), lost, "there is room for what must not be lost");
    hub.offer(&event(Class::Decision));
    assert_eq!(hangs.lost(), lost + 1);
    hub.stop();
    for health in [hangs, works] {
        assert_eq!(health.pending(), 0);
        assert_eq!(health.offered(), health.written() + health.lost());
    }
}

#[test]
fn a_sink_that_ends_or_panics_is_told_of_and_counted() {
    let mut hub = Hub::default();
    hub.attach("ends", all, |_, _| async {}).unwrap();
    hub.attach("panics", all, |_, _| async { panic!("as the test wants") }).unwrap();
    hub.attach("works", all, count).unwrap();
    let healths = hub.healths();
    let until = Instant::now() + Duration::from_secs(10);
    while healths[..2].iter().any(|health| health.errors() == 0) && Instant::now() < until {
        hub.offer(&event(Class::Decision));
    }
    hub.offer(&event(Class::Decision));
    for health in &healths[..2] {
        assert_eq!(health.errors(), 1, "once: {}", health.name());
        assert_eq!(health.offered(), health.lost());
    }
    hub.stop();
    assert_eq!(healths[2].offered(), healths[2].written());
}

#[test]
fn without_a_sink_there_is_no_thread() {
    let mut hub = Hub::default();
    hub.offer(&event(Class::Decision));
    assert!(hub.export.is_none());
    hub.stop();
}
