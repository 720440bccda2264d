//! `security_bprm_check`, called by `search_binary_handler` (6.1 to 7.x) for a
//! program and for each interpreter of it, when an exec can still be refused:
//! processes of no session that match a policy's `match:` are taken into one of
//! the sessions that stand by for it.
//!
//! With no session left on standby (the daemon fills up what is taken, so it is
//! gone, or a burst was too fast) the program may not run.

use agentguard_common::adopt::{
    CGROUP_LEVELS, EXE_LEN, MatchKey, MatchKind, STANDBY as PLACES, StandbyKey,
};
use agentguard_common::counter::Count;
use agentguard_common::event::{Kind, Plain};
use agentguard_common::session::TaskLabel;
use agentguard_common::verdict::Reason;
use aya_ebpf::helpers::generated::{
    bpf_d_path, bpf_get_current_ancestor_cgroup_id, bpf_get_current_uid_gid,
    bpf_probe_read_kernel_str,
};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::{PASS, REFUSE};
use crate::atomic;
use crate::emit::{self, Ring};
use crate::kernel::{BPRM_FILE, FILE_PATH, address_of, member};
use crate::maps::{MATCH_COUNT, MATCHES, SESSIONS, STANDBY};
use crate::scratch::{self, Scratch};
use crate::session;

/// Where the path is written before it becomes part of a key.
const PATH_AT: usize = size_of::<MatchKey>();
const _: () = assert!(PATH_AT + EXE_LEN <= scratch::BYTES);

#[lsm(hook = "bprm_check_security")]
fn bprm_check_security(ctx: LsmContext) -> i32 {
    match MATCH_COUNT.get(0) {
        Some(count) if *count > 0 => {}
        _ => return PASS,
    }
    if session::current().is_some() {
        return PASS;
    }
    let Some(piece) = Scratch::take() else {
        emit::count(Kind::Adopt, Count::Error);
        return PASS;
    };
    // SAFETY: the piece is ours until it is given back; the argument is the hook's
    // `struct linux_binprm`.
    let pool = unsafe {
        let pool = wanted(ctx.arg(0), (&raw mut (*piece).bytes).cast());
        Scratch::give(piece);
        pool
    };
    match pool {
        Some(pool) if !adopt(pool) => REFUSE,
        _ => PASS,
    }
}

/// The pool of the policy that matches: by program, then user, then cgroup.
///
/// # Safety
///
/// `bprm` must be the hook's argument and `bytes` good for `scratch::BYTES`.
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value the key would go over the stack, which has no room for it"
)]
#[inline(always)]
unsafe fn wanted(bprm: *const u8, bytes: *mut u8) -> Option<u32> {
    let key = bytes.cast::<MatchKey>();
    // SAFETY: by the contract above; the assertion says that there is room.
    unsafe {
        let path = bytes.add(PATH_AT);
        let file: *const u8 = member(bprm, &BPRM_FILE);
        key.write(MatchKey::number(MatchKind::Exe, 0));
        let from = address_of(file, &FILE_PATH).cast_mut().cast();
        if bpf_d_path(from, path.cast(), EXE_LEN as u32) > 1 {
            let to = (&raw mut (*key).exe).cast();
            bpf_probe_read_kernel_str(to, EXE_LEN as u32, path.cast());
            if let Some(pool) = MATCHES.get(&*key) {
                return Some(*pool);
            }
        }
        let user = bpf_get_current_uid_gid() & 0xffff_ffff;
        key.write(MatchKey::number(MatchKind::User, user));
        if let Some(pool) = MATCHES.get(&*key) {
            return Some(*pool);
        }
        for level in 1..=CGROUP_LEVELS {
            let cgroup = bpf_get_current_ancestor_cgroup_id(level as i32);
            if cgroup == 0 {
                break;
            }
            (*key).kind = MatchKind::Cgroup as u32;
            (*key).number = cgroup;
            if let Some(pool) = MATCHES.get(&*key) {
                return Some(*pool);
            }
        }
    }
    None
}

/// Takes a session from the pool for the current task; false when it cannot.
#[inline(always)]
fn adopt(pool: u32) -> bool {
    emit::count(Kind::Adopt, Count::Seen);
    let label = take(pool);
    let reason = match &label {
        // SAFETY: the current task is alive.
        Some(label) if unsafe { session::put(session::current_task(), *label) } => {
            if let Some(counts) = session::counts(label) {
                // SAFETY: a live map value.
                unsafe { atomic::fetch_add(&raw mut (*counts).tasks, 1) };
            }
            0
        }
        Some(_) => Reason::NoLabel as u32,
        None => Reason::NoStandby as u32,
    };
    let label = label.unwrap_or(TaskLabel { session: 0, slot: pool, refused: 0 });
    let header = emit::header(Kind::Adopt, &label, 0);
    emit::emit(Ring::Decisions, Kind::Adopt, &Plain { header, status: reason, reserved: 0 });
    reason == 0
}

/// The label of a session that stood by.
#[inline(always)]
fn take(pool: u32) -> Option<TaskLabel> {
    for place in 0..PLACES {
        let key = StandbyKey { pool, place };
        // SAFETY: the value is copied at once, and only the daemon ever writes it.
        let Some(slot) = unsafe { STANDBY.get(key) }.copied() else { continue };
        if STANDBY.remove(key).is_ok() {
            let session = SESSIONS.get(slot)?.session;
            return (session != 0).then_some(TaskLabel { session, slot, refused: 0 });
        }
    }
    None
}
