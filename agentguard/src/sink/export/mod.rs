//! Export: every event to a log store, in that store's words, many in one request.
//! One sink for each store, each with its own books, queue and spool.

mod batch;
mod encode;
mod store;
mod syslog;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use batch::Batch;
use store::{Store, StoreError};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Health;
use super::delivery::{self, Queue};
use crate::config::{BatchConfig, ExportSink};
use crate::event::{Class, Event};

/// One log store, with all that could be wrong with its configuration found.
pub(crate) struct Export {
    store: Store,
    batch: BatchConfig,
    gzip: bool,
    directory: PathBuf,
    limit: u64,
}

/// Which events a store gets: all of them.
pub(crate) const fn wants_all(_: &Event) -> bool {
    true
}

/// Which events a store gets: all but activity.
pub(crate) fn wants_no_activity(event: &Event) -> bool {
    event.kind != Class::Activity
}

impl Export {
    /// Makes ready what `config` asks for.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn new(config: &ExportSink) -> Result<Self, StoreError> {
        let store = Store::new(config)?;
        // What waits is in the words of its store: another store under the same name
        // must not get it.
        let directory = config.spool.directory.join("export").join(format!(
            "{}.{}",
            config.name.as_str(),
            store.word()
        ));
        Ok(Self {
            gzip: config.gzip && store.may_gzip(),
            store,
            batch: config.batch,
            directory,
            limit: config.spool.limit.0,
        })
    }

    /// Sends the events, until there are no more.
    pub(crate) async fn run(mut self, events: mpsc::Receiver<Arc<Event>>, health: Arc<Health>) {
        let queue = Queue::open(&self.directory, self.limit, Arc::clone(&health)).await;
        let encoder = self.store.encoder();
        let most = usize::try_from(self.batch.bytes.0).unwrap_or(usize::MAX);
        let intake = Intake {
            queue: &queue,
            batch: Batch::new(encoder.frame()),
            most_events: u32::try_from(self.batch.events).unwrap_or(u32::MAX),
            most_bytes: most,
            wait: self.batch.wait.0,
            gzip: self.gzip,
        };
        let encode = move |event: &Event| encoder.encode(event);
        delivery::run(&queue, &mut self.store, &health, intake.run(events, encode)).await;
    }
}

/// Gathers events into messages.
struct Intake<'a> {
    queue: &'a Queue,
    batch: Batch,
    most_events: u32,
    most_bytes: usize,
    wait: Duration,
    gzip: bool,
}

impl Intake<'_> {
    async fn run(
        mut self,
        mut events: mpsc::Receiver<Arc<Event>>,
        encode: impl Fn(&Event) -> Vec<u8>,
    ) {
        let mut due = pin!(sleep_until(Instant::now()));
        loop {
            let waiting = self.batch.events() > 0;
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => {
                        if !waiting {
                            due.as_mut().reset(Instant::now() + self.wait);
                        }
                        self.add(&encode(&event)).await;
                    }
                    None => break,
                },
                () = &mut due, if waiting => self.flush().await,
            }
        }
        self.flush().await;
    }

    async fn add(&mut self, encoded: &[u8]) {
        if self.batch.events() > 0 && self.batch.size_with(encoded.len()) > self.most_bytes {
            self.flush().await;
        }
        self.batch.add(encoded);
        if self.batch.events() >= self.most_events {
            self.flush().await;
        }
    }

    async fn flush(&mut self) {
        if self.batch.events() > 0 {
            let message = self.batch.take(self.gzip);
            self.queue.push(message).await;
        }
    }
}
