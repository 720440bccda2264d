//! Hands events to the sinks that need time: exporters, alerts, whatever talks to a
//! network. The daemon's thread only puts an event into each sink's queue and goes
//! on. The sinks run on one thread of their own, which there is only where one of
//! them is configured.
//!
//! A queue is bounded, and a quarter of it is kept for what must not be lost, so that
//! a flood of activity pushes no denial out. What does not fit is counted as lost.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::{Health, Metrics};
use crate::error::{Error, Result};
use crate::event::{Class, Event};

/// Events that may wait for one sink.
const QUEUE: usize = 8192;
/// How many of those places are not for activity.
const RESERVED: usize = QUEUE / 4;
/// How long sinks may take to finish when the daemon stops: five seconds to drain
/// what waits, and a little more to say so.
const PATIENCE: Duration = Duration::from_secs(6);

/// The sinks that are fed.
#[derive(Default)]
pub struct Hub {
    outlets: Vec<Outlet>,
    healths: Healths,
    metrics: Option<Arc<Metrics>>,
    export: Option<Export>,
}

/// The books of all sinks, those that are still to come included.
#[derive(Clone, Default)]
pub struct Healths(Arc<Mutex<Vec<Arc<Health>>>>);

impl Healths {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Health>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, health: Arc<Health>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(health);
    }
}

/// A sink's queue, as the daemon's thread sees it.
struct Outlet {
    /// `None` once the sink is gone.
    queue: Option<mpsc::Sender<Arc<Event>>>,
    wants: fn(&Event) -> bool,
    health: Arc<Health>,
}

/// The thread that the sinks run on.
struct Export {
    handle: Handle,
    tasks: JoinSet<()>,
    services: JoinSet<()>,
    stop: oneshot::Sender<JoinSet<()>>,
    thread: std::thread::JoinHandle<()>,
}

impl Hub {
    /// The books of a sink that the daemon's thread writes itself, so that they are
    /// among the metrics too. The name is a label: of a configured few. Sinks of one
    /// name are shown together.
    pub fn health(&mut self, sink: impl Into<Arc<str>>) -> Arc<Health> {
        let health = Arc::new(Health::new(sink));
        self.healths.add(Arc::clone(&health));
        health
    }

    /// The books of all sinks.
    #[must_use]
    pub fn healths(&self) -> Vec<Arc<Health>> {
        self.healths.all()
    }

    /// The same, with those that are still to come.
    #[must_use]
    pub fn books(&self) -> Healths {
        self.healths.clone()
    }

    /// Counts in these metrics every event that is offered.
    pub fn measure(&mut self, metrics: Arc<Metrics>) {
        self.metrics = Some(metrics);
    }

    /// The metrics, where events are counted.
    #[must_use]
    pub const fn metrics(&self) -> Option<&Arc<Metrics>> {
        self.metrics.as_ref()
    }

    /// Starts a sink. It gets the events that `wants` is true of, and ends when its
    /// queue closes, after at most five seconds for what is left in it.
    ///
    /// # Errors
    ///
    /// Where the thread cannot be made.
    pub fn attach<F>(
        &mut self,
        sink: impl Into<Arc<str>>,
        wants: fn(&Event) -> bool,
        run: impl FnOnce(mpsc::Receiver<Arc<Event>>, Arc<Health>) -> F,
    ) -> Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let health = self.health(sink);
        let (queue, events) = mpsc::channel(QUEUE);
        let export = self.export()?;
        // What it makes before its first wait belongs to that thread's scheduler.
        let _inside = export.handle.enter();
        export.tasks.spawn_on(run(events, Arc::clone(&health)), &export.handle);
        self.outlets.push(Outlet { queue: Some(queue), wants, health });
        Ok(())
    }

    /// Runs something on the sinks' thread that gets no events, until the daemon stops.
    ///
    /// # Errors
    ///
    /// Where the thread cannot be made.
    pub fn serve<F>(&mut self, service: impl FnOnce() -> F) -> Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let export = self.export()?;
        let _inside = export.handle.enter();
        export.services.spawn_on(service(), &export.handle);
        Ok(())
    }

    /// Whether a sink wants an event. Metrics count all of them.
    #[must_use]
    pub fn wants(&self, event: &Event) -> bool {
        self.outlets.iter().any(|outlet| (outlet.wants)(event))
    }

    /// Counts an event, and offers it to every sink that wants it. Never waits.
    pub fn offer(&mut self, event: &Arc<Event>) {
        if let Some(metrics) = &self.metrics {
            metrics.count(event);
        }
        self.outlets.iter_mut().for_each(|outlet| outlet.offer(event));
    }

    /// Lets the sinks finish, and waits for that, but not for ever. What is not
    /// written then is lost, and counted.
    pub fn stop(&mut self) {
        self.outlets.iter_mut().for_each(|outlet| outlet.queue = None);
        if let Some(export) = self.export.take() {
            drop(export.services);
            // Fails only where the thread is gone, and then there is nothing to wait for.
            let _ = export.stop.send(export.tasks);
            let _ = export.thread.join();
        }
        self.outlets.drain(..).for_each(|outlet| outlet.health.close());
    }

    fn export(&mut self) -> Result<&mut Export> {
        let export = match self.export.take() {
            Some(export) => export,
            None => Export::start()?,
        };
        Ok(self.export.insert(export))
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Outlet {
    fn offer(&mut self, event: &Arc<Event>) {
        if !(self.wants)(event) {
            return;
        }
        self.health.add_offered(1);
        let Some(queue) = &self.queue else {
            self.health.add_lost(1);
            return;
        };
        if event.kind == Class::Activity && queue.capacity() <= RESERVED {
            self.health.add_lost(1);
            return;
        }
        match queue.try_send(Arc::clone(event)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.health.add_lost(1),
            Err(TrySendError::Closed(_)) => {
                let name = self.health.name();
                tracing::error!(sink = name, "a sink ended; it gets no more events");
                self.health.failed(&"the sink ended before the daemon did");
                self.queue = None;
                self.health.close();
            }
        }
    }
}

impl Export {
    fn start() -> Result<Self> {
        let failed = || Error::system("start the thread of the sinks");
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed())?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("export".into())
            .spawn(move || work(runtime, stopped))
            .map_err(failed())?;
        Ok(Self { handle, tasks: JoinSet::new(), services: JoinSet::new(), stop, thread })
    }
}

/// What the thread does: runs the sinks until it is told to stop, and then until they
/// are done.
fn work(runtime: Runtime, stopped: oneshot::Receiver<JoinSet<()>>) {
    runtime.block_on(async {
        let Ok(mut sinks) = stopped.await else { return };
        let done = tokio::time::timeout(PATIENCE, async {
            // A sink that panicked has said so on standard error.
            while sinks.join_next().await.is_some() {}
        });
        if done.await.is_err() {
            tracing::error!(left = sinks.len(), "sinks did not end in time and are given up");
        }
    });
    // Name look-ups and the like that still block are left behind.
    runtime.shutdown_background();
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
