//! Puts checkpoints on the disk, on a thread of its own: a disk takes its time, and
//! meanwhile the daemon has ring buffers to empty.
//!
//! A checkpoint is noted beside the key only after it is on the disk, so that a loss of
//! power does not make it look as if somebody had cut the log off.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use super::chain::Head;
use super::start::keep_head;

/// A checkpoint that is to be put on the disk.
pub(super) struct Job {
    /// The log's file; `None` where there is none to wait for.
    pub(super) file: Option<File>,
    /// Where the key is.
    pub(super) key: PathBuf,
    /// Where the log is.
    pub(super) path: PathBuf,
    /// The checkpoint.
    pub(super) head: Head,
}

/// The thread, which ends when this is dropped, with all that it was given done.
pub(super) struct Syncer {
    queue: Option<SyncSender<(Job, SyncSender<()>)>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(super) fn start() -> io::Result<Self> {
        let (queue, jobs) = sync_channel(1);
        let thread = std::thread::Builder::new().name("audit-sync".into()).spawn(|| work(jobs))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Hands a checkpoint over; false where the thread is busy and this one has to wait.
    pub(super) fn hand_over(&self, job: Job) -> bool {
        let (done, _) = sync_channel(1);
        let handed = self.queue.as_ref().map(|queue| queue.try_send((job, done)));
        !matches!(handed, Some(Err(TrySendError::Full(_))))
    }

    /// Puts a checkpoint on the disk, and waits for it.
    pub(super) fn wait_for(&self, job: Job) {
        let (done, finished) = sync_channel(1);
        if self.queue.as_ref().is_some_and(|queue| queue.send((job, done)).is_ok()) {
            // Fails only where the thread is gone.
            let _ = finished.recv();
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(jobs: Receiver<(Job, SyncSender<()>)>) {
    for (Job { file, key, path, head }, done) in jobs {
        let synced = file.map_or(Ok(()), |file| file.sync_data());
        if let Err(error) = synced.and_then(|()| keep_head(&key, &path, &head)) {
            tracing::error!(%error, "the audit log's checkpoint may not be on the disk");
        }
        // Not everybody waits.
        let _ = done.try_send(());
    }
}
