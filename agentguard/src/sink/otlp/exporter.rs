//! Gets spans, log records or metrics to the receiver: a bounded queue, batches, tries
//! again, and books of what became of each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::client::{Client, Failure};
use super::signal::Signal;
use crate::sink::Health;
use crate::sink::delivery::backoff;

/// How long delivering may go on when the daemon stops.
const DRAIN: Duration = Duration::from_secs(4);

/// How a queue is emptied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How many may wait.
    pub(super) queue: usize,
    /// How many go into one request at most.
    pub(super) batch: usize,
    /// How long an incomplete batch waits.
    pub(super) delay: Duration,
    /// How long a batch is tried.
    pub(super) retry: Duration,
}

/// One that was queued, and how many events it stands for.
type Queued<S> = (<S as Signal>::Item, u64);

/// The way to one receiver.
pub(super) struct Exporter<S: Signal> {
    queue: mpsc::Sender<Queued<S>>,
    /// Until when delivering may go on, once the daemon stops.
    stop: watch::Sender<Option<Instant>>,
    health: Arc<Health>,
    task: JoinHandle<()>,
}

impl<S: Signal> Exporter<S> {
    /// Starts delivering, on the scheduler that this is called on.
    pub(super) fn start(
        client: Client,
        resource: Resource,
        pace: Pace,
        health: Arc<Health>,
    ) -> Self {
        let (queue, queued) = mpsc::channel(pace.queue);
        let (stop, stopped) = watch::channel(None);
        let courier = Courier::<S> {
            client,
            resource,
            pace,
            health: Arc::clone(&health),
            stopped,
            signal: std::marker::PhantomData,
        };
        Self { queue, stop, health, task: tokio::spawn(courier.work(queued)) }
    }

    /// Queues one that stands for so many events; where there is no room, they are lost.
    pub(super) fn push(&self, item: S::Item, weight: u64) {
        if self.queue.try_send((item, weight)).is_err() {
            self.health.add_lost(weight);
        }
    }

    /// Delivers what waits, for a few seconds, and ends.
    pub(super) async fn close(self) {
        // Fails only where the courier is gone already.
        let _ = self.stop.send(Some(Instant::now() + DRAIN));
        drop(self.queue);
        let _ = self.task.await;
    }
}

/// Carries batches.
struct Courier<S> {
    client: Client,
    resource: Resource,
    pace: Pace,
    health: Arc<Health>,
    stopped: watch::Receiver<Option<Instant>>,
    signal: std::marker::PhantomData<S>,
}

impl<S: Signal> Courier<S> {
    async fn work(mut self, mut queued: mpsc::Receiver<Queued<S>>) {
        while let Some(batch) = next(&mut queued, self.pace).await {
            let weight: u64 = batch.iter().map(|(_, weight)| weight).sum();
            let items: Vec<S::Item> = batch.into_iter().map(|(item, _)| item).collect();
            let lost = match self.deliver(&S::request(&self.resource, items)).await {
                Ok(refused) => refused.min(weight),
                Err(why) => {
                    let sink = self.health.name();
                    tracing::error!(sink, why, events = weight, "given up");
                    weight
                }
            };
            self.health.add_lost(lost);
            self.health.add_written(weight - lost);
        }
    }

    /// Tries until a request is taken. Of what was taken, how many items were refused.
    async fn deliver(&mut self, request: &S::Request) -> Result<u64, String> {
        let begun = Instant::now();
        let mut failed = 0_u32;
        loop {
            let start = Instant::now();
            let stopped = self.stopped.clone();
            let sent = tokio::select! {
                sent = self.client.send::<S>(request) => sent,
                () = over(stopped) => return Err("the daemon stops".into()),
            };
            self.health.took(start.elapsed());
            let (why, after) = match sent {
                Ok(response) => return Ok(self.refused(response)),
                Err(Failure::Final(why)) => {
                    self.health.failed(&why);
                    return Err(why);
                }
                Err(Failure::Later { why, after }) => (why, after),
            };
            self.health.failed(&why);
            failed = failed.saturating_add(1);
            if failed == 1 {
                let sink = self.health.name();
                tracing::warn!(sink, why, "not delivered; will be tried again");
            }
            let wait = backoff::delay(failed, after, fastrand::f64());
            if begun.elapsed() + wait > self.pace.retry || !self.may_wait(wait).await {
                return Err(why);
            }
        }
    }

    fn refused(&self, response: S::Response) -> u64 {
        let Some((refused, why)) = S::refused(response) else { return 0 };
        let refused = u64::try_from(refused).unwrap_or(0);
        if refused > 0 {
            let why = super::client::said(&why);
            tracing::error!(sink = self.health.name(), refused, why, "the receiver refused some");
            self.health.failed(&format_args!("the receiver refused {refused}: {why}"));
        }
        refused
    }

    /// Waits, unless the daemon stops and there is no time for that.
    async fn may_wait(&mut self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        let in_time = |stop: &Option<Instant>| stop.is_some_and(|stop| until > stop);
        tokio::select! {
            () = tokio::time::sleep(wait) => true,
            // Ends only when the daemon stops before the wait is over.
            _ = self.stopped.wait_for(in_time) => false,
        }
    }
}

/// Waits for the end of the time that there is for delivering when the daemon stops.
async fn over(mut stopped: watch::Receiver<Option<Instant>>) {
    let stop = stopped.wait_for(Option::is_some).await.ok().and_then(|stop| *stop);
    match stop {
        Some(stop) => tokio::time::sleep_until(stop.into()).await,
        None => std::future::pending().await,
    }
}

/// The next batch: a full one, or what has come within the delay of the first.
async fn next<T>(queued: &mut mpsc::Receiver<T>, pace: Pace) -> Option<Vec<T>> {
    let mut batch = vec![queued.recv().await?];
    let complete = async {
        while batch.len() < pace.batch {
            let room = pace.batch - batch.len();
            if queued.recv_many(&mut batch, room).await == 0 {
                break;
            }
        }
    };
    // What has come by then is kept: receiving loses nothing when it is dropped.
    let _ = tokio::time::timeout(pace.delay, complete).await;
    Some(batch)
}
