//! Sessions as traces: takes events in, and sends the spans that they make.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::exporter::Exporter;
use super::signal;
use super::spans::{Finished, Sampler, Tree, memory};
use crate::config::TraceSamplingConfig;
use crate::event::Event;
use crate::sink::Health;

/// How often spans that are over are sent on, and what is open is saved.
const TICK: Duration = Duration::from_secs(1);
/// How many spans that are over wait for the next tick at most.
const WAITING: usize = 1024;

/// What the sink of traces works on.
pub(super) struct Traces {
    tree: Tree,
    sampler: Sampler,
    /// Spans that are over, and wait until what is open is saved.
    waiting: Vec<Finished>,
    /// Where what is open is saved.
    saved: PathBuf,
    health: Arc<Health>,
}

impl Traces {
    /// Goes on with what an earlier daemon left open.
    pub(super) fn new(sampling: &TraceSamplingConfig, saved: PathBuf, health: Arc<Health>) -> Self {
        let mut tree = Tree::default();
        let mut sampler = Sampler::new(sampling.ratio, sampling.confidence);
        let restored = match std::fs::read(&saved) {
            Ok(data) => tree
                .restore(&data, Instant::now(), &mut sampler)
                .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = restored {
            // Traces go on; what was open before has no span.
            tracing::error!(path = %saved.display(), %error, "cannot read the open spans");
            health.failed(&error);
        }
        Self { tree, sampler, waiting: Vec::new(), saved, health }
    }

    /// Runs until the queue of events closes.
    pub(super) async fn run(
        mut self,
        mut events: mpsc::Receiver<Arc<Event>>,
        exporter: Exporter<signal::Traces>,
    ) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.take(&event),
                    None => break,
                },
                _ = tick.tick() => {
                    self.tick();
                    self.send_on(&exporter).await;
                }
            }
            if self.waiting.len() >= WAITING {
                self.send_on(&exporter).await;
            }
        }
        let mut over = Vec::new();
        self.tree.close(Instant::now(), &mut over);
        self.offer(over);
        let saved = self.send_on(&exporter).await;
        // Those that are held back are not saved, and what is open is.
        self.sampler.forget_all();
        self.count();
        match self.tree.hand_over() {
            events if saved => self.health.add_written(events),
            events => self.health.add_lost(events),
        }
        exporter.close().await;
    }

    fn take(&mut self, event: &Event) {
        let mut over = Vec::new();
        self.tree.apply(event, Instant::now(), &mut over);
        if self.sampler.matters(event)
            && let Some(session) = event.session.as_deref().and_then(|id| self.tree.known(id))
        {
            self.sampler.keep(&session, &mut self.waiting);
        }
        self.offer(over);
    }

    fn tick(&mut self) {
        let mut over = Vec::new();
        let forgotten = self.tree.tick(Instant::now(), &memory::runs, &mut over);
        self.offer(over);
        forgotten.iter().for_each(|session| self.sampler.forget(session));
        self.count();
    }

    fn offer(&mut self, over: Vec<Finished>) {
        over.into_iter().for_each(|over| self.sampler.offer(over, &mut self.waiting));
    }

    /// Sends on what is over, once it is not open any more in what is saved. Says whether
    /// what is open is saved.
    async fn send_on(&mut self, exporter: &Exporter<signal::Traces>) -> bool {
        let saved = self.save().await;
        if let Err(error) = &saved {
            self.tree.not_saved();
            tracing::error!(path = %self.saved.display(), %error, "cannot save the open spans");
            self.health.failed(error);
        }
        for over in self.waiting.drain(..) {
            exporter.push(over.span, over.weight);
        }
        saved.is_ok()
    }

    async fn save(&mut self) -> std::io::Result<()> {
        let Some(data) = self.tree.save(&self.sampler) else { return Ok(()) };
        let path = self.saved.clone();
        let write = tokio::task::spawn_blocking(move || memory::write(&path, &data));
        write.await.map_err(std::io::Error::other)?
    }

    fn count(&mut self) {
        let books = self.tree.take_books();
        self.health.add_lost(books.lost);
        self.health.add_sampled(books.sampled + self.sampler.take_sampled());
    }
}
