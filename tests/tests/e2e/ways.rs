//! Ways out that are not a connection of one's own.

use std::io::IoSlice;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};

use agentguard_tests::guard::{Guard, attempt_words, lines};
use agentguard_tests::{Outcome, in_vm, net};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::{CODER, denied, expect, resources};

/// Runs each as `coder`, expects EPERM and one decision with that resource and reason.
fn refused(guard: &Guard, ways: &[(&str, &str)], reason: &str) -> Outcome {
    for (words, _) in ways {
        expect(guard, words, &[&format!("{words} EPERM")]);
    }
    let decisions = guard.decisions()?;
    let denied = denied(&decisions);
    let expected: Vec<&str> = ways.iter().map(|(_, resource)| *resource).collect();
    assert_eq!(resources(&denied), expected, "{decisions:#?}");
    assert!(denied.iter().all(|event| event["reason"] == reason), "{decisions:#?}");
    assert_eq!(decisions.len(), denied.len(), "{decisions:#?}");
    Ok(())
}

#[test]
fn sockets_that_nothing_decides_on_are_not_to_be_had() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let ways = [
        ("socket packet", "socket:packet/dgram/0"),
        ("socket raw", "socket:inet/raw/255"),
        ("socket raw6", "socket:inet6/raw/58"),
        ("socket sctp", "socket:inet/stream/132"),
        ("socket udplite", "socket:inet/dgram/136"),
        ("socket vsock", "socket:vsock/stream/0"),
        ("socket xdp", "socket:xdp/raw/0"),
    ];
    refused(&guard, &ways, "protocol")?;
    let words = attempt_words("socket packet socket raw");
    let free = lines(&Command::new(&words[0]).args(&words[1..]).output()?);
    assert_eq!(free, ["socket packet ok", "socket raw ok"], "processes of no session");
    Ok(())
}

#[test]
fn source_routes_are_refused() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let outside = net::outside()?;
    let guard = Guard::start(&[CODER])?;
    let before = outside.received();
    let ways = [
        ("option route", "option:ip/4"),
        ("option route6", "option:ipv6/57"),
        ("routed 10.77.0.2:443", "option:ip/7"),
    ];
    refused(&guard, &ways, "steering")?;
    expect(&guard, "option ttl", &["option ttl ok"]);
    assert_eq!(outside.received(), before);
    Ok(())
}

#[test]
fn the_hosts_network_cannot_be_changed_and_can_be_looked_at() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    net::outside()?;
    let guard = Guard::start(&[CODER])?;
    let script = "
        ip -br address >/dev/null && echo looked
        ip link add way type dummy 2>/dev/null || echo no link
        ip route add 10.99.0.0/24 via 10.77.0.3 2>/dev/null || echo no route
        unshare --net ip link set lo up && echo own";
    let output = guard.run("coder", &["bash", "-c", script]).output()?;
    assert_eq!(lines(&output), ["looked", "no link", "no route", "own"], "{output:?}");
    let decisions = guard.decisions()?;
    assert_eq!(resources(&denied(&decisions)), ["netlink:route/16", "netlink:route/24"]);
    Ok(())
}

#[test]
fn nor_by_the_old_control_calls() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let ways =
        [("flags", "0x8914"), ("route", "0x890b"), ("tunnel", "0x89f1"), ("tun", "0x400454ca")];
    for (name, _) in ways {
        expect(&guard, &format!("ioctl {name}"), &[&format!("ioctl {name} EPERM")]);
    }
    expect(&guard, "ioctl ask", &["ioctl ask ok"]);
    // Another namespace does not help with a device that was opened in this one.
    let script = "
import ctypes, fcntl, os, struct
tun = os.open('/dev/net/tun', os.O_RDWR)
assert ctypes.CDLL(None).unshare(0x40000000) == 0
try:
    fcntl.ioctl(tun, 0x400454ca, struct.pack('16sH46x', b'', 0x1001))
    print('made')
except OSError as error:
    print(error.errno)
";
    let output = guard.run("coder", &["python3", "-c", script]).output()?;
    assert_eq!(lines(&output), ["1"], "{output:?}");
    let decisions = guard.decisions()?;
    let expected: Vec<String> = ways
        .iter()
        .map(|(_, call)| format!("ioctl:{call}"))
        .chain(["ioctl:0x400454ca".to_owned()])
        .collect();
    assert_eq!(resources(&denied(&decisions)), expected);
    Ok(())
}

#[test]
fn nothing_is_typed_into_a_terminal() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    refused(&guard, &[("ioctl type", "ioctl:0x5412")], "typing")?;
    let words = attempt_words("ioctl type");
    let free = lines(&Command::new(&words[0]).args(&words[1..]).output()?);
    assert_eq!(free, ["ioctl type ok"], "processes of no session");
    Ok(())
}

#[test]
fn unix_sockets_of_others_are_decided_by_the_name_they_are_bound_to() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let policy = "\
version: 1
agent: coder
egress:
  rules:
    - { allow: ['unix:/tmp/ways/allowed', 'unix:@ways-allowed'], id: named }
";
    let guard = Guard::start(&[policy])?;
    let _ = std::fs::remove_dir_all("/tmp/ways");
    std::fs::create_dir_all("/tmp/ways")?;
    std::fs::create_dir_all("/run/dbus")?;
    let _streams = ["/tmp/ways/allowed", "/tmp/ways/other", "/run/docker.sock"]
        .map(|path| UnixListener::bind(path).expect(path));
    let datagrams = UnixDatagram::bind("/tmp/ways/log")?;
    datagrams.set_nonblocking(true)?;
    std::os::unix::fs::symlink("/run/docker.sock", "/tmp/ways/link")?;
    std::fs::hard_link("/tmp/ways/other", "/tmp/ways/hard")?;
    let abstracts = ["ways-allowed", "ways-other"].map(|name| {
        use std::os::linux::net::SocketAddrExt as _;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name).expect(name);
        UnixListener::bind_addr(&address).expect(name)
    });
    for words in ["unix-connect /tmp/ways/allowed", "unix-connect @ways-allowed"] {
        expect(&guard, words, &[&format!("{words} ok")]);
    }
    for words in ["unix-own /tmp/ways/own", "unix-own @ways-own"] {
        expect(&guard, words, &[&format!("{words} ok")]);
    }
    let ways = [
        ("unix-connect /tmp/ways/other", "unix:/tmp/ways/other"),
        ("unix-connect /tmp/ways/hard", "unix:/tmp/ways/other"),
        ("unix-connect @ways-other", "unix:@ways-other"),
        ("unix-send /tmp/ways/log", "unix:/tmp/ways/log"),
        ("unix-connect /run/docker.sock", "unix:/run/docker.sock"),
        ("unix-connect /tmp/ways/link", "unix:/run/docker.sock"),
    ];
    for (words, _) in ways {
        expect(&guard, words, &[&format!("{words} EPERM")]);
    }
    // A bind mount in a namespace of the agent's own is another path, and the same socket.
    let alias = format!(
        "touch /tmp/ways/mount && mount --bind /run/docker.sock /tmp/ways/mount && {}",
        attempt_words("unix-connect /tmp/ways/mount").join(" ")
    );
    let own = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c", &alias];
    let output = guard.run("coder", &own).output()?;
    assert_eq!(lines(&output), ["unix-connect /tmp/ways/mount EPERM"], "{output:?}");
    let decisions = guard.decisions()?;
    let expected: Vec<&str> =
        ways.iter().map(|(_, resource)| *resource).chain(["unix:/run/docker.sock"]).collect();
    assert_eq!(resources(&denied(&decisions)), expected);
    let allowed = decisions.iter().filter(|event| event["rule"] == "named").count();
    assert_eq!((allowed, decisions.len()), (2, 2 + expected.len()), "{decisions:#?}");
    let managers = decisions.iter().filter(|event| event["rule"] == "builtin.managers").count();
    assert_eq!(managers, 3);
    assert!(datagrams.recv(&mut [0]).is_err(), "nothing may arrive");
    drop(abstracts);
    std::fs::remove_file("/run/docker.sock")?;
    Ok(())
}

#[test]
fn a_socket_of_another_session_is_not_to_be_reached() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let open = "version: 1\nagent: open\negress:\n  default: allow\n";
    let guard = Guard::start(&[CODER, open])?;
    let _ = std::fs::remove_file("/tmp/ways-session");
    let script = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.bind('/tmp/ways-session'); s.listen(); print('waiting', flush=True); sys.stdin.readline()";
    let mut server =
        agentguard_tests::guard::Waiting::start(guard.run("coder", &["python3", "-c", script]))?;
    let words = "unix-connect /tmp/ways-session";
    assert_eq!(guard.attempt("open", words)?, [format!("{words} EPERM")]);
    server.go()?;
    server.rest()?;
    let decisions = guard.decisions()?;
    assert_eq!(denied(&decisions)[0]["reason"], "other-session");
    Ok(())
}

#[test]
fn what_the_session_listens_on_itself_is_free_to_it_alone() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    net::outside()?;
    let guard = Guard::start(&[CODER])?;
    for at in ["127.0.0.1:7001", "0.0.0.0:7002", "[::]:7003", "[::1]:7004"] {
        expect(&guard, &format!("own {at}"), &[&format!("own {at} ok")]);
    }
    let decisions = guard.decisions()?;
    let own = decisions.iter().filter(|event| event["reason"] == "own").count();
    assert_eq!((own, denied(&decisions).len()), (4, 4), "{decisions:#?}");
    // Somebody else's port, and the same port of the session's own beside it.
    let _proxy = TcpListener::bind("127.0.0.1:7005")?;
    expect(&guard, "connect 127.0.0.1:7005", &["connect 127.0.0.1:7005 EPERM"]);
    expect(&guard, "shadow 127.0.0.1:7005", &["shadow 127.0.0.1:7005 EPERM"]);
    assert_eq!(denied(&guard.decisions()?).len(), 6);
    Ok(())
}

#[test]
fn a_connection_made_elsewhere_is_decided_when_it_is_used() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let outside = net::outside()?;
    // Taking one out of another process needs more than the rules on the network.
    let guard = Guard::start(&[&format!("{CODER}host:\n  allow: trace\n")])?;
    for (to, expected) in [("10.77.0.3:443", "EPERM"), ("10.77.0.2:443", "ok")] {
        // Inherited.
        let stream = TcpStream::connect(to)?;
        let mut command = guard.run("coder", &attempt_words("stdin send"));
        let output = command.stdin(OwnedFd::from(stream)).output()?;
        assert_eq!(lines(&output), [format!("stdin send {expected}")], "inherited, {to}");
        // Passed over a unix socket. Each time a new one: the other end hangs up.
        let stream = TcpStream::connect(to)?;
        let (ours, theirs) = UnixStream::pair()?;
        let fds = [stream.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(ours.as_raw_fd(), &[IoSlice::new(b"x")], &rights, MsgFlags::empty(), None)?;
        let mut command = guard.run("coder", &attempt_words("stdin receive"));
        let output = command.stdin(OwnedFd::from(theirs)).output()?;
        assert_eq!(lines(&output), [format!("stdin receive {expected}")], "passed, {to}");
        // Taken out of this process.
        let stream = TcpStream::connect(to)?;
        let words = format!("take-fd {}:{}", std::process::id(), stream.as_raw_fd());
        assert_eq!(guard.attempt("coder", &words)?, [format!("{words} {expected}")]);
    }
    // One that a session could not have: a packet socket, bound to a device.
    let packets = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Packet,
        nix::sys::socket::SockType::Raw,
        nix::sys::socket::SockFlag::SOCK_CLOEXEC,
        nix::sys::socket::SockProtocol::EthAll,
    )?;
    let mut command = guard.run("coder", &attempt_words("stdin send"));
    assert_eq!(lines(&command.stdin(packets).output()?), ["stdin send EPERM"]);
    let decisions = guard.decisions()?;
    let packet = decisions.iter().filter(|event| event["resource"] == "family-17").count();
    assert_eq!(packet, 1, "{decisions:#?}");
    let of = |outcome: &str| {
        let foreign = decisions.iter().filter(|event| event["action"] == "foreign");
        foreign.filter(|event| event["outcome"] == outcome).count()
    };
    assert_eq!((of("denied"), of("allowed")), (4, 3), "{decisions:#?}");
    let (tcp, _) = outside.received();
    assert!(tcp >= 2, "they are real connections");
    Ok(())
}

#[test]
fn a_ping_is_decided_by_rule_and_a_question_that_nobody_answers_is_a_denial() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    net::outside()?;
    let guard = Guard::start(&["\
version: 1
agent: coder
egress:
  rules:
    - { allow: 10.77.0.2, protocol: icmp, id: ping }
    - { ask: 10.77.0.3, id: asks }
ask: { timeout: 1s }
"])?;
    expect(&guard, "ping 10.77.0.2", &["ping 10.77.0.2 ok"]);
    expect(&guard, "ping 10.77.0.3", &["ping 10.77.0.3 EPERM"]);
    expect(&guard, "connect 10.77.0.2:443", &["connect 10.77.0.2:443 EPERM"]);
    expect(&guard, "connect 10.77.0.3:443", &["connect 10.77.0.3:443 EPERM"]);
    let decisions = guard.decisions()?;
    let asked = |outcome: &str| {
        let of_rule = decisions.iter().filter(|event| event["rule"] == "asks");
        of_rule.filter(|event| event["outcome"] == outcome).count()
    };
    assert_eq!((asked("held"), asked("denied")), (1, 1), "{decisions:#?}");
    assert_eq!(denied(&decisions).len(), 3);
    Ok(())
}

#[test]
fn an_observed_policy_refuses_none_of_these() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    net::outside()?;
    let guard = Guard::start(&["version: 1\nagent: coder\nmode: observe\negress: {}\n"])?;
    let _ = std::fs::remove_file("/tmp/ways-observed");
    let _listener = UnixListener::bind("/tmp/ways-observed")?;
    let ways = ["socket packet", "option route", "unix-connect /tmp/ways-observed"];
    for words in ways {
        expect(&guard, words, &[&format!("{words} ok")]);
    }
    let stream = TcpStream::connect("10.77.0.3:443")?;
    let mut command = guard.run("coder", &attempt_words("stdin send"));
    let output = command.stdin(Stdio::from(OwnedFd::from(stream))).output()?;
    assert_eq!(lines(&output), ["stdin send ok"]);
    let decisions = guard.decisions()?;
    let would = decisions.iter().filter(|event| event["outcome"] == "would-deny").count();
    assert_eq!((would, decisions.len()), (4, 4), "{decisions:#?}");
    Ok(())
}
