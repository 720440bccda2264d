//! What leads packets elsewhere than to the address that was decided on: source routes
//! in a socket's options or beside a message, and changes of the host's network.

/// `IPPROTO_IP`, as a level of options.
const LEVEL_IP: u32 = 0;
/// `IPPROTO_IPV6`.
const LEVEL_IPV6: u32 = 41;
/// `IP_OPTIONS` of `linux/in.h`: a source route can be among them (RFC 791, 3.1).
const IP_OPTIONS: u32 = 4;
/// `IP_RETOPTS`: the same, beside one message.
const IP_RETOPTS: u32 = 7;
/// `IPV6_2292RTHDR` of `linux/in6.h`: a routing header (RFC 8200, 4.4).
const IPV6_2292RTHDR: u32 = 5;
/// `IPV6_2292PKTOPTIONS`: all extension headers, a routing header among them.
const IPV6_2292PKTOPTIONS: u32 = 6;
/// `IPV6_RTHDR`.
const IPV6_RTHDR: u32 = 57;
/// `IPPROTO_TCP`.
const LEVEL_TCP: u32 = 6;
/// `SOL_SOCKET`.
const LEVEL_SOCKET: u32 = 1;
/// `TCP_REPAIR` of `linux/tcp.h`: lets a program say what the connection has sent already.
const TCP_REPAIR: u32 = 19;
/// `SO_ZEROCOPY` of `asm-generic/socket.h`: what is sent can be changed after it was looked
/// at.
const SO_ZEROCOPY: u32 = 60;

/// Whether a socket option, or a control message beside a datagram, can steer.
#[inline(always)]
#[must_use]
pub const fn option(level: u32, name: u32) -> bool {
    match level {
        LEVEL_IP => matches!(name, IP_OPTIONS | IP_RETOPTS),
        LEVEL_IPV6 => matches!(name, IPV6_2292RTHDR | IPV6_2292PKTOPTIONS | IPV6_RTHDR),
        LEVEL_TCP => name == TCP_REPAIR,
        LEVEL_SOCKET => name == SO_ZEROCOPY,
        _ => false,
    }
}

/// `NETLINK_ROUTE` of `linux/netlink.h`: addresses, routes, devices.
const ROUTE: u32 = 0;
/// `NETLINK_SOCK_DIAG`: lists of sockets, and closing other people's.
const SOCK_DIAG: u32 = 4;
/// `NETLINK_AUDIT`.
const AUDIT: u32 = 9;
/// `NETLINK_GENERIC`: a family for each subsystem.
const GENERIC: u32 = 16;
/// The first type that is not of netlink itself (`NLMSG_MIN_TYPE`), and of routing.
const FIRST: u32 = 16;
/// `SOCK_DESTROY`.
const SOCK_DESTROY: u32 = 21;
/// `AUDIT_GET`, and the messages that programs may put into the audit log.
const AUDIT_GET: u32 = 1000;
const AUDIT_USER: u32 = 1005;
const AUDIT_USER_MESSAGES: [u32; 4] = [1100, 1199, 2100, 2999];
/// `GENL_ID_CTRL`: finds the families.
const GENERIC_CONTROL: u32 = 16;

/// Whether a message to the kernel only asks. Whatever is not known to do so is taken
/// for a change; only who administers the network could make one anyway.
#[inline(always)]
#[must_use]
pub const fn only_asks(protocol: u32, kind: u32) -> bool {
    if kind < FIRST {
        return true;
    }
    match protocol {
        // New, del, get, set (`rtnetlink_rcv_msg`).
        ROUTE => (kind - FIRST) & 3 == 2,
        SOCK_DIAG => kind != SOCK_DESTROY,
        AUDIT => {
            let [first, last, first2, last2] = AUDIT_USER_MESSAGES;
            kind == AUDIT_GET
                || kind == AUDIT_USER
                || (first <= kind && kind <= last)
                || (first2 <= kind && kind <= last2)
        }
        GENERIC => kind == GENERIC_CONTROL,
        _ => false,
    }
}

/// `TUNSETIFF` of `linux/if_tun.h`: makes a network device, or takes one over.
pub const TUNSETIFF: u32 = 0x4004_54ca;

/// `TIOCSTI` of `asm-generic/ioctls.h`: puts a character into a terminal's input.
const TIOCSTI: u32 = 0x5412;
/// `TIOCLINUX`: among much else, pastes into a console.
const TIOCLINUX: u32 = 0x541c;

/// Whether a control call types into a terminal: a shell that waits behind the session,
/// and is in none itself, would read it as a command.
#[inline(always)]
#[must_use]
pub const fn types(call: u32) -> bool {
    matches!(call, TIOCSTI | TIOCLINUX)
}

/// Whether a control call on a socket changes addresses, routes, devices, tunnels or
/// neighbours (`SIOC…` of `linux/sockios.h`). All that does is done by netlink as well.
#[inline(always)]
#[must_use]
pub const fn changes_network(call: u32) -> bool {
    if call >> 8 != 0x89 {
        return false;
    }
    matches!(
        call & 0xff,
        // ADDRT, DELRT, SIFLINK, SIFFLAGS, SIFADDR, SIFDSTADDR, SIFBRDADDR
        0x0b | 0x0c | 0x11 | 0x14 | 0x16 | 0x18 | 0x1a
            // SIFNETMASK, SIFMETRIC, SIFMEM, SIFMTU, SIFNAME, SIFHWADDR, SIFENCAP
            | 0x1c | 0x1e | 0x20 | 0x22 | 0x23 | 0x24 | 0x26
            // SIFSLAVE, SIFPFLAGS, DIFADDR, SIFHWBROADCAST, SIFBR, SIFTXQLEN
            | 0x30 | 0x34 | 0x36 | 0x37 | 0x41 | 0x43
            // DARP, SARP, DRARP, SRARP, SIFMAP, SIFVLAN
            | 0x53 | 0x55 | 0x60 | 0x62 | 0x71 | 0x83
            // BOND…, BR…
            | 0x90..=0x95 | 0xa0..=0xa3
            // What each kind of device has of its own; for tunnels, to add, delete and
            // change them. The first one asks.
            | 0xf1..=0xff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_routes_steer_and_other_options_do_not() {
        assert!(option(0, 4) && option(0, 7) && option(41, 57) && option(41, 5) && option(41, 6));
        // IP_TOS, IP_PKTINFO, IPV6_V6ONLY, IPV6_PKTINFO, SO_REUSEADDR, TCP_NODELAY.
        for (level, name) in [(0, 1), (0, 8), (41, 26), (41, 50), (1, 4), (6, 1)] {
            assert!(!option(level, name), "{level} {name}");
        }
    }

    #[test]
    fn control_calls_that_ask_are_told_from_those_that_change() {
        // GIFCONF, GIFFLAGS, GIFADDR, GIFHWADDR, GIFINDEX, ETHTOOL, GETTUNNEL, FIONREAD.
        for call in [0x8912, 0x8913, 0x8915, 0x8927, 0x8933, 0x8946, 0x89f0, 0x541b, TUNSETIFF] {
            assert!(!changes_network(call) && !types(call), "{call:x}");
        }
        assert!(types(0x5412) && types(0x541c) && !changes_network(0x5412));
        // ADDRT, SIFFLAGS, SIFADDR, ADDTUNNEL, BRADDIF, SARP.
        for call in [0x890b, 0x8914, 0x8916, 0x89f1, 0x89a2, 0x8955] {
            assert!(changes_network(call), "{call:x}");
        }
    }

    #[test]
    fn questions_are_told_from_changes() {
        // RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, SOCK_DIAG_BY_FAMILY, CTRL.
        for (protocol, kind) in [(0, 18), (0, 22), (0, 26), (4, 20), (16, 16), (9, 1100), (6, 3)] {
            assert!(only_asks(protocol, kind), "{protocol} {kind}");
        }
        // RTM_NEWLINK, RTM_DELADDR, RTM_NEWROUTE, RTM_SETLINK, SOCK_DESTROY, a generic
        // family, nf_tables, xfrm, AUDIT_SET.
        for (protocol, kind) in
            [(0, 16), (0, 21), (0, 24), (0, 19), (4, 21), (16, 30), (12, 2560), (6, 16), (9, 1001)]
        {
            assert!(!only_asks(protocol, kind), "{protocol} {kind}");
        }
    }
}
