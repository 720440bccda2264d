//! From what sessions do to what is done about it: events become facts, the engine of the
//! session's policy says what follows, and that is done here.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::{Daemon, State};
use crate::detect::{Detect, Found, Seen, severity};
use crate::event::{Class, Event, FindingInfo, Outcome, Severity};
use crate::policy::{Counted, LimitName, Mode, Policy, PolicySet, Step};
use crate::respond::{Act, Engine, Fact};
use crate::session::{Cgroups, Policies, Session, Store};
use crate::{Error, Result};

const NANOSECONDS_PER_MILLISECOND: u64 = 1_000_000;

/// What is watched of sessions: by their numbers, and nothing for those without a policy.
pub(super) type Reactions = BTreeMap<u64, Option<Reaction>>;

/// What is watched of one session.
pub(super) struct Reaction {
    policy: Arc<Policy>,
    engine: Engine,
    detect: Detect,
}

impl Reaction {
    fn new(session: &Session, policies: &Policies, store: &Store) -> Option<Self> {
        let policy = policies.of_hash(&session.policy_hash)?;
        let started = session.started / NANOSECONDS_PER_MILLISECOND;
        let detect = Detect::new(&policy.detect, &store.history(&session.agent));
        Some(Self { engine: Engine::new(Arc::clone(&policy), started), detect, policy })
    }

    /// Takes an event: what is found, and what is to be done.
    fn see(&mut self, event: &Event, now: u64) -> (Vec<Found>, Vec<Act>) {
        let mut acts = Vec::new();
        for counted in facts_of(event).into_iter().flatten() {
            acts.extend(self.engine.see(Fact::Counted(counted), now));
        }
        let mut found = self.detect.see(&Seen::of(event, now));
        found.retain(|found| {
            let before = acts.len();
            if found.new {
                acts.extend(self.engine.see(Fact::Counted(Counted::Findings), now));
            }
            acts.extend(self.engine.see(Fact::Found(found.finding, found.confidence), now));
            // What something is done about is told, too.
            found.new || acts.len() > before
        });
        (found, acts)
    }
}

/// Refuses policies with responses that cannot be given on this host.
pub(super) fn check(declared: &PolicySet) -> Result<()> {
    let slows = |policy: &&Policy| policy.responses.iter().any(|of| of.step == Step::Throttle);
    let Some(policy) = declared.iter().find(slows) else { return Ok(()) };
    if Cgroups::new()?.can_throttle() {
        return Ok(());
    }
    Err(Error::Limit {
        key: "cpu",
        why: format!(
            "{} wants to throttle sessions, and the controller cpu of cgroup v2 is not to be had",
            policy.path.display()
        ),
        mend: "mount cgroup v2 with this controller, or write pause in place of throttle",
    })
}

/// What an event counts as.
fn facts_of(event: &Event) -> [Option<Counted>; 2] {
    let denied = matches!(event.outcome, Outcome::Denied | Outcome::WouldDeny);
    let denial = (event.kind == Class::Decision && denied).then_some(Counted::Denials);
    let what = match (event.kind, event.action) {
        (Class::Decision, "connect" | "send") if !denied => Some(Counted::Connections),
        (Class::Decision, "resolve") => Some(Counted::Names),
        (Class::Activity, "exec") => Some(Counted::Execs),
        (Class::Activity, "fork") => Some(Counted::Forks),
        _ => None,
    };
    [denial, what]
}

impl Daemon {
    /// A session did something.
    pub(super) fn react(&self, number: u64, event: &Event) {
        let now = crate::event::now() / NANOSECONDS_PER_MILLISECOND;
        let seen = self.with(number, |reaction| reaction.see(event, now));
        let Some((found, acts)) = seen else { return };
        for found in found {
            self.tell_found(number, found);
        }
        self.act_all(number, acts, &event.id);
    }

    /// Tells of what was found.
    fn tell_found(&self, number: u64, found: Found) {
        let Ok(session) = self.live(number) else { return };
        let Found { finding, confidence, evidence, reason, .. } = found;
        let event = {
            let enricher = &mut self.state.borrow_mut().enricher;
            let (name, done) = (finding.as_str().to_owned(), Outcome::Success);
            enricher.lifecycle("finding", Some(&session), name, done, Some(reason))
        };
        let severity = severity(finding, confidence);
        let rule = finding.as_str().to_owned();
        let info = FindingInfo { rule, evidence, severity };
        let (kind, confidence) = (Class::Finding, confidence.as_f64());
        self.publish(&Arc::new(Event { kind, confidence, finding: Some(info), ..event }));
    }

    /// A session has ended: what its agent did goes into what is usual for it.
    pub(super) fn react_no_more(&self, session: &Session) {
        let mut state = self.state.borrow_mut();
        let State { reactions, store, .. } = &mut *state;
        let reaction = reactions.remove(&session.number).flatten();
        let Some(peaks) = reaction.and_then(|reaction| reaction.detect.peaks()) else { return };
        let mut history = store.history(&session.agent);
        history.add(peaks);
        if let Err(error) = store.keep_history(&session.agent, &history) {
            tracing::warn!(%error, "what is usual for an agent cannot be kept");
        }
    }

    /// A session reached a limit.
    pub(super) fn reached(&self, number: u64, limit: LimitName) {
        let acts = self.see(number, &[Fact::Limit(limit)]);
        self.act_all(number, acts, "");
    }

    /// What time alone brings.
    pub(super) fn tick(&self) {
        let now = crate::event::now() / NANOSECONDS_PER_MILLISECOND;
        let numbers: Vec<u64> =
            self.state.borrow().sessions.running().map(|session| session.number).collect();
        for number in numbers {
            let acts = self.with(number, |reaction| reaction.engine.tick(now));
            self.act_all(number, acts.unwrap_or_default(), "");
        }
    }

    /// A person let a session go on.
    pub(super) fn counting_anew(&self, number: u64) {
        self.with(number, |reaction| reaction.engine.resumed());
    }

    /// Sessions that an earlier daemon slowed down run again: what it had counted is gone.
    pub(super) fn lift_all(&self) -> Result<()> {
        let slow: Vec<u64> = {
            let state = self.state.borrow();
            let slow = state.sessions.running().filter(|session| session.throttled.is_some());
            slow.map(|session| session.number).collect()
        };
        for number in slow {
            let session = self.state.borrow_mut().sessions.throttle(number, None)?;
            let message = "counting begins anew with a new daemon".to_owned();
            self.tell_session("session.unthrottle", &session, message);
        }
        Ok(())
    }

    fn see(&self, number: u64, facts: &[Fact]) -> Vec<Act> {
        if facts.is_empty() {
            return Vec::new();
        }
        let now = crate::event::now() / NANOSECONDS_PER_MILLISECOND;
        let see = |reaction: &mut Reaction| {
            facts.iter().flat_map(|fact| reaction.engine.see(*fact, now)).collect()
        };
        self.with(number, see).unwrap_or_default()
    }

    /// Does something with what is watched of a session; `None` where nothing is.
    fn with<T>(&self, number: u64, what: impl FnOnce(&mut Reaction) -> T) -> Option<T> {
        let mut state = self.state.borrow_mut();
        let State { reactions, sessions, policies, store, .. } = &mut *state;
        let reaction = match reactions.entry(number) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let session = sessions.running().find(|session| session.number == number)?;
                entry.insert(Reaction::new(session, policies, store))
            }
        };
        reaction.as_mut().map(what)
    }

    fn act_all(&self, number: u64, acts: Vec<Act>, evidence: &str) {
        if acts.is_empty() {
            return;
        }
        let mode = self.with(number, |reaction| reaction.policy.mode).unwrap_or_default();
        for act in acts {
            if let Err(error) = self.act(number, act, mode, evidence) {
                tracing::error!(%error, number, "a response could not be given");
            }
        }
    }

    fn act(&self, number: u64, act: Act, mode: Mode, evidence: &str) -> Result<()> {
        let (step, rule, when) = match act {
            Act::Give { step, rule, when } => (step, rule, when),
            Act::Lift { rule } => {
                let session = self.state.borrow_mut().sessions.throttle(number, None)?;
                self.notify(number);
                let message = format!("{rule} has been over for a while");
                self.tell_response("session.unthrottle", &session, Outcome::Success, rule, message);
                return Ok(());
            }
        };
        let why = format!("{rule}: {when}");
        if mode == Mode::Observe && step > Step::Alert {
            // What is only observed is not touched.
            let session = self.live(number)?;
            let message = format!("would {}: {when}", step.as_str());
            self.tell_response("respond", &session, Outcome::WouldDeny, rule, message);
            return Ok(());
        }
        match step {
            Step::Record => {
                let session = self.live(number)?;
                self.tell_response("respond", &session, Outcome::Success, rule, when);
            }
            Step::Alert => self.alert(&self.live(number)?, rule, when, evidence),
            Step::Throttle => {
                let session = self.state.borrow_mut().sessions.throttle(number, Some(&why))?;
                self.notify(number);
                self.tell_response("session.throttle", &session, Outcome::Success, rule, when);
            }
            Step::Ask => self.hold(number, &why, "session.ask", Some(rule))?,
            Step::Pause => self.hold(number, &why, "session.pause", Some(rule))?,
            Step::Kill => self.put_down(number, &why)?,
        }
        Ok(())
    }

    fn live(&self, number: u64) -> Result<Session> {
        let state = self.state.borrow();
        let session = state.sessions.get(number).cloned();
        session.ok_or_else(|| Error::UnknownSession(number.to_string()))
    }

    /// Tells of a response.
    pub(super) fn tell_response(
        &self,
        action: &'static str,
        session: &Session,
        outcome: Outcome,
        rule: String,
        message: String,
    ) {
        let id = session.id.clone();
        let event = {
            let enricher = &mut self.state.borrow_mut().enricher;
            enricher.lifecycle(action, Some(session), id, outcome, Some(message))
        };
        self.publish(&Arc::new(Event { rule: Some(rule), ..event }));
    }

    /// People are to be told: a finding of its own, which goes wherever findings go.
    fn alert(&self, session: &Session, rule: String, when: String, evidence: &str) {
        let event = {
            let enricher = &mut self.state.borrow_mut().enricher;
            let (id, outcome) = (session.id.clone(), Outcome::Success);
            enricher.lifecycle("alert", Some(session), id, outcome, Some(when))
        };
        let evidence = Some(evidence.to_owned()).filter(|id| !id.is_empty());
        let finding = FindingInfo {
            rule: rule.clone(),
            evidence: evidence.into_iter().collect(),
            severity: Severity::High,
        };
        let (kind, finding) = (Class::Finding, Some(finding));
        self.publish(&Arc::new(Event { kind, finding, rule: Some(rule), ..event }));
    }
}
