//! Refusals that no rule can lift, with a record that needs no more than its header and
//! a number.

use agentguard_common::counter::Count;
use agentguard_common::event::{Kind, Plain, flag};
use agentguard_common::session::{State, TaskLabel};

use crate::emit::{self, Ring};
use crate::session;

/// Records a refusal, and says whether the action goes on all the same, because the
/// policy is only observed.
#[inline(always)]
pub(super) fn refuse(kind: Kind, label: &TaskLabel, what: u32) -> bool {
    emit::count(kind, Count::Seen);
    let observed = matches!(session::state(label), Some(State::Observe));
    let header = emit::header(kind, label, if observed { flag::OBSERVED } else { 0 });
    emit::emit(Ring::Decisions, kind, &Plain { header, status: what, reserved: 0 });
    observed
}
