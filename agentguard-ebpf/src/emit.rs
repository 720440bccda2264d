//! Records on their way out: the common beginning, the two ring buffers, and the
//! counters that say what became of each.

use core::mem::MaybeUninit;

use agentguard_common::counter::{self, Count};
use agentguard_common::event::{Header, Kind};
use agentguard_common::session::{SocketLabel, TaskLabel};
use aya_ebpf::helpers::generated::{
    bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
    bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, bpf_ringbuf_output,
};

use crate::maps::{ACTIVITY, COUNTERS, DECISIONS};

/// Which ring buffer.
#[derive(Clone, Copy)]
pub(crate) enum Ring {
    /// Denials and lifecycle.
    Decisions,
    /// Everything else.
    Activity,
}

/// Adds one to a counter of this CPU.
#[inline(always)]
pub(crate) fn count(kind: Kind, what: Count) {
    count_as(kind as u16, what);
}

/// The same for the number of a [`Kind`].
#[inline(always)]
pub(crate) fn count_as(kind: u16, what: Count) {
    if let Some(counter) = COUNTERS.get_ptr_mut(counter::slot_of(kind, what)) {
        // SAFETY: a live map value of this CPU. A preempting hook may count in
        // between, so the addition is atomic.
        unsafe { crate::atomic::fetch_add(counter, 1) };
    }
}

/// Who acts.
pub(crate) struct Maker {
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) comm: [u8; 16],
}

/// The current task.
#[inline(always)]
pub(crate) fn maker() -> Maker {
    // SAFETY: these helpers have no preconditions.
    let (ids, owner) = unsafe { (bpf_get_current_pid_tgid(), bpf_get_current_uid_gid()) };
    let mut comm = MaybeUninit::<[u8; 16]>::uninit();
    // SAFETY: the destination has the size that is given, and the helper fills it,
    // with zeros where it fails.
    let comm = unsafe {
        bpf_get_current_comm(comm.as_mut_ptr().cast(), 16);
        comm.assume_init()
    };
    Maker {
        pid: (ids >> 32) as u32,
        tid: ids as u32,
        uid: owner as u32,
        gid: (owner >> 32) as u32,
        comm,
    }
}

/// The beginning of a record about the current task.
#[inline(always)]
pub(crate) fn header(kind: Kind, label: &TaskLabel, flags: u16) -> Header {
    header_of(kind as u16, label, flags, maker())
}

/// The same for the number of a [`Kind`].
#[inline(always)]
pub(crate) fn header_as(kind: u16, label: &TaskLabel, flags: u16) -> Header {
    header_of(kind, label, flags, maker())
}

/// The beginning of a record about whoever made a socket.
#[inline(always)]
pub(crate) fn header_of_socket(kind: Kind, label: &SocketLabel, flags: u16) -> Header {
    let maker =
        Maker { pid: label.pid, tid: label.tid, uid: label.uid, gid: label.gid, comm: label.comm };
    header_of(kind as u16, &label.of_maker(), flags, maker)
}

#[inline(always)]
fn header_of(kind: u16, label: &TaskLabel, flags: u16, maker: Maker) -> Header {
    // SAFETY: these helpers have no preconditions.
    let (cpu, time) = unsafe { (bpf_get_smp_processor_id(), bpf_ktime_get_boot_ns()) };
    Header {
        kind,
        flags,
        cpu,
        time,
        session: label.session,
        slot: label.slot,
        pid: maker.pid,
        tid: maker.tid,
        uid: maker.uid,
        gid: maker.gid,
        reserved: 0,
        comm: maker.comm,
    }
}

/// Hands over a record of fixed size.
#[inline(always)]
pub(crate) fn emit<T: bytemuck::Pod>(ring: Ring, kind: Kind, record: &T) {
    emit_as(ring, kind as u16, record);
}

/// The same for the number of a [`Kind`].
#[inline(always)]
pub(crate) fn emit_as<T: bytemuck::Pod>(ring: Ring, kind: u16, record: &T) {
    // SAFETY: a Pod has no padding: all its bytes are initialised.
    unsafe { emit_bytes(ring, kind, core::ptr::from_ref(record).cast(), size_of::<T>() as u64) };
}

/// Hands over `len` bytes and counts what became of them.
///
/// # Safety
///
/// `bytes` must be good for reading `len` bytes.
#[inline(always)]
pub(crate) unsafe fn emit_bytes(ring: Ring, kind: u16, bytes: *const u8, len: u64) {
    let map = match ring {
        Ring::Decisions => (&raw const DECISIONS).cast_mut().cast(),
        Ring::Activity => (&raw const ACTIVITY).cast_mut().cast(),
    };
    // SAFETY: a ring buffer, and bytes by the contract above.
    let sent = unsafe { bpf_ringbuf_output(map, bytes.cast_mut().cast(), len, 0) };
    count_as(kind, if sent == 0 { Count::Sent } else { Count::Lost });
}
