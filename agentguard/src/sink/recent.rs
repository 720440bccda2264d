//! The last events, and those to come, for `agentguard events`.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::broadcast;

use crate::event::Class;

/// Events that are kept for those who ask later.
const KEPT: usize = 4096;
/// Events that a slow listener may be behind; it is told how many it missed.
const BEHIND: usize = 16_384;

/// An event on its way to listeners.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The JSON line.
    pub line: Arc<str>,
    /// The session.
    pub session: Option<Arc<str>>,
    /// The user who started the session; events of no session are root's.
    pub uid: u32,
    /// Its sort.
    pub kind: Class,
}

/// The last events.
pub struct Recent {
    kept: VecDeque<Sent>,
    sender: broadcast::Sender<Sent>,
}

impl Recent {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self { kept: VecDeque::new(), sender: broadcast::channel(BEHIND).0 }
    }

    /// Adds an event. Activity is handed to listeners but not kept, so that a busy
    /// build does not push out what matters.
    pub fn add(&mut self, sent: Sent) {
        if sent.kind != Class::Activity {
            if self.kept.len() == KEPT {
                self.kept.pop_front();
            }
            self.kept.push_back(sent.clone());
        }
        // Fails only when nobody listens.
        let _ = self.sender.send(sent);
    }

    /// Whether anybody listens.
    #[must_use]
    pub fn has_listeners(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// What was kept, the last first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Sent> {
        self.kept.iter().rev()
    }

    /// What was kept, and what is to come.
    #[must_use]
    pub fn listen(&self) -> (Vec<Sent>, broadcast::Receiver<Sent>) {
        (self.kept.iter().cloned().collect(), self.sender.subscribe())
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self::new()
    }
}
