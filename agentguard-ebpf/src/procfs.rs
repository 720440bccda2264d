//! Files of `/proc`: whose they are.

use agentguard_common::hostfile::fills_in;

use crate::kernel::{
    DENTRY_PARENT, HOST_NAMESPACE, NET_NUMBER, NSPROXY_NET, PID_TASKS, PROC_INODE, PROC_PID,
    TASK_GROUP_LEADER, TASK_LINKS, TASK_NSPROXY, TASK_REAL_PARENT, member, probe,
};
use crate::session;
use crate::trail::name_of;

/// How far up a process's ancestors are looked for.
const ANCESTORS: u32 = 16;
/// How deep `/proc` is.
const DEPTH: u32 = 12;

/// The `struct pid` of the process that an inode is about; 0 for what is about none.
#[inline(always)]
fn pid_of(inode: *const u8) -> u64 {
    let whole = (inode as u64).wrapping_sub(u64::from(PROC_INODE.load()));
    // SAFETY: any bytes are a number.
    unsafe { probe(whole as *const u8, PROC_PID.load()) }.unwrap_or(0)
}

/// Whether an inode is about a process.
#[inline(always)]
pub(crate) fn is_of_process(inode: *const u8) -> bool {
    pid_of(inode) != 0
}

/// Whether a session may write to a file of `/proc`, as far as the host is concerned: to
/// those of the process itself and of its descendants, which are of the same session; to
/// what has to be filled in from outside; and to what a network namespace of its own has.
#[inline(always)]
pub(crate) fn is_free(inode: *const u8, entry: *const u8) -> bool {
    let pid = pid_of(inode);
    if pid == 0 {
        return is_below(entry, SYS, NET) && !is_host_network();
    }
    let (name, len) = word(entry);
    fills_in(name, len) || descends(pid)
}

/// Whether the process of a `struct pid` is the current one, or descends from it.
#[inline(always)]
fn descends(pid: u64) -> bool {
    // SAFETY: members of the current task and any bytes, which are numbers.
    unsafe {
        let me: u64 = member::<u64>(session::current_task(), &TASK_GROUP_LEADER);
        let Some(first) = probe::<u64>(pid as *const u8, PID_TASKS.load()) else { return false };
        if first == 0 {
            return false;
        }
        let mut task = first.wrapping_sub(u64::from(TASK_LINKS.load()));
        for _ in 0..ANCESTORS {
            let Some(leader) = probe::<u64>(task as *const u8, TASK_GROUP_LEADER.load()) else {
                return false;
            };
            if leader == me {
                return true;
            }
            let Some(above) = probe::<u64>(leader as *const u8, TASK_REAL_PARENT.load()) else {
                return false;
            };
            if above == task {
                return false;
            }
            task = above;
        }
    }
    false
}

/// `sys` and `net`, as [`word`] reads names.
const SYS: u64 = u64::from_le_bytes(*b"sys\0\0\0\0\0");
const NET: u64 = u64::from_le_bytes(*b"net\0\0\0\0\0");

/// The first eight bytes of an entry's name, with zeros behind a shorter one, and its length.
#[inline(always)]
fn word(entry: *const u8) -> (u64, u32) {
    let Some((len, from)) = name_of(entry as u64) else { return (0, 0) };
    // SAFETY: any bytes are a number; names in the kernel end with a NUL and have more memory
    // behind them, or cannot be read.
    let bytes = unsafe { probe::<u64>(from as *const u8, 0) }.unwrap_or(0);
    let mask = if len < 8 { (1_u64 << (len * 8)) - 1 } else { u64::MAX };
    (bytes & mask, len)
}

/// Whether an entry is below a directory and one in that, the first of them directly below
/// the root.
#[inline(always)]
fn is_below(entry: *const u8, first: u64, second: u64) -> bool {
    let (mut here, mut top, mut next) = (entry as u64, 0, 0);
    for _ in 0..DEPTH {
        // SAFETY: any bytes are a number.
        let above = unsafe { probe::<u64>(here as *const u8, DENTRY_PARENT.load()) };
        match above {
            Some(above) if above != here => (next, top, here) = (top, here, above),
            Some(_) => return is_named(top, first) && is_named(next, second),
            None => return false,
        }
    }
    false
}

#[inline(always)]
fn is_named(entry: u64, wanted: u64) -> bool {
    entry != 0 && word(entry as *const u8).0 == wanted
}

/// Whether the current task is in the host's network namespace.
#[inline(always)]
fn is_host_network() -> bool {
    // SAFETY: members of the current task and any bytes, which are numbers.
    let number = unsafe {
        let proxy: *const u8 = member(session::current_task(), &TASK_NSPROXY);
        probe::<u64>(proxy, NSPROXY_NET.load())
            .and_then(|net| probe::<u32>(net as *const u8, NET_NUMBER.load()))
    };
    number.is_none_or(|number| number == HOST_NAMESPACE.load())
}
