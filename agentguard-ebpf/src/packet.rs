//! Packets as cgroup_skb programs see them: from the network header on.

use agentguard_common::hello::Watch;
use agentguard_common::net::{
    AF_INET, AF_INET6, Address, Destination, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP,
};
use agentguard_common::opaque;
use agentguard_common::session::SocketLabel;
use aya_ebpf::bindings::{__sk_buff, BPF_SK_STORAGE_GET_F_CREATE};
use aya_ebpf::helpers::generated::{
    bpf_get_socket_cookie, bpf_sk_fullsock, bpf_sk_storage_get, bpf_skb_load_bytes,
};
use aya_ebpf::programs::SkBuffContext;

use crate::maps::HELLOS;
use crate::socket;

/// `ETH_P_IP` and `ETH_P_IPV6` of `linux/if_ether.h`, in network order.
const ETH_P_IP: u32 = 0x0800u16.to_be() as u32;
const ETH_P_IPV6: u32 = 0x86ddu16.to_be() as u32;
/// An IPv4 header without options (RFC 791, 3.1).
const V4: u32 = 20;
/// An IPv6 header (RFC 8200, 3).
const V6: u32 = 40;
/// A UDP header (RFC 768).
const UDP: u32 = 8;
/// The fragment offset of an IPv4 header and its flag for more of them.
const FRAGMENT: u16 = 0x3fff;

/// A packet that was handed to a program.
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    /// The program's context.
    pub(crate) skb: *mut __sk_buff,
}

/// Where a packet comes from and goes to.
#[derive(Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) from: Destination,
    pub(crate) to: Destination,
    /// The address family.
    pub(crate) family: u16,
    /// The IP protocol: TCP, UDP or ICMP.
    pub(crate) protocol: u16,
    /// Where the transport's header begins.
    header: u32,
}

/// What a TCP header says (RFC 9293, 3.1).
pub(crate) struct Segment {
    /// The sequence number of the first byte of its payload.
    pub(crate) from: u32,
    /// Where the payload is in the packet.
    pub(crate) at: u32,
    /// How long that is.
    pub(crate) len: u32,
    /// Whether it opens the connection (SYN).
    pub(crate) opens: bool,
    /// Whether a byte of it is urgent (URG).
    pub(crate) urgent: bool,
}

/// Bits of the flags in a TCP header.
const SYN: u32 = 0x02;
const URG: u32 = 0x20;

impl Packet {
    pub(crate) const fn of(ctx: &SkBuffContext) -> Self {
        Self { skb: ctx.skb.skb }
    }

    /// The label of the socket that sends it, or that it is for.
    #[inline(always)]
    pub(crate) fn label(self) -> Option<&'static SocketLabel> {
        // SAFETY: a member of the program's context, which the verifier knows to be a
        // socket or null.
        let sock = unsafe { (*self.skb).__bindgen_anon_2.sk };
        if sock.is_null() {
            return None;
        }
        // SAFETY: as above, and not null.
        unsafe { socket::label(sock.cast_const().cast()) }
    }

    /// What the socket is known by for as long as the host runs.
    #[inline(always)]
    pub(crate) fn cookie(self) -> u64 {
        // SAFETY: the program's context.
        unsafe { bpf_get_socket_cookie(self.skb.cast()) }
    }

    /// Where its socket is connected to; `None` for one that is not. The packet itself may have
    /// been given another destination on its way (NAT).
    #[inline(always)]
    pub(crate) fn peer(self, family: u16) -> Option<Destination> {
        // SAFETY: a member of the program's context.
        let sock = unsafe { (*self.skb).__bindgen_anon_2.sk };
        if sock.is_null() {
            return None;
        }
        // SAFETY: as above, and not null; the helper gives null for what is no full socket.
        let sock = unsafe { bpf_sk_fullsock(sock) };
        if sock.is_null() {
            return None;
        }
        // SAFETY: members of that structure, which the verifier translates.
        let (port, address) = unsafe {
            let port = u16::from_be((*sock).dst_port);
            let address = if family == AF_INET {
                Address::v4(u32::from_be((*sock).dst_ip4))
            } else {
                let word = |at: usize| u64::from(u32::from_be((*sock).dst_ip6[at]));
                Address { high: word(0) << 32 | word(1), low: word(2) << 32 | word(3) }
            };
            (port, address)
        };
        (port != 0).then_some(Destination { address, port })
    }

    /// Its bytes, from the network header on.
    #[inline(always)]
    pub(crate) fn len(self) -> u32 {
        // SAFETY: a member of the program's context.
        unsafe { (*self.skb).len }
    }

    /// Whether the kernel cuts it into several.
    #[inline(always)]
    pub(crate) fn is_cut_up(self) -> bool {
        // SAFETY: a member of the program's context.
        unsafe { (*self.skb).gso_size != 0 }
    }

    /// Reads its headers as far as the ports, in one go. `None` for what is neither IPv4 nor
    /// IPv6, for packets with options or extension headers, and for fragments.
    ///
    /// To the verifier, all packets are alike afterwards; `noise` is for that.
    #[inline(always)]
    pub(crate) fn facts(self, noise: u64) -> Option<Facts> {
        let nowhere = Destination { address: Address::ANY6, port: 0 };
        let mut facts = Facts { from: nowhere, to: nowhere, family: 0, protocol: 0, header: 0 };
        if self.read_facts(noise, &mut facts) { Some(facts) } else { None }
    }

    /// The label of its socket, and its [`Self::facts`].
    #[inline(always)]
    pub(crate) fn of_session(self) -> Option<(&'static SocketLabel, Facts)> {
        let label = self.label()?;
        Some((label, self.facts(label.session)?))
    }

    /// A function of its own: what is read needs room in the stack that others need later.
    #[inline(never)]
    fn read_facts(self, noise: u64, facts: &mut Facts) -> bool {
        match self.headers(noise) {
            Some(found) => {
                *facts = found;
                true
            }
            None => false,
        }
    }

    #[inline(always)]
    fn headers(self, noise: u64) -> Option<Facts> {
        // SAFETY: a member of the program's context.
        let kind = unsafe { (*self.skb).protocol };
        let (from, to, family, protocol, header, ports) = if kind == ETH_P_IP {
            let header: [u32; 7] = self.load(0)?;
            let first = u32::from_be(header[0]);
            let fragment = u32::from_be(header[1]) as u16 & FRAGMENT;
            // Version 4, five words of header.
            if first >> 24 != 0x45 || fragment != 0 {
                return None;
            }
            let protocol = (u32::from_be(header[2]) >> 16 & 0xff) as u16;
            let address = |word: u32| Address::v4(u32::from_be(word));
            (address(header[3]), address(header[4]), AF_INET, protocol, V4, header[5])
        } else if kind == ETH_P_IPV6 {
            let header: [u32; 11] = self.load(0)?;
            if u32::from_be(header[0]) >> 28 != 6 {
                return None;
            }
            let protocol = (u32::from_be(header[1]) >> 8 & 0xff) as u16;
            let half = |at: usize| {
                u64::from(u32::from_be(header[at])) << 32 | u64::from(u32::from_be(header[at + 1]))
            };
            let from = Address { high: half(2), low: half(4) };
            let to = Address { high: half(6), low: half(8) };
            (from, to, AF_INET6, protocol, V6, header[10])
        } else {
            return None;
        };
        let ports = match protocol {
            IPPROTO_UDP | IPPROTO_TCP => u32::from_be(ports),
            IPPROTO_ICMP | IPPROTO_ICMPV6 => 0,
            _ => return None,
        };
        let number = |value: u32| opaque::number(u64::from(value), noise);
        let end = |address, port| Destination {
            address: opaque::address(address, noise),
            port: number(port) as u16,
        };
        Some(Facts {
            from: end(from, ports >> 16),
            to: end(to, ports & 0xffff),
            family: number(u32::from(family)) as u16,
            protocol: number(u32::from(protocol)) as u16,
            header: number(header) as u32,
        })
    }

    /// Where the payload is, and how long.
    #[inline(always)]
    pub(crate) fn payload(self, facts: &Facts) -> Option<(u32, u32)> {
        let at = if facts.protocol == IPPROTO_TCP {
            let words: u8 = self.load(facts.header + 12)?;
            facts.header + (u32::from(words >> 4) << 2)
        } else {
            facts.header + UDP
        };
        // SAFETY: a member of the program's context.
        let len = unsafe { (*self.skb).len };
        Some((at, len.checked_sub(at)?))
    }

    /// Reads the TCP header, for a packet of that protocol.
    #[inline(always)]
    pub(crate) fn segment(self, facts: &Facts) -> Option<Segment> {
        // Ports, sequence, acknowledgement, flags.
        let header: [u32; 4] = self.load(facts.header)?;
        let word = u32::from_be(header[3]);
        let flags = word >> 16;
        let at = facts.header + (word >> 28 << 2);
        // SAFETY: a member of the program's context.
        let len = unsafe { (*self.skb).len }.checked_sub(at)?;
        let opens = flags & SYN != 0;
        // The opening counts as one before the payload.
        let from = u32::from_be(header[1]).wrapping_add(u32::from(opens));
        Some(Segment { from, at, len, opens, urgent: flags & URG != 0 })
    }

    /// What has been read of the first bytes of the packet's socket; `None` where there is
    /// nothing yet and it is not to be made, or there is no memory for it.
    #[inline(always)]
    pub(crate) fn watch(self, make: bool) -> Option<*mut Watch> {
        // SAFETY: a member of the program's context, as in `label`.
        let sock = unsafe { (*self.skb).__bindgen_anon_2.sk };
        if sock.is_null() {
            return None;
        }
        let flags = if make { u64::from(BPF_SK_STORAGE_GET_F_CREATE) } else { 0 };
        let map = (&raw const HELLOS).cast_mut().cast();
        // SAFETY: a socket-storage map and a socket; a new value is zeros.
        let watch = unsafe { bpf_sk_storage_get(map, sock.cast(), core::ptr::null_mut(), flags) };
        if watch.is_null() { None } else { Some(watch.cast()) }
    }

    /// Reads something of fixed size.
    #[inline(always)]
    pub(crate) fn load<T: bytemuck::Pod>(self, at: u32) -> Option<T> {
        let mut value = T::zeroed();
        // SAFETY: the destination has the size that is given.
        let failed = unsafe {
            bpf_skb_load_bytes(self.skb.cast(), at, (&raw mut value).cast(), size_of::<T>() as u32)
        };
        if failed == 0 { Some(value) } else { None }
    }

    /// Copies `len` bytes, 1 to `MAX`, to `to`; false where there are none there.
    ///
    /// # Safety
    ///
    /// `to` must have room for `MAX` bytes, a power of two.
    #[inline(always)]
    pub(crate) unsafe fn copy<const MAX: u32>(self, at: u32, to: *mut u8, len: u32) -> bool {
        if len == 0 || len > MAX {
            return false;
        }
        // Says to the verifier what has just been checked: it forgets it where the
        // compiler keeps the number in two places.
        let len = opaque::cut(len - 1, MAX - 1) as u32 + 1;
        // SAFETY: by the contract above.
        unsafe { bpf_skb_load_bytes(self.skb.cast(), at, to.cast(), len) == 0 }
    }
}
