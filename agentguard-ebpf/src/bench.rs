//! The programs that `cargo xtask bench` measures: what the hooks on egress do, in
//! programs of a type that every kernel lets `BPF_PROG_TEST_RUN` run
//! (cgroup_skb). They call the functions that the hooks call, on the same maps.
//! What differs: the address and the socket's family and protocol come from a map
//! of requests and not from a hook's arguments.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![expect(
    clippy::cast_possible_truncation,
    reason = "helpers pack two numbers into one, and sizes are known to be small"
)]

/// The names are for those who fill the maps.
const _: [&str; 4] =
    [bench_request::REQUESTS, bench_request::CURSOR, bench_request::LABEL, bench_request::WAITING];

#[path = "hooks/answering.rs"]
mod answering;
#[path = "hooks/asking.rs"]
#[expect(dead_code, reason = "no handshake is read here")]
mod asking;
mod atomic;
mod bench_request;
#[expect(dead_code, reason = "packets are not counted here")]
mod budget;
#[path = "hooks/egress.rs"]
#[expect(dead_code, reason = "there is no struct socket to read")]
mod egress;
mod emit;
#[path = "hooks/files.rs"]
#[expect(dead_code, reason = "only opening is measured")]
mod files;
/// Calls cannot be held here: programs of this type have no call to send a signal to.
mod hold {
    use agentguard_common::hold::Held;
    use agentguard_common::session::TaskLabel;
    use agentguard_common::verdict::Reason;

    pub(crate) const WHOLE: u32 = 0;

    pub(crate) const fn keys() -> [u64; 2] {
        [0, 0]
    }

    pub(crate) const fn ask(_: &TaskLabel, _: u64, _: u32, _: u32) -> Held {
        Held::refused(Reason::Unheld)
    }

    pub(crate) const fn is_allowed(_: u64, _: u64) -> bool {
        false
    }

    pub(crate) const fn hold_hello(_: u64, _: u64) -> u64 {
        0
    }
}
#[expect(dead_code, reason = "there are no hook arguments to read")]
mod kernel;
mod maps;
mod names;
#[expect(dead_code, reason = "likewise")]
mod packet;
#[path = "hooks/question.rs"]
mod question;
mod recent;
#[expect(dead_code, reason = "only names need more than the stack")]
mod scratch;
#[expect(dead_code, reason = "nothing is labelled here")]
mod session;
mod socket;
mod taint;
#[expect(dead_code, reason = "only deciding is measured")]
mod trail;

use agentguard_common::dns;
use agentguard_common::egress::{Entry, MAX_ENTRIES};
use agentguard_common::event::Kind;
use agentguard_common::file::{Deed, needs};
use agentguard_common::resolve::{Asked as Question, AskedKey};
use agentguard_common::session::{SocketLabel, TaskLabel};
use aya_ebpf::btf_maps::lpm_trie::{Key as LpmKey, LpmTrie};
use aya_ebpf::btf_maps::{Array, HashMap};
use aya_ebpf::helpers::generated::bpf_get_current_cgroup_id;
use aya_ebpf::macros::{btf_map, cgroup_skb};
use aya_ebpf::programs::SkBuffContext;

use crate::bench_request::{Cursor, MAX_REQUESTS, Request};
use crate::egress::{Asked, Socket};
use crate::packet::{Facts, Packet};

/// What a cgroup_skb program returns to let a packet pass.
const PASS: i32 = 1;
/// What it returns to drop it.
const REFUSE: i32 = 0;

#[btf_map]
static REQUESTS: Array<Request, { MAX_REQUESTS as usize }> = Array::new();

/// The label of the socket that packets are to be of: those of a trial have one without.
#[btf_map]
static LABEL: Array<SocketLabel, 1> = Array::new();

/// The question that answers are for.
#[btf_map]
static WAITING: Array<Question, 1> = Array::new();

#[btf_map]
static CURSOR: Array<Cursor, 1> = Array::new();

/// The same rules in a trie, for comparison: policy and address to the entry.
#[btf_map]
static TRIE: LpmTrie<[u8; 20], Entry, { MAX_ENTRIES as usize }> = LpmTrie::new();

/// Labels by cgroup, for kernels that keep task storage from cgroup_skb programs.
#[btf_map]
static CGROUPS: HashMap<u64, TaskLabel, 1024> = HashMap::new();

/// What everything is compared with.
#[cgroup_skb(egress)]
fn empty(_: SkBuffContext) -> i32 {
    PASS
}

/// A hook as far as the label: what an unguarded task pays.
#[cgroup_skb(egress)]
fn label(_: SkBuffContext) -> i32 {
    verdict(session::current().is_some())
}

/// A hook as far as the address.
#[cgroup_skb(egress)]
fn address(_: SkBuffContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let Some(asked) = asked() else { return REFUSE };
    let to = asked.to;
    verdict(to.address.low != label.session)
}

/// A hook as far as the session and its policy.
#[cgroup_skb(egress)]
fn policy(_: SkBuffContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let Some(asked) = asked() else { return REFUSE };
    let Some(entry) = session::entry(&label) else { return REFUSE };
    let slot = session::terms(entry).policy;
    let Some(policy) = maps::POLICIES.get(slot) else { return REFUSE };
    let to = asked.to;
    verdict(to.address.low != policy.tag)
}

/// A hook as far as the ruling.
#[cgroup_skb(egress)]
fn decide(_: SkBuffContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let Some(asked) = asked() else { return REFUSE };
    let (ruling, _, observed) = egress::rule(&label, &asked);
    verdict(ruling.verdict.passes() || observed != 0)
}

/// [`decide`] for one request after another.
#[cgroup_skb(egress)]
fn decide_each(_: SkBuffContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let Some(asked) = asked_next() else { return REFUSE };
    let (ruling, _, observed) = egress::rule(&label, &asked);
    verdict(ruling.verdict.passes() || observed != 0)
}

/// A whole hook, with its counters and its record.
#[cgroup_skb(egress)]
fn record(_: SkBuffContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let Some(asked) = asked() else { return REFUSE };
    verdict(egress::decide(Kind::Connect, &label, &asked))
}

/// [`label`] with the stand-in: the label by the cgroup.
#[cgroup_skb(egress)]
fn label_by_cgroup(_: SkBuffContext) -> i32 {
    verdict(by_cgroup().is_some())
}

/// [`decide`] with the stand-in.
#[cgroup_skb(egress)]
fn decide_by_cgroup(_: SkBuffContext) -> i32 {
    let Some(label) = by_cgroup() else { return PASS };
    let Some(asked) = asked() else { return REFUSE };
    let (ruling, _, observed) = egress::rule(&label, &asked);
    verdict(ruling.verdict.passes() || observed != 0)
}

/// [`decide`] with a trie in the place of the search over hashes.
#[cgroup_skb(egress)]
fn decide_by_trie(_: SkBuffContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let Some(asked) = asked() else { return REFUSE };
    let to = asked.to;
    let Some(entry) = session::entry(&label) else { return REFUSE };
    let slot = session::terms(entry).policy;
    let Some(policy) = maps::POLICIES.get(slot) else { return REFUSE };
    let mut data = [0u8; 20];
    data[..4].copy_from_slice(&slot.to_ne_bytes());
    data[4..].copy_from_slice(&to.address.reached().octets());
    let found = TRIE.get(&LpmKey::new(160, data));
    verdict(match found {
        Some(entry) => entry.rules[0].first == to.port && entry.rules[0].verdict == 0,
        None => policy.egress_default == 0,
    })
}

/// A data packet of a session, as `cgroup_skb_egress` looks at it.
#[cgroup_skb(egress)]
fn data_packet(ctx: SkBuffContext) -> i32 {
    let packet = Packet::of(&ctx);
    let Some((_, facts)) = of_session(packet) else { return REFUSE };
    verdict(facts.to.port != dns::PORT && facts.from.port != dns::PORT)
}

/// A question, likewise.
#[cgroup_skb(egress)]
fn ask_name(ctx: SkBuffContext) -> i32 {
    let packet = Packet::of(&ctx);
    let Some((label, facts)) = of_session(packet) else { return REFUSE };
    let Ok(ground) = egress::ground(&label.of_maker()) else { return REFUSE };
    if !names::is_resolver(ground.slot, ground.policy, facts.to.address) {
        return REFUSE;
    }
    verdict(question::decide(packet, &facts, label, &ground))
}

/// An answer, as `cgroup_skb_ingress` looks at it, and the question before it.
#[cgroup_skb(ingress)]
fn answer_name(ctx: SkBuffContext) -> i32 {
    let packet = Packet::of(&ctx);
    let Some((label, facts)) = of_session(packet) else { return REFUSE };
    let Ok(ground) = egress::ground(&label.of_maker()) else { return REFUSE };
    if !wait(packet) || !names::is_resolver(ground.slot, ground.policy, facts.from.address) {
        return REFUSE;
    }
    verdict(answering::decide(packet, &facts, label, &ground))
}

/// Only the question before it.
#[cgroup_skb(ingress)]
fn answer_ready(ctx: SkBuffContext) -> i32 {
    verdict(wait(Packet::of(&ctx)))
}

/// The label and the facts of a packet. The socket's own label is looked for as well.
#[inline(always)]
fn of_session(packet: Packet) -> Option<(&'static SocketLabel, Facts)> {
    let label = packet.label().or_else(|| LABEL.get(0))?;
    Some((label, packet.facts(label.session)?))
}

#[inline(always)]
fn wait(packet: Packet) -> bool {
    let Some(asked) = WAITING.get(0) else { return false };
    let key = AskedKey::new(packet.cookie(), 7, 1, &asked.resolver);
    maps::ASKED.insert(key, asked, 0).is_ok()
}

#[inline(always)]
const fn verdict(passes: bool) -> i32 {
    if passes { PASS } else { REFUSE }
}

#[inline(always)]
fn by_cgroup() -> Option<TaskLabel> {
    // SAFETY: the helper has no preconditions.
    let cgroup = unsafe { bpf_get_current_cgroup_id() };
    // SAFETY: labels are not replaced while programs run.
    unsafe { CGROUPS.get(cgroup) }.copied()
}

/// What the first request asks for.
#[inline(always)]
fn asked() -> Option<Asked> {
    read(REQUESTS.get(0)?)
}

/// What the next request asks for.
#[inline(always)]
fn asked_next() -> Option<Asked> {
    let cursor = CURSOR.get_ptr_mut(0)?;
    // SAFETY: a live map value; one run at a time uses it.
    let at = unsafe {
        let at = (*cursor).next & (*cursor).mask;
        (*cursor).next = at + 1;
        at
    };
    read(REQUESTS.get(at)?)
}

/// Reads a request as a hook reads its arguments.
#[inline(always)]
fn read(request: &Request) -> Option<Asked> {
    let (family, protocol) = (request.family, request.protocol);
    let socket = Socket { family, protocol, kind: 0, sock: core::ptr::null() };
    if egress::left_alone(socket.family) {
        return None;
    }
    // SAFETY: the request has room for more than an address.
    Some(unsafe { egress::asked_at(request.sockaddr.as_ptr(), request.len as i32, socket) }.0)
}

/// Unreachable: nothing here panics.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// As for the guard's own programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// The entry of the file that is to be opened.
#[btf_map]
static ENTRY: Array<u64, 1> = Array::new();

/// A hook on a file that is opened to be read.
#[cgroup_skb(egress)]
fn open(_: SkBuffContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let Some(entry) = ENTRY.get(0) else { return REFUSE };
    let outcome = files::decide(&label, *entry as *const u8, Deed::Read, needs::READ);
    verdict(outcome == files::Outcome::Goes)
}

/// Finding a file, and no more.
#[cgroup_skb(egress)]
fn find(_: SkBuffContext) -> i32 {
    let Some(label) = session::current() else { return PASS };
    let Some(slot) = trail::Trail::take() else { return REFUSE };
    let end = trail::find(slot, label.slot);
    trail::Trail::give(slot);
    verdict(end == 0)
}
