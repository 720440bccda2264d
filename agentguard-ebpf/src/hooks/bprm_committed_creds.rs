//! `security_bprm_committed_creds`, called by `begin_new_exec` (6.1 to 7.x) when
//! an exec can no longer be refused: tells of the program, its arguments and its
//! working directory.
//!
//! It is the one place where all three can be had: `bpf_d_path` is lent to LSM
//! hooks on the kernel's sleepable list, and the new memory is already in use,
//! with `bprm->p` at the first argument. A script shows as its interpreter, with
//! the script among the arguments.

use agentguard_common::counter::Count;
use agentguard_common::event::{ARG_LEN, ARGS_COUNT, ARGS_LEN, Exec, Kind, PATH_LEN, flag};
use agentguard_common::session::TaskLabel;
use aya_ebpf::helpers::generated::{bpf_d_path, bpf_probe_read_user_str};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::PASS;
use crate::emit::{self, Ring};
use crate::kernel::{
    BPRM_ARGC, BPRM_FILE, BPRM_P, FILE_PATH, FS_PWD, TASK_FS, TASK_REAL_PARENT, TASK_TGID,
    address_of, member,
};
use crate::scratch::{self, Scratch};
use crate::session;

/// The longest path without its NUL, and so the mask of its length.
const PATH_MASK: usize = PATH_LEN - 1;
/// Where the tail begins.
const TAIL: usize = size_of::<Exec>();

// The two paths are each at most PATH_MASK long when the next begins, and the
// last argument may start just below ARGS_LEN.
const _: () = assert!(TAIL + 2 * PATH_LEN + ARGS_LEN + ARG_LEN <= scratch::BYTES);
const _: () = assert!(PATH_LEN.is_power_of_two() && ARG_LEN.is_power_of_two());

#[lsm(hook = "bprm_committed_creds")]
fn bprm_committed_creds(ctx: LsmContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    emit::count(Kind::Exec, Count::Seen);
    let Some(piece) = Scratch::take() else {
        emit::count(Kind::Exec, Count::Lost);
        return PASS;
    };
    // SAFETY: the piece is ours until it is given back; the argument is the
    // hook's `struct linux_binprm`.
    unsafe {
        tell(&label, ctx.arg(0), (&raw mut (*piece).bytes).cast());
        Scratch::give(piece);
    }
    PASS
}

/// Fills the record and hands it over.
///
/// # Safety
///
/// `bprm` must be the hook's argument and `bytes` good for `scratch::BYTES`.
#[inline(always)]
unsafe fn tell(label: &TaskLabel, bprm: *const u8, bytes: *mut u8) {
    let mut flags = 0;
    // SAFETY: members of the hook's argument and of the current task; each
    // destination has room for what is read there, as the assertions above say.
    unsafe {
        let file: *const u8 = member(bprm, &BPRM_FILE);
        let path_len = path(address_of(file, &FILE_PATH), bytes.add(TAIL));
        if path_len == 0 {
            flags |= flag::PATH_CUT;
        }
        let task = session::current_task();
        let fs: *const u8 = member(task, &TASK_FS);
        let cwd_len = path(address_of(fs, &FS_PWD), bytes.add(TAIL + path_len));
        if cwd_len == 0 {
            flags |= flag::CWD_CUT;
        }
        let argc: u32 = member(bprm, &BPRM_ARGC);
        let (args_len, cut) =
            arguments(member(bprm, &BPRM_P), argc, bytes.add(TAIL + path_len + cwd_len));
        if cut {
            flags |= flag::ARGS_CUT;
        }
        let parent: *const u8 = member(task, &TASK_REAL_PARENT);
        bytes.cast::<Exec>().write(Exec {
            header: emit::header(Kind::Exec, label, flags),
            parent: member(parent, &TASK_TGID),
            argc,
            path_len: path_len as u16,
            cwd_len: cwd_len as u16,
            args_len: args_len as u16,
            reserved: 0,
        });
        let len = TAIL + path_len + cwd_len + args_len;
        emit::emit_bytes(Ring::Activity, Kind::Exec as u16, bytes, len as u64);
    }
}

/// Writes a `struct path` as text; returns its length without the NUL, 0 when it
/// has none that fits.
///
/// # Safety
///
/// `path` must be a `struct path` the verifier knows, `to` good for `PATH_LEN`.
#[inline(always)]
unsafe fn path(path: *const u8, to: *mut u8) -> usize {
    // SAFETY: by the contract above.
    let len = unsafe { bpf_d_path(path.cast_mut().cast(), to.cast(), PATH_LEN as u32) };
    if len <= 1 {
        return 0;
    }
    (len as usize - 1) & PATH_MASK
}

/// Copies the arguments; returns their bytes and whether any is missing.
///
/// # Safety
///
/// `to` must be good for `ARGS_LEN + ARG_LEN`.
#[inline(always)]
unsafe fn arguments(mut from: u64, argc: u32, to: *mut u8) -> (usize, bool) {
    let mut len = 0;
    for at in 0..ARGS_COUNT {
        if at >= argc {
            return (len, false);
        }
        if len >= ARGS_LEN {
            return (len, true);
        }
        // SAFETY: `len` is below ARGS_LEN, so ARG_LEN bytes fit. The source is the
        // caller's own memory, read with faults caught.
        let read = unsafe {
            bpf_probe_read_user_str(to.add(len).cast(), ARG_LEN as u32, from as *const _)
        };
        if read <= 0 {
            emit::count(Kind::Exec, Count::Error);
            return (len, true);
        }
        let read = read as usize & (2 * ARG_LEN - 1);
        len += read;
        if read >= ARG_LEN {
            return (len, true);
        }
        from += read as u64;
    }
    (len, argc > ARGS_COUNT)
}
