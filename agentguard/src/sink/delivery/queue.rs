//! The queue between what makes messages and what delivers them: the spool on disk,
//! and a little memory for when the disk takes nothing. Disk work is done on a thread
//! that may wait, so that a slow disk holds up no other sink.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::sink::Health;
use crate::sink::spool::{Spool, SpoolError};

/// What may wait in memory where the disk takes nothing, in bytes.
const MEMORY: usize = 4 << 20;

/// A message, with the number of events that it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Events in it. An alert that is over is made of none.
    pub(crate) events: u32,
    /// What the receiver gets, or what it is made from.
    pub(crate) body: Vec<u8>,
}

impl Message {
    fn to_record(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(self.body.len() + 4);
        record.extend(self.events.to_le_bytes());
        record.extend(&self.body);
        record
    }

    fn of_record(record: &[u8]) -> Self {
        match record.split_first_chunk::<4>() {
            Some((events, body)) => {
                Self { events: u32::from_le_bytes(*events), body: body.to_vec() }
            }
            // No record of ours is shorter.
            None => Self { events: 0, body: Vec::new() },
        }
    }
}

/// The queue of one sink.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Arc<Mutex<State>>,
    arrived: Notify,
    health: Arc<Health>,
}

#[derive(Debug)]
struct State {
    /// `None` where the directory cannot be used at all.
    spool: Option<Spool>,
    /// Records of an earlier daemon that are still at the spool's front.
    inherited: u64,
    memory: VecDeque<Message>,
    memory_bytes: usize,
    /// Whether the message at the front is the spool's.
    front_is_spooled: bool,
}

impl Queue {
    /// Opens the queue in a directory. Where that cannot be used, it says so and goes
    /// on in memory: alerts are worth more than their spool.
    pub(crate) async fn open(directory: &Path, limit: u64, health: Arc<Health>) -> Self {
        let path = directory.to_owned();
        let opened = off_thread(move || Spool::open(&path, limit)).await;
        let (spool, inherited) = match opened {
            Some(Ok((spool, recovered))) => {
                if recovered.torn > 0 {
                    tracing::warn!(directory = %directory.display(), bytes = recovered.torn, "cut a torn record off the spool");
                }
                (Some(spool), recovered.records)
            }
            Some(Err(error)) => {
                tracing::error!(%error, "there is no spool: an outage of the receiver loses events");
                health.failed(&error);
                (None, 0)
            }
            None => (None, 0),
        };
        let state = State {
            spool,
            inherited,
            memory: VecDeque::new(),
            memory_bytes: 0,
            front_is_spooled: false,
        };
        Self { state: Arc::new(Mutex::new(state)), arrived: Notify::new(), health }
    }

    /// Puts a message at the end. What fits neither on the disk nor in memory is
    /// counted as lost.
    pub(crate) async fn push(&self, message: Message) {
        let events = u64::from(message.events);
        let pushed = self.with(move |state| state.push(message)).await;
        match pushed {
            Some((true, None)) => {}
            Some((kept, error)) => {
                if let Some(error) = error {
                    self.health.failed(&error);
                }
                if !kept {
                    self.health.add_lost(events);
                }
            }
            None => self.health.add_lost(events),
        }
        self.arrived.notify_one();
    }

    /// The message at the front, as soon as there is one. It stays there.
    pub(crate) async fn front(&self) -> Message {
        loop {
            match self.with(State::front).await {
                Some(Ok(Some(message))) => return message,
                Some(Ok(None)) | None => self.arrived.notified().await,
                Some(Err(error)) => {
                    self.health.failed(&error);
                    tokio::time::sleep(super::backoff::LONGEST / 10).await;
                }
            }
        }
    }

    /// Takes the message at the front out: it is delivered, or given up. One that an
    /// earlier daemon left is counted as offered here.
    pub(crate) async fn pop(&self) {
        let health = Arc::clone(&self.health);
        self.with(move |state| {
            let (inherited, error) = state.pop();
            health.add_offered(u64::from(inherited));
            if let Some(error) = error {
                health.failed(&error);
            }
        })
        .await;
    }

    /// Whether nothing waits.
    pub(crate) async fn is_empty(&self) -> bool {
        self.with(|state| state.is_empty()).await.unwrap_or(true)
    }

    async fn with<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut State) -> R + Send + 'static,
    ) -> Option<R> {
        let state = Arc::clone(&self.state);
        off_thread(move || work(&mut state.lock().unwrap_or_else(PoisonError::into_inner))).await
    }
}

/// `None` only where the thread is being taken down, with the daemon.
async fn off_thread<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Option<R> {
    tokio::task::spawn_blocking(work).await.ok()
}

impl State {
    /// Whether the message was kept, and what went wrong.
    fn push(&mut self, message: Message) -> (bool, Option<SpoolError>) {
        let error = match &mut self.spool {
            Some(spool) => match spool.push(&message.to_record()) {
                Ok(()) => return (true, None),
                Err(error) => Some(error),
            },
            None => None,
        };
        // A spool that holds its limit is the limit; memory is for a disk that fails.
        let refused = matches!(error, Some(SpoolError::Full { .. } | SpoolError::TooLarge(_)));
        if refused || self.memory_bytes.saturating_add(message.body.len()) > MEMORY {
            return (false, error);
        }
        self.memory_bytes += message.body.len();
        self.memory.push_back(message);
        (true, error)
    }

    fn front(&mut self) -> Result<Option<Message>, SpoolError> {
        if let Some(spool) = &mut self.spool
            && let Some(record) = spool.front()?
        {
            self.front_is_spooled = true;
            return Ok(Some(Message::of_record(&record)));
        }
        self.front_is_spooled = false;
        Ok(self.memory.front().cloned())
    }

    /// How many events of an earlier daemon went with it, and what went wrong.
    fn pop(&mut self) -> (u32, Option<SpoolError>) {
        let spooled = std::mem::take(&mut self.front_is_spooled);
        let Some(spool) = self.spool.as_mut().filter(|_| spooled) else {
            if let Some(message) = self.memory.pop_front() {
                self.memory_bytes = self.memory_bytes.saturating_sub(message.body.len());
            }
            return (0, None);
        };
        let mut inherited = 0;
        if self.inherited > 0 {
            self.inherited -= 1;
            if let Ok(Some(record)) = spool.front() {
                inherited = Message::of_record(&record).events;
            }
        }
        (inherited, spool.pop().err())
    }

    fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.spool.as_ref().is_none_or(|spool| spool.records() == 0)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn message(text: &str) -> Message {
        Message { events: 2, body: text.as_bytes().to_vec() }
    }

    async fn open(directory: &Path) -> Queue {
        Queue::open(directory, 1 << 20, Arc::new(Health::new("test"))).await
    }

    #[tokio::test]
    async fn what_an_earlier_daemon_left_comes_first_and_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        open(directory.path()).await.push(message("one")).await;
        let queue = open(directory.path()).await;
        queue.push(message("two")).await;
        assert_eq!(queue.front().await, message("one"));
        assert_eq!(queue.health.offered(), 0);
        queue.pop().await;
        assert_eq!(queue.health.offered(), 2, "the earlier daemon's");
        assert_eq!(queue.front().await, message("two"));
        queue.pop().await;
        assert_eq!(queue.health.offered(), 2, "the hub has counted ours");
        assert!(queue.is_empty().await);
    }

    #[tokio::test]
    async fn without_a_spool_it_is_kept_in_memory_and_said() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let queue = open(file.path()).await;
        assert_eq!(queue.health.errors(), 1);
        queue.push(message("one")).await;
        assert_eq!(queue.front().await, message("one"));
        assert_eq!(queue.health.lost(), 0);
        queue.push(Message { events: 7, body: vec![0; MEMORY] }).await;
        assert_eq!(queue.health.lost(), 7);
        queue.pop().await;
        assert!(queue.is_empty().await);
    }

    #[tokio::test]
    async fn its_files_are_for_the_daemon_alone() {
        let directory = tempfile::tempdir().unwrap();
        let spool = directory.path().join("spool/name");
        open(&spool).await.push(message("one")).await;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&spool), 0o700);
        for entry in std::fs::read_dir(&spool).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0o600);
        }
    }
}
