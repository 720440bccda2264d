//! Getting messages to a receiver: one after the other, in order, each tried until it
//! arrives, is refused for good, or the daemon stops. What is not delivered then waits
//! in the spool for the next daemon.

pub(crate) mod backoff;
mod credentials;
#[cfg(test)]
pub(crate) mod fake;
mod http;
mod queue;
mod tls;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use credentials::{Credentials, Headers, Secret, Word, check_url};
pub(crate) use http::{Http, Request, RequestError, Response};
pub(crate) use queue::{Message, Queue};
pub use tls::TlsError;
pub(crate) use tls::client as tls_client;

use tokio::sync::watch;

use crate::sink::Health;

/// How long a sink goes on delivering when the daemon stops.
const DRAIN: Duration = Duration::from_secs(5);

/// What a receiver did with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It has it.
    Taken,
    /// It has it, but so many events of it were refused for good.
    Partly {
        /// The events.
        refused: u32,
        /// Why.
        why: String,
    },
    /// Not now: the message is tried again.
    Later {
        /// When the receiver wants to be asked again.
        after: Option<Duration>,
        /// Why.
        why: String,
    },
    /// Never: trying again would not help.
    Refused(String),
}

/// Whoever messages go to.
pub(crate) trait Receiver {
    /// Sends one message.
    fn send(&mut self, message: &Message) -> impl Future<Output = Answer> + Send;
}

/// Delivers what is in the queue, until the daemon stops and the receiver takes nothing.
async fn deliver(
    queue: &Queue,
    receiver: &mut impl Receiver,
    health: &Health,
    mut stopping: watch::Receiver<bool>,
) {
    let mut failed = 0_u32;
    loop {
        let message = queue.front().await;
        let start = Instant::now();
        let answer = receiver.send(&message).await;
        health.took(start.elapsed());
        if let Answer::Later { after, why } = answer {
            failed = failed.saturating_add(1);
            if failed == 1 {
                tracing::warn!(sink = health.name(), why, "not delivered; will be tried again");
            }
            health.failed(&why);
            if *stopping.borrow() {
                return;
            }
            // A daemon that stops tries once more at once.
            let delay = backoff::delay(failed, after, fastrand::f64());
            let _ = tokio::time::timeout(delay, stopping.wait_for(|stop| *stop)).await;
            continue;
        }
        if failed > 0 {
            tracing::info!(sink = health.name(), failed, "delivers again");
        }
        failed = 0;
        // Counted first: once the queue is empty, a daemon that stops waits no longer.
        count(&answer, message.events, health);
        queue.pop().await;
    }
}

fn count(answer: &Answer, events: u32, health: &Health) {
    let (lost, why) = match answer {
        Answer::Taken | Answer::Later { .. } => (0, None),
        Answer::Partly { refused, why } => ((*refused).min(events), Some(why)),
        Answer::Refused(why) => (events, Some(why)),
    };
    if let Some(why) = why {
        tracing::error!(sink = health.name(), why, lost, "the receiver refused events");
        health.failed(why);
    }
    health.add_lost(lost.into());
    health.add_written(events.saturating_sub(lost).into());
}

/// Delivers what `intake` puts into the queue, until that ends and the queue is
/// empty, or a few seconds later.
pub(crate) async fn run(
    queue: &Queue,
    receiver: &mut impl Receiver,
    health: &Arc<Health>,
    intake: impl Future<Output = ()>,
) {
    let (stop, stopping) = watch::channel(false);
    let mut delivery = pin!(deliver(queue, receiver, health, stopping));
    tokio::select! {
        () = &mut delivery => {}
        () = intake => {}
    }
    stop.send_replace(true);
    let empty = async {
        while !queue.is_empty().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let rest = async {
        tokio::select! {
            () = &mut delivery => {}
            () = empty => {}
        }
    };
    let late = tokio::time::timeout(DRAIN, rest).await.is_err();
    if late || !queue.is_empty().await {
        tracing::warn!(
            sink = health.name(),
            "not everything was delivered; the rest waits in the spool"
        );
    }
}

#[cfg(test)]
mod tests;
