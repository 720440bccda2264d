//! Questions to people: calls that a rule says `ask` of, which wait until one answers.
//!
//! The kernel has the call started again and again until there is an answer. Meanwhile the
//! daemon makes its thread stand still, tells of the question, and takes the answer. Where
//! nobody answers in time the kernel refuses the call by itself, once it goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use agentguard_common::event::Record;
use agentguard_common::file::Deed;
use agentguard_common::hold::{HoldKey, state};
use agentguard_common::verdict::Reason;
use serde::{Deserialize, Serialize};

use super::{Daemon, State};
use crate::error::{Error, Result};
use crate::event::{Event, Outcome, now_since_boot};
use crate::kernel::Word;
use crate::session::Session;

/// Threads that are made to stand still in one turn: each takes the kernel milliseconds.
const A_TURN: usize = 16;

/// A question, as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// What it is answered by.
    pub id: String,
    /// The session.
    pub session: String,
    /// Its agent.
    pub agent: String,
    /// What was to be done: `connect`, `file.write`, `exec`, …
    pub action: String,
    /// With what.
    pub resource: String,
    /// The other path, of a renaming or a linking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The name that led to an address, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The id of the rule.
    pub rule: Option<String>,
    /// The process that waits.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// The event that tells of it.
    pub event: String,
    /// Since when it waits, in RFC 3339.
    pub since: String,
    /// For how many more seconds.
    pub left: u64,
}

/// A question that waits.
struct Pending {
    number: u64,
    slot: u32,
    uid: u32,
    key: HoldKey,
    /// The thread that is held.
    thread: u32,
    question: Question,
    until: Instant,
    /// Whether the thread was made to stand still.
    still: bool,
}

/// All of them, by their ids.
#[derive(Default)]
pub(super) struct Questions {
    of: BTreeMap<String, Pending>,
    last: u64,
}

/// For how long an answer is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// For the call that waits.
    Once,
    /// For all such calls of the session, as long as it lives.
    Session,
    /// For all such calls of the session, for so many seconds.
    Seconds(u32),
}

impl Scope {
    fn words(self) -> String {
        match self {
            Self::Once => "once".to_owned(),
            Self::Session => "for the session".to_owned(),
            Self::Seconds(seconds) => format!("for {seconds} seconds"),
        }
    }
}

/// What a record asks: the digest, the thread by which the kernel knows it, and for how long.
const fn asked(record: &Record<'_>) -> Option<(u64, u32)> {
    match record {
        Record::Egress(_, egress) if egress.hold != 0 => Some((egress.hold, egress.header.tid)),
        Record::File(file, ..) if file.hold != 0 => {
            // By then an exec has made its thread the first of the process.
            let executes = file.deed == Deed::Exec as u8;
            let thread = if executes { file.header.pid } else { file.header.tid };
            Some((file.hold, thread))
        }
        _ => None,
    }
}

impl Daemon {
    /// The id of a question that a record asks, for its event.
    pub(super) fn question_of(&self, record: &Record<'_>) -> Option<String> {
        asked(record)?;
        let mut state = self.state.borrow_mut();
        state.questions.last += 1;
        // Of the last daemon's questions none waits any more, but people may have their ids.
        let seconds = now_since_boot() / super::NANOSECONDS;
        let number = seconds * 100_000 + state.questions.last % 100_000;
        Some(format!("q{}", crate::session::name::name(number)))
    }

    /// A call is held.
    pub(super) fn ask(&self, number: u64, record: &Record<'_>, event: &Event) {
        let (Some((digest, thread)), Some(id), Some(process)) =
            (asked(record), event.question.clone(), &event.process)
        else {
            return;
        };
        let key = HoldKey::new(number, digest, thread);
        let tid = process.tid;
        let found = self.tables.holds().waits(&key);
        if !matches!(found, Ok(Some(_))) {
            // It was refused or its thread has ended since.
            return;
        }
        let left = found.ok().flatten().unwrap_or(0).saturating_sub(now_since_boot());
        let mut state = self.state.borrow_mut();
        let State { sessions, questions, .. } = &mut *state;
        let Some(session) = sessions.get(number) else { return };
        // The thread asks something else now, or the same again.
        questions.of.retain(|_, other| {
            let same = other.number == number && other.thread == tid;
            if same && other.key != key {
                drop_one(self, other);
            }
            !same
        });
        let question = Question {
            id: id.clone(),
            session: session.id.clone(),
            agent: session.agent.clone(),
            action: event.action.to_owned(),
            resource: event.resource.clone(),
            target: event.target.clone(),
            name: event.destination.as_ref().and_then(|to| to.name.clone()),
            rule: event.rule.clone(),
            pid: process.pid,
            comm: process.comm.clone(),
            event: event.id.clone(),
            since: event.timestamp.clone(),
            left: 0,
        };
        let until = Instant::now() + Duration::from_nanos(left);
        let (slot, uid) = (session.slot, session.uid);
        let pending =
            Pending { number, slot, uid, key, thread: tid, question, until, still: false };
        questions.of.insert(id, pending);
    }

    /// Makes threads stand still that wait; true when all do.
    pub(super) fn still_questions(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let State { sessions, questions, .. } = &mut *state;
        let moving = questions.of.values_mut().filter(|pending| !pending.still);
        let mut left = A_TURN;
        for pending in moving {
            if left == 0 {
                return false;
            }
            left -= 1;
            pending.still = true;
            if let Err(error) = sessions.hold_thread(pending.number, pending.thread) {
                // Gone, as a rule; else it goes round in circles until it is answered.
                tracing::debug!(%error, thread = pending.thread, "a thread cannot be held");
            }
        }
        true
    }

    /// The questions that wait, of users that may see them.
    pub fn questions(&self, may: impl Fn(u32) -> bool) -> Vec<Question> {
        let now = Instant::now();
        let state = self.state.borrow();
        let mut found: Vec<Question> = state
            .questions
            .of
            .values()
            .filter(|pending| may(pending.uid))
            .map(|pending| Question {
                left: pending.until.saturating_duration_since(now).as_secs(),
                ..pending.question.clone()
            })
            .collect();
        found.sort_by(|one, other| one.since.cmp(&other.since));
        found
    }

    /// Answers questions, by their ids. All of them are found before the first is answered.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownQuestion`] where one does not wait; where the kernel refuses.
    pub fn answer(
        &self,
        ids: &[String],
        allow: bool,
        scope: Scope,
        who: &str,
    ) -> Result<Vec<Question>> {
        for id in ids {
            if !self.state.borrow().questions.of.contains_key(id) {
                return Err(Error::UnknownQuestion(id.clone()));
            }
        }
        let until = match scope {
            Scope::Once => None,
            Scope::Session => Some(0),
            Scope::Seconds(seconds) => {
                Some(now_since_boot() + u64::from(seconds) * super::NANOSECONDS)
            }
        };
        let mut answered = Vec::new();
        for id in ids {
            // Answered already, as one of those that ask the same.
            let Some(pending) = self.state.borrow_mut().questions.of.remove(id) else { continue };
            self.tables.holds().answer(pending.key, Word { allow, until })?;
            self.let_go(&pending);
            self.tell_answer(&pending.question, allow, &format!("{} by {who}", scope.words()));
            let (number, digest) = (pending.number, pending.key.digest);
            answered.push(pending.question);
            if until.is_some() {
                answered.extend(self.answered_too(number, digest, allow, id));
            }
        }
        Ok(answered)
    }

    /// What asks the same is answered by an answer to all.
    fn answered_too(&self, number: u64, digest: u64, allow: bool, by: &str) -> Vec<Question> {
        let same: Vec<Pending> = {
            let mut state = self.state.borrow_mut();
            let fits = |pending: &Pending| pending.number == number && pending.key.digest == digest;
            let (same, rest) = std::mem::take(&mut state.questions.of)
                .into_iter()
                .partition::<BTreeMap<_, _>, _>(|(_, pending)| fits(pending));
            state.questions.of = rest;
            same.into_values().collect()
        };
        let answered = same.into_iter().map(|pending| {
            self.let_go(&pending);
            self.tell_answer(&pending.question, allow, &format!("as {by}"));
            pending.question
        });
        answered.collect()
    }

    fn let_go(&self, pending: &Pending) {
        let freed = self.state.borrow().sessions.free_thread(pending.number, pending.thread);
        if let Err(error) = freed {
            tracing::error!(%error, thread = pending.thread, "a thread cannot go on");
        }
    }

    fn tell_answer(&self, question: &Question, allow: bool, how: &str) {
        let action = if allow { "ask.approve" } else { "ask.deny" };
        self.tell_question(action, question, how.to_owned());
    }

    fn tell_question(&self, action: &'static str, question: &Question, message: String) {
        let event = {
            let mut state = self.state.borrow_mut();
            let State { sessions, enricher, .. } = &mut *state;
            let session = sessions.find(&question.session).ok().cloned();
            let resource = question.resource.clone();
            let done = Outcome::Success;
            let event = enricher.lifecycle(action, session.as_ref(), resource, done, Some(message));
            Event { question: Some(question.id.clone()), ..event }
        };
        self.publish(&std::sync::Arc::new(event));
    }

    /// Looks after the questions: lets those go on whose time is over, and forgets those that
    /// nobody asks any more.
    ///
    /// # Errors
    ///
    /// Where the kernel's tables cannot be read or written.
    pub(super) fn look_at_questions(&self) -> Result<()> {
        self.tables.holds().set_seen(now_since_boot())?;
        let now = Instant::now();
        let over = {
            let mut state = self.state.borrow_mut();
            let State { questions, sessions, .. } = &mut *state;
            let mut over = Vec::new();
            let mut still: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
            for (id, pending) in &mut questions.of {
                let waits = self.tables.holds().waits(&pending.key)?.is_some();
                let (process, thread) = (pending.question.pid, pending.thread);
                let gone = !Path::new(&format!("/proc/{process}/task/{thread}")).exists();
                if !waits || gone || pending.until <= now {
                    over.push((id.clone(), waits && gone));
                    continue;
                }
                let number = pending.number;
                let still = still.entry(number).or_insert_with(|| sessions.still_threads(number));
                // A pause has taken it back among the others.
                pending.still &= still.contains(&thread);
            }
            over
        };
        for (id, gone) in over {
            let Some(pending) = self.state.borrow_mut().questions.of.remove(&id) else { continue };
            if gone {
                drop_one(self, &pending);
            }
            self.let_go(&pending);
            let message = if gone { "nobody waits any more" } else { "nobody answered" };
            self.tell_question("ask.expire", &pending.question, message.to_owned());
        }
        Ok(())
    }

    /// Questions that an earlier daemon left are refused: nobody was there to be asked.
    ///
    /// # Errors
    ///
    /// Where the kernel's tables cannot be read or written.
    pub(super) fn ask_anew(&self) -> Result<()> {
        for (key, hold) in self.tables.holds().all()? {
            if hold.state == state::WAITING {
                self.tables.holds().refuse(key, Reason::Unattended)?;
            }
        }
        let sessions: Vec<Session> = self.state.borrow().sessions.live().cloned().collect();
        for session in sessions {
            self.state.borrow().sessions.free_all(&session)?;
        }
        self.tables.holds().set_seen(now_since_boot())
    }

    /// Takes out of the kernel's table what belongs to no session, or is good no longer.
    ///
    /// # Errors
    ///
    /// Where it cannot be read or written.
    pub(super) fn clear_holds(&self) -> Result<()> {
        let now = now_since_boot();
        let state = self.state.borrow();
        for (key, hold) in self.tables.holds().all()? {
            let live = state.sessions.live().find(|session| session.number == key.session);
            let waits = hold.state == state::WAITING || hold.state == state::USED;
            let late = hold.until.saturating_add(60 * super::NANOSECONDS) < now;
            if live.is_none() || hold.until != 0 && late && (waits || key.thread == 0) {
                self.tables.holds().drop_one(&key, live.map(|session| session.slot))?;
            }
        }
        Ok(())
    }

    /// The daemon goes: nobody is asked any more.
    pub(super) fn ask_no_more(&self) {
        if let Err(error) = self.tables.holds().set_seen(0) {
            tracing::error!(%error, "calls may wait for answers that nobody gives");
        }
        let state = self.state.borrow();
        for session in state.sessions.live() {
            let _ = state.sessions.free_all(session);
        }
    }

    /// A session has ended, and its questions with it.
    pub(super) fn forget_questions(&self, number: u64) {
        self.state.borrow_mut().questions.of.retain(|_, pending| pending.number != number);
    }
}

fn drop_one(daemon: &Daemon, pending: &Pending) {
    if let Err(error) = daemon.tables.holds().drop_one(&pending.key, Some(pending.slot)) {
        tracing::error!(%error, "a question that nobody asks stays in the kernel");
    }
}
