//! What the hooks share that keep a session away from files that are the host's or
//! agentguard's own: the ruling, and the record of it, which has the file's path.

use agentguard_common::counter::Count;
use agentguard_common::event::{Kind, Where};
use agentguard_common::file::Deed;
use agentguard_common::host::Power;
use agentguard_common::opaque;
use agentguard_common::said::Said;
use agentguard_common::session::TaskLabel;
use agentguard_common::verdict::Reason;
use bytemuck::Zeroable as _;

use super::{egress, files};
use crate::emit::{self, Ring};
use crate::session;
use crate::trail::{self, End, Trail};

/// Whose a file is.
#[derive(Clone, Copy)]
pub(super) enum Owner {
    /// The host's: whoever has that power may.
    Host(Power),
    /// agentguard's.
    Us,
}

/// Decides a deed with such a file, whose `struct dentry` is `entry`, and null where there is
/// none. In silence, nothing is told: somebody only asks whether it could be done.
#[inline(always)]
pub(super) fn decide(
    label: &TaskLabel,
    entry: *const u8,
    deed: Deed,
    owner: Owner,
    silent: bool,
) -> i32 {
    let power = match owner {
        Owner::Host(power) => power as u8 + 1,
        Owner::Us => 0,
    };
    // Numbers that the verifier knows nothing about, so that there is one walk for all.
    let deed = opaque::number(deed as u64, label.session) as u32;
    let power = opaque::number(u64::from(power), label.session) as u32;
    let slot = if silent { NONE } else { Trail::take().unwrap_or(NONE) };
    if let Some(trail) = Trail::of(slot) {
        trail.file = entry as u64;
    }
    let slot = opaque::number(u64::from(slot), label.session) as u32;
    let ruled = host_file_rule(slot, deed, power, u32::from(silent));
    if slot != NONE {
        Trail::give(slot);
    }
    super::answer(ruled == GOES)
}

/// No memory to find a path in.
const NONE: u32 = u32::MAX;
/// It goes on.
const GOES: u64 = 0;
/// It does not.
const STAYS: u64 = 1;

/// The ruling. `power` is a [`Power`] and one more, 0 for what no power opens; `slot` is that
/// of the trail in which the file stands.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn host_file_rule(slot: u32, deed: u32, power: u32, silent: u32) -> u64 {
    let Some(label) = session::current() else { return GOES };
    let Ok(ground) = egress::ground_apart(&label) else {
        emit::count(Kind::File, Count::Error);
        return STAYS;
    };
    let bit = 1_u32.wrapping_shl(power.wrapping_sub(1));
    let open = power != 0 && u32::from(ground.policy.host) & bit != 0;
    if silent == 0 {
        emit::count(Kind::File, Count::Seen);
        match Trail::of(slot) {
            Some(trail) => tell(slot, trail, (deed, power), &label, &ground, open),
            None => emit::count(Kind::File, Count::Lost),
        }
    }
    if open || ground.observed() { GOES } else { STAYS }
}

#[inline(always)]
fn tell(
    slot: u32,
    trail: &mut Trail,
    (deed, power): (u32, u32),
    label: &TaskLabel,
    ground: &egress::Ground,
    open: bool,
) {
    trail.record.deed = deed as u8;
    trail.record.power = power as u8;
    trail.record.other = Where::zeroed();
    trail.which = 0;
    trail.secret = 0;
    let found = trail::locate(slot) == End::Found as u64;
    files::file_spell(slot, 0, u32::from(found));
    if open && files::was_told(trail, label, DEEDS | u64::from(deed)) {
        return;
    }
    let reason = if power == 0 { Reason::Protected } else { Reason::Host };
    let (said, ring) =
        if open { (OPEN, Ring::Activity) } else { (Said::closed(reason), Ring::Decisions) };
    files::tell(trail, label, ground, said, ring);
}

/// Deeds as [`files::was_told`] has them, apart from those that rules on files decide.
const DEEDS: u64 = 0x200;
/// A policy opens it.
const OPEN: Said = Said((Reason::Rule as u64) << 32);
