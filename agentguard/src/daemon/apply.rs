//! Policies that change while the daemon runs: read, checked as a whole, put beside those that
//! are in force, and then each session that runs under an older one changes over at once.
//! What does not stand the check changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use agentguard_common::limit::{LIMITS, Rate};
use serde::{Deserialize, Serialize};

use super::bindings::of_switch;
use super::{Daemon, State, limits, respond};
use crate::error::{Error, Result};
use crate::event::{Event, Outcome};
use crate::hex;
use crate::kernel;
use crate::policy::{HostLinks, Limits, Mode, Policy, PolicySet};
use crate::session::{Adoption, LINGER, Phase, Policies, Relearned, Session, Switch, kernel_state};

/// Limits per time, as the kernel keeps them.
type Rates = [Rate; LIMITS.len()];

/// What became of a change of policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// One for each agent whose policy is another one now.
    pub changes: Vec<PolicyChange>,
    /// Sessions that go on under the policy of before, as they cannot go on under the new one.
    pub kept: Vec<Kept>,
}

/// An agent whose policy changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyChange {
    /// The agent.
    pub agent: String,
    /// What happened.
    pub change: PolicyStep,
    /// The hash of the policy that holds now; none where the agent is not declared any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_hash: Option<String>,
    /// How many of its sessions go on under it.
    pub sessions: usize,
}

/// What happened to an agent's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyStep {
    /// It is declared now, and was not before.
    Added,
    /// It says something else.
    Changed,
    /// It is not declared any more: sessions that run under it keep it until they end.
    Removed,
}

/// A session that keeps the policy of before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its id.
    pub session: String,
    /// Why.
    pub why: String,
}

/// What a session learned under a policy that it has left, until nothing is learned under that
/// any more.
pub(super) struct Left {
    since: Instant,
    session: u64,
    learned: Arc<Relearned>,
}

/// Sessions that can change, and what to; and those that cannot.
#[derive(Default)]
struct Plans {
    to: Vec<(u64, Switch)>,
    kept: Vec<Kept>,
}

/// How what was learned under one policy is known under another, by their hashes: many
/// sessions change from the one to the other.
struct Known(BTreeMap<(String, String), Option<Arc<Relearned>>>);

impl Known {
    const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Nothing is known of what a policy without a source said.
    fn learned(&mut self, old: Option<&Policy>, new: &Policy) -> Result<Option<Arc<Relearned>>> {
        let Some(old) = old else { return Ok(None) };
        let key = (hex(&old.hash), hex(&new.hash));
        if let Some(learned) = self.0.get(&key) {
            return Ok(learned.clone());
        }
        let learned = Policies::relearned(old, new)?.map(Arc::new);
        self.0.insert(key, learned.clone());
        Ok(learned)
    }
}

/// The limits of a session under another policy, and those of them that the kernel keeps.
fn limits_after(session: &Session, old: Option<&Policy>, new: &Policy) -> (Limits, Rates) {
    let old = old.map(limits_of).unwrap_or_default();
    let limits = session.limits.followed(&old, &limits_of(new));
    let rates = match new.mode {
        Mode::Enforce => limits.rates(),
        Mode::Observe => new.rates(),
    };
    (limits, rates)
}

/// Everything that can be wrong with policies on this host.
pub(super) fn check(declared: &PolicySet) -> Result<()> {
    for policy in declared.iter() {
        policy.compile()?;
        policy.check_paths()?;
    }
    if declared.iter().any(Policy::has_paths) {
        kernel::rename_lock()?;
    }
    Adoption::check(declared)?;
    limits::check(declared)?;
    respond::check(declared)
}

/// What a session under a policy may use of the host: what is only observed is not held to
/// limits either.
pub(super) fn limits_of(policy: &Policy) -> Limits {
    match policy.mode {
        Mode::Enforce => policy.limits.limits.clone(),
        Mode::Observe => Limits::default(),
    }
}

impl Daemon {
    /// Puts into force what the files say now. `who` is told.
    ///
    /// # Errors
    ///
    /// Where they are not in order, or the kernel has no room: then everything is as it was,
    /// and that is told of, too.
    pub fn apply(&self, who: &str) -> Result<Applied> {
        let directory = self.state.borrow().policies.directory().to_owned();
        let read = PolicySet::load_dir(&directory).map_err(Error::from);
        let applied = read.and_then(|declared| {
            check(&declared)?;
            self.put_in_force(declared)
        });
        let rejected = std::mem::replace(&mut self.state.borrow_mut().rejected, applied.is_err());
        match &applied {
            Ok(applied) if applied.changes.is_empty() && !rejected => {}
            Ok(applied) => self.tell_applied(applied, who),
            Err(error) => {
                let message = format!("{error}\nwhat was in force stays");
                let directory = directory.display().to_string();
                self.tell("policy.reject", None, directory, Outcome::Failure, Some(message));
            }
        }
        applied
    }

    /// Puts files into force that have changed, where they are watched.
    pub(super) fn look_at_policies(&self) {
        let due = {
            let mut state = self.state.borrow_mut();
            let State { policies, files, .. } = &mut *state;
            files.as_mut().is_some_and(|files| files.are_new(policies.directory()))
        };
        if due {
            // What is wrong with them is told of.
            let _ = self.apply("as its file changed");
        }
    }

    fn put_in_force(&self, declared: PolicySet) -> Result<Applied> {
        let Plans { to: plans, kept } = self.plans(&declared)?;
        let mut changes = {
            let mut state = self.state.borrow_mut();
            state.adoption.replace(&declared);
            let before = state.policies.replace(declared);
            changes(&before, state.policies.all_declared())
        };
        let mut applied = Applied { changes: Vec::new(), kept };
        for (number, plan) in plans {
            let switched = self.switch(number, &plan);
            let agent = &plan.policy.agent;
            let change = changes.iter_mut().find(|change| change.agent == *agent);
            match (switched, change) {
                (Ok(session), Some(change)) if session.state != Phase::Standby => {
                    change.sessions += 1;
                }
                (Ok(_), _) => {}
                (Err(error), _) => {
                    let session = self.id_of(number).unwrap_or_default();
                    applied.kept.push(Kept { session, why: error.to_string() });
                }
            }
        }
        applied.changes = changes;
        self.stand_down_strangers()?;
        self.fill()?;
        Ok(applied)
    }

    /// Sessions of an earlier daemon go on under what the files say now, as those do that are
    /// running when files change.
    pub(super) fn bring_along(&self) -> Result<()> {
        let declared: Vec<Policy> = self.state.borrow().policies.all_declared().cloned().collect();
        let mut set = PolicySet::default();
        for policy in declared {
            set.add(policy)?;
        }
        let Plans { to: plans, mut kept } = self.plans(&set)?;
        for (number, plan) in plans {
            match self.switch(number, &plan) {
                Ok(session) if session.state == Phase::Standby => {}
                Ok(session) => {
                    let message = "goes on under what its policy's file says now";
                    self.tell_session("session.policy", &session, message.to_owned());
                }
                Err(error) => {
                    let session = self.id_of(number).unwrap_or_default();
                    kept.push(Kept { session, why: error.to_string() });
                }
            }
        }
        self.tell_kept(&kept);
        Ok(())
    }

    /// What each session that runs under an older policy needs for going on under that of the
    /// set; everything that can fail for all of them is done here.
    fn plans(&self, declared: &PolicySet) -> Result<Plans> {
        let mut state = self.state.borrow_mut();
        let State { sessions, policies, store, own, .. } = &mut *state;
        let links = HostLinks::new();
        let mut known = Known::new();
        let mut plans = Plans::default();
        for session in sessions.live().filter(|session| session.state != Phase::Ending) {
            let Some(policy) = declared.get(&session.agent) else { continue };
            if session.learning || session.policy_hash == hex(&policy.hash) {
                continue;
            }
            let slots = policies.slots(policy.clone(), &self.tables, store)?;
            let old = policies.of_hash(&session.policy_hash);
            let learned = known.learned(old.as_deref(), policy)?;
            let bound = of_switch(session, policy, own, &links)
                .and_then(|bindings| Ok((policy.bind(&bindings, &links)?, bindings)));
            let in_force = policies.in_slot(slots.policy).cloned();
            match (bound, in_force) {
                (Ok((bound, bindings)), Some(policy)) => {
                    let (limits, rates) = limits_after(session, old.as_deref(), &policy);
                    let state = kernel_state(policy.mode);
                    let to =
                        Switch { policy, slots, bound, bindings, state, limits, rates, learned };
                    plans.to.push((session.number, to));
                }
                (Err(error), _) => {
                    let (session, why) = (session.id.clone(), error.to_string());
                    plans.kept.push(Kept { session, why });
                }
                // It has just been put there.
                (Ok(_), None) => {}
            }
        }
        Ok(plans)
    }

    /// Lets a session go on under another policy, and all that the daemon does for it.
    fn switch(&self, number: u64, plan: &Switch) -> Result<Session> {
        let session = {
            let mut state = self.state.borrow_mut();
            let State { sessions, left, reactions, .. } = &mut *state;
            let session = sessions.switch(number, plan, &self.tables)?;
            // What is watched is watched by the new policy's rules, from nothing.
            reactions.remove(&number);
            left.retain(|of| of.session != number || of.learned.from.lists != plan.lists());
            if let Some(learned) = &plan.learned {
                let learned = Arc::clone(learned);
                left.push(Left { since: Instant::now(), session: number, learned });
            }
            session
        };
        self.watch_limits(&session);
        self.notify(number);
        Ok(session)
    }

    /// Ends what changes of policies have left behind.
    pub(super) fn settle_switches(&self) -> Result<()> {
        let mut state = self.state.borrow_mut();
        let State { sessions, left, .. } = &mut *state;
        let over = |of: &Left| of.since.elapsed() >= LINGER;
        for Left { session, learned, .. } in left.extract_if(.., |of| over(of)) {
            learned.carry(session, &self.tables)?;
            self.tables.forget_learned_by(session, &learned.from)?;
        }
        sessions.settle_paths(&self.tables)
    }

    fn tell_applied(&self, applied: &Applied, who: &str) {
        for change in &applied.changes {
            let path = {
                let state = self.state.borrow();
                let policy = state.policies.declared(&change.agent);
                policy.map(|policy| policy.path.display().to_string()).unwrap_or_default()
            };
            let sessions = change.sessions;
            let message = match change.change {
                PolicyStep::Added => format!("a new agent, {who}"),
                PolicyStep::Removed => {
                    format!("not declared any more, {who}: its sessions keep it until they end")
                }
                PolicyStep::Changed => {
                    format!("another policy, {who}: {sessions} sessions go on under it")
                }
            };
            let told = self.state.borrow_mut().enricher.lifecycle(
                "policy.apply",
                None,
                path,
                Outcome::Success,
                Some(message),
            );
            let (agent_role, policy_hash) = (change.agent.clone(), change.policy_hash.clone());
            self.publish(&Arc::new(Event { agent_role, policy_hash, ..told }));
        }
        if applied.changes.is_empty() {
            let directory = self.state.borrow().policies.directory().display().to_string();
            let message = format!("as it was again, {who}");
            self.tell("policy.apply", None, directory, Outcome::Success, Some(message));
        }
        self.tell_kept(&applied.kept);
    }

    fn tell_kept(&self, kept: &[Kept]) {
        for Kept { session, why } in kept {
            let of = self.find(session).ok();
            let message = format!("goes on under the policy of before: {why}");
            let session = session.clone();
            self.tell("session.policy", of.as_ref(), session, Outcome::Failure, Some(message));
        }
    }
}

/// What is another policy after a change.
fn changes<'p>(before: &PolicySet, after: impl Iterator<Item = &'p Policy>) -> Vec<PolicyChange> {
    let mut changes = Vec::new();
    let mut gone: Vec<&Policy> = before.iter().collect();
    for policy in after {
        let old = before.get(&policy.agent);
        gone.retain(|old| old.agent != policy.agent);
        let change = match old {
            Some(old) if old.hash == policy.hash => continue,
            Some(_) => PolicyStep::Changed,
            None => PolicyStep::Added,
        };
        let (agent, policy_hash) = (policy.agent.clone(), Some(hex(&policy.hash)));
        changes.push(PolicyChange { agent, change, policy_hash, sessions: 0 });
    }
    changes.extend(gone.into_iter().map(|old| PolicyChange {
        agent: old.agent.clone(),
        change: PolicyStep::Removed,
        policy_hash: None,
        sessions: 0,
    }));
    changes
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn set(texts: &[&str]) -> PolicySet {
        let mut set = PolicySet::default();
        for text in texts {
            let text = format!("version: 1\n{text}");
            set.add(Policy::parse(Path::new("p.yaml"), text.as_bytes()).unwrap()).unwrap();
        }
        set
    }

    #[test]
    fn agents_are_added_changed_and_removed() {
        let before = set(&["agent: same\n", "agent: other\n", "agent: old\n"]);
        let after = set(&["agent: same\n", "agent: other\nmode: observe\n", "agent: new\n"]);
        let found = changes(&before, after.iter());
        let found: Vec<_> =
            found.iter().map(|change| (change.agent.as_str(), change.change)).collect();
        let (added, changed) = (PolicyStep::Added, PolicyStep::Changed);
        assert_eq!(found, [("new", added), ("other", changed), ("old", PolicyStep::Removed)]);
    }
}
