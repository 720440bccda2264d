//! Alerts: the few events that somebody should know of at once, told to where people
//! look. One sink for each receiver, each with its own books, queue and spool.
//!
//! What an event means is decided by a pure function (`alert`), what is told of it by
//! another (`tracker`), how a product is told by a third (`product`). The rest here
//! puts them together.

mod alert;
mod facts;
mod memory;
mod product;
#[cfg(test)]
mod tests;
mod tracker;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[cfg(test)]
pub(crate) use alert::{Alert, Key};
use product::{Product, ProductError};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracker::{Moment, Notice, Rules, Taken, Tracker};

use super::Health;
use super::delivery::{self, Answer, Http, Message, Queue, Receiver, TlsError};
use crate::config::AlertSink;
use crate::event::Event;

/// How often it is looked for alerts that are over.
const TICK: Duration = Duration::from_secs(1);
/// How long a reminder may take; events wait meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often Alertmanager is told of open alerts: as often as Prometheus does it.
const REMIND: Duration = Duration::from_secs(60);

/// One receiver of alerts, with all that could be wrong with its configuration found.
pub(crate) struct Alerts {
    rules: Rules,
    product: Product,
    http: Http,
    runbook: Option<String>,
    directory: PathBuf,
    limit: u64,
    /// How often a product that forgets is told of open alerts.
    remind: Duration,
}

/// Why alerts cannot be sent as configured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AlertsError {
    /// The product's settings.
    #[error("{0}")]
    Product(#[from] ProductError),
    /// TLS.
    #[error("{0}")]
    Tls(#[from] TlsError),
}

/// Whether an event can have to do with alerts at all.
pub(crate) fn wants(event: &Event) -> bool {
    alert::signal(event).is_some()
}

impl Alerts {
    /// Makes ready what `config` asks for.
    ///
    /// # Errors
    ///
    /// What is wrong with it: a secret that is not there, a template that does not work.
    pub(crate) fn new(config: &AlertSink) -> Result<Self, AlertsError> {
        Ok(Self {
            rules: Rules {
                min_severity: config.min_severity,
                quiet: config.quiet.millis(),
                hold: config.hold.millis(),
            },
            product: Product::new(&config.to)?,
            http: Http::new(&config.tls)?,
            runbook: config.runbook.clone(),
            directory: config.spool.directory.join("alerts").join(config.name.as_str()),
            limit: config.spool.limit.0,
            remind: REMIND,
        })
    }

    /// Tells of what the events mean, until there are no more.
    pub(crate) async fn run(self, events: mpsc::Receiver<Arc<Event>>, health: Arc<Health>) {
        let queue = Queue::open(&self.directory, self.limit, Arc::clone(&health)).await;
        let file = self.directory.join("open.json");
        let tracker = Tracker::new(self.rules, memory::read(&file).await);
        let mut receiver = Teller {
            product: &self.product,
            http: self.http.clone(),
            runbook: self.runbook.as_deref(),
        };
        let mut reminder = Teller {
            product: &self.product,
            http: self.http.clone(),
            runbook: self.runbook.as_deref(),
        };
        let intake = Intake { queue: &queue, tracker, file, health: &health, remind: self.remind };
        delivery::run(&queue, &mut receiver, &health, intake.run(events, &mut reminder)).await;
    }
}

/// Tells the product.
struct Teller<'a> {
    product: &'a Product,
    http: Http,
    runbook: Option<&'a str>,
}

impl Teller<'_> {
    async fn tell(&self, notice: &Notice) -> Answer {
        match self.product.request(notice, self.runbook) {
            Ok(request) => self.http.send(request, |_| None).await,
            Err(error) => error.answer(),
        }
    }
}

impl Receiver for Teller<'_> {
    async fn send(&mut self, message: &Message) -> Answer {
        match serde_json::from_slice(&message.body) {
            Ok(notice) => self.tell(&notice).await,
            Err(error) => Answer::Refused(format!("a spooled alert cannot be read: {error}")),
        }
    }
}

/// Turns events into notices in the queue.
struct Intake<'a> {
    queue: &'a Queue,
    tracker: Tracker,
    file: PathBuf,
    health: &'a Health,
    remind: Duration,
}

impl Intake<'_> {
    async fn run(mut self, mut events: mpsc::Receiver<Arc<Event>>, reminder: &mut Teller<'_>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut reminded = tokio::time::Instant::now();
        for notice in self.tracker.untold() {
            self.tell(&notice, 0).await;
        }
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.event(&event).await,
                    None => return,
                },
                _ = tick.tick() => self.resolve().await,
            }
            if reminded.elapsed() >= self.remind {
                reminded = tokio::time::Instant::now();
                self.remind(reminder).await;
            }
        }
    }

    async fn event(&mut self, event: &Event) {
        let taken = match alert::signal(event) {
            Some(signal) => self.tracker.take(signal, now()),
            None => Taken::Folded,
        };
        match taken {
            Taken::Tell(notice) => return self.tell(&notice, 1).await,
            Taken::Folded => self.health.add_sampled(1),
            Taken::Refused => {
                self.health.failed(&"too many open alerts; no new ones are told");
                self.health.add_lost(1);
                return;
            }
        }
        self.remember().await;
    }

    /// Remembered before it is in the spool, and once more when it is: should the
    /// daemon be killed between, it is told twice rather than never, and is known to
    /// be open in any case.
    async fn tell(&mut self, notice: &Notice, events: u32) {
        self.remember().await;
        self.push(notice, events).await;
        self.tracker.told(&notice.alert.key);
        self.remember().await;
    }

    async fn resolve(&mut self) {
        let over = self.tracker.resolve(now());
        for notice in &over {
            self.push(notice, 0).await;
        }
        if !over.is_empty() {
            self.remember().await;
        }
    }

    async fn push(&self, notice: &Notice, events: u32) {
        match serde_json::to_vec(notice) {
            Ok(body) => self.queue.push(Message { events, body }).await,
            // All of it is text and numbers.
            Err(error) => {
                self.health.failed(&error);
                self.health.add_lost(events.into());
            }
        }
    }

    async fn remember(&self) {
        if let Err(error) = memory::write(&self.file, &self.tracker.memory()).await {
            self.health.failed(&error);
        }
    }

    /// Not by the spool: it is what is so now, and is said again in a minute.
    async fn remind(&self, reminder: &Teller<'_>) {
        let open = self.tracker.open();
        if open.is_empty() {
            return;
        }
        let Some(request) = reminder.product.reminder(&open, reminder.runbook) else { return };
        let sent = match request {
            Ok(request) => timeout(PATIENCE, reminder.http.send(request, |_| None)).await,
            Err(error) => Ok(error.answer()),
        };
        match sent {
            Ok(Answer::Later { why, .. } | Answer::Refused(why)) => self.health.failed(&why),
            Ok(Answer::Taken | Answer::Partly { .. }) => {}
            Err(_) => self.health.failed(&"no answer to what is open in time"),
        }
    }
}

fn now() -> Moment {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
