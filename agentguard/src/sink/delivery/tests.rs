//! Delivery with receivers that are made for the test.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Gives the answers it was made with, and then takes everything.
struct Scripted {
    answers: Vec<Answer>,
    got: Arc<Mutex<Vec<String>>>,
}

impl Receiver for Scripted {
    async fn send(&mut self, message: &Message) -> Answer {
        let text = String::from_utf8(message.body.clone()).unwrap();
        self.got.lock().unwrap().push(text);
        if self.answers.is_empty() { Answer::Taken } else { self.answers.remove(0) }
    }
}

fn message(text: &str) -> Message {
    Message { events: 2, body: text.as_bytes().to_vec() }
}

fn later() -> Answer {
    Answer::Later { after: None, why: "busy".to_owned() }
}

async fn delivered(answers: Vec<Answer>, messages: &[&str]) -> (Vec<String>, Arc<Health>) {
    let directory = tempfile::tempdir().unwrap();
    let health = Arc::new(Health::new("test"));
    let queue = Queue::open(directory.path(), 1 << 20, Arc::clone(&health)).await;
    let got = Arc::new(Mutex::new(Vec::new()));
    let mut receiver = Scripted { answers, got: Arc::clone(&got) };
    let intake = async {
        for text in messages {
            health.add_offered(2);
            queue.push(message(text)).await;
        }
        while health.pending() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    run(&queue, &mut receiver, &health, intake).await;
    let got = got.lock().unwrap().clone();
    (got, health)
}

#[tokio::test]
async fn messages_arrive_in_order_and_are_tried_until_they_do() {
    let (got, health) = delivered(vec![later(), later()], &["a", "b"]).await;
    assert_eq!(got, ["a", "a", "a", "b"]);
    assert_eq!((health.offered(), health.written(), health.lost()), (4, 4, 0));
    assert_eq!(health.errors(), 2);
    assert_eq!(health.last_error().as_deref(), Some("busy"));
}

#[tokio::test]
async fn what_is_refused_is_counted_and_the_next_goes_on() {
    let partly = Answer::Partly { refused: 1, why: "one".to_owned() };
    let answers = vec![Answer::Refused("no".to_owned()), partly];
    let (got, health) = delivered(answers, &["a", "b", "c"]).await;
    assert_eq!(got, ["a", "b", "c"]);
    assert_eq!((health.offered(), health.written(), health.lost()), (6, 3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_takes_nothing_holds_up_no_daemon_that_stops() {
    let directory = tempfile::tempdir().unwrap();
    let health = Arc::new(Health::new("test"));
    let queue = Queue::open(directory.path(), 1 << 20, Arc::clone(&health)).await;
    let got = Arc::new(Mutex::new(Vec::new()));
    let mut receiver = Scripted { answers: vec![later(); 9], got: Arc::clone(&got) };
    let begun = tokio::time::Instant::now();
    let intake = async {
        queue.push(message("a")).await;
        while health.errors() == 0 {
            tokio::task::yield_now().await;
        }
    };
    run(&queue, &mut receiver, &health, intake).await;
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    assert_eq!(*got.lock().unwrap(), ["a", "a"], "once more, and no longer");
    assert!(!queue.is_empty().await);
}

/// Never answers.
struct Hanging(Arc<AtomicUsize>);

impl Receiver for Hanging {
    async fn send(&mut self, _: &Message) -> Answer {
        self.0.fetch_add(1, Ordering::Relaxed);
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_keeps_the_daemon_for_seconds_and_the_spool_keeps_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let health = Arc::new(Health::new("test"));
    let queue = Queue::open(directory.path(), 1 << 20, Arc::clone(&health)).await;
    let tries = Arc::new(AtomicUsize::new(0));
    let begun = tokio::time::Instant::now();
    let intake = async { queue.push(message("a")).await };
    run(&queue, &mut Hanging(Arc::clone(&tries)), &health, intake).await;
    assert_eq!(tries.load(Ordering::Relaxed), 1);
    assert!(begun.elapsed() >= DRAIN && begun.elapsed() < DRAIN * 2);
    drop(queue);
    let queue = Queue::open(directory.path(), 1 << 20, health).await;
    assert_eq!(queue.front().await, message("a"));
}
