//! A session that has read a secret: what it sends then, by whatever way, arrives nowhere.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use agentguard_tests::guard::{Guard, Waiting, agentguard, lines, sessions};
use agentguard_tests::net::Outside;
use agentguard_tests::resolver::Dnsmasq;
use agentguard_tests::{Outcome, in_vm, net};
use serde_json::Value;

use crate::denied;

/// May reach the outside until it knows a secret.
fn keeper(secrets: &Path, tainted: &str) -> String {
    format!(
        "version: 1
agent: keeper
egress:
  dns: {{ inside: [10.77.0.0/24] }}
  rules:
    - {{ allow: [10.77.0.2, 127.0.0.1], ports: any }}
    - {{ allow: [api.test, '*.wild.test'], ports: [80, 443] }}
secrets: {}
tainted: {{ egress: {tainted} }}
",
        secrets.display()
    )
}

/// A folder with a secret, on a file system that the host's first process sees.
fn secrets() -> io::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    write(folder.path())?;
    Ok(folder)
}

fn write(folder: &Path) -> io::Result<()> {
    let token = folder.join("token");
    std::fs::write(&token, "TOP-SECRET")?;
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o700))
}

/// Connections of several kinds are opened; then the secret is read, and each of them and
/// new ones are tried.
const LEAKY: &str = r"
import errno, os, socket, sys, threading, time

def said(name, deed):
    try:
        deed()
        print(name, 'ok', flush=True)
    except OSError as error:
        print(name, errno.errorcode[error.errno], flush=True)

def tcp():
    return socket.create_connection(('10.77.0.2', 443), 5)

secret = sys.argv[1] + '/token'
print('ready', flush=True)
plain, other, raw, passed = tcp(), tcp(), tcp(), tcp()
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.connect(('10.77.0.2', 9999))
mine, theirs = socket.socketpair()
for one in (plain, other, raw, passed):
    one.send(b'early ')

# What does not read it changes nothing.
os.listdir(sys.argv[1])
os.stat(secret)
os.close(os.open(secret, os.O_PATH))
os.close(os.open(secret, os.O_WRONLY | os.O_APPEND))
plain.send(b'still ')

child = os.fork()
if child == 0:
    # A sibling of the one that reads, with a connection of its own.
    mine.recv(1)
    said('sibling', lambda: other.send(b'LEAK-sibling'))
    said('sibling-connect', tcp)
    os._exit(0)
reader = threading.Thread(target=lambda: open(secret).read())
reader.start()
reader.join()
theirs.send(b'x')
os.waitpid(child, 0)
said('plain', lambda: plain.send(b'LEAK-plain'))
said('write', lambda: os.write(plain.fileno(), b'LEAK-write'))
said('connect', tcp)
said('datagram', lambda: udp.send(b'LEAK-udp'))
said('sendto', lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'LEAK', ('10.77.0.2', 443)))
said('fast', lambda: socket.socket().sendto(b'LEAK-fast', socket.MSG_FASTOPEN, ('10.77.0.2', 443)))
said('loopback', lambda: socket.create_connection(('127.0.0.1', 9), 5))
# Which of these are refused, and which are lost on their way, is the kernel's matter.
for deed in (lambda: os.sendfile(raw.fileno(), os.open(secret, os.O_RDONLY), 0, 10),
             lambda: os.splice(os.open(secret, os.O_RDONLY), raw.fileno(), 10)):
    try:
        deed()
    except (OSError, ValueError):
        pass
print('done', flush=True)
input()
said('cleared', tcp)
";

fn heard(outside: &Outside, text: &str) -> usize {
    let text = text.as_bytes();
    let said = outside.heard();
    said.iter().filter(|said| said.windows(text.len()).any(|part| part == text)).count()
}

#[test]
fn nothing_leaves_once_a_secret_was_read() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let outside = net::outside()?;
    let folder = secrets()?;
    let guard = Guard::start(&[&keeper(folder.path(), "deny")])?;
    let place = folder.path().display().to_string();
    let (_, datagrams) = outside.received();
    let words = ["/usr/bin/python3", "-B", "-c", LEAKY, &place];
    let mut waiting = Waiting::start(guard.run("keeper", &words))?;
    let mut said = vec![waiting.line()?];
    while said.last().is_some_and(|line| line != "done" && !line.is_empty()) {
        said.push(waiting.line()?);
    }
    let expected = [
        "sibling EPERM",
        "sibling-connect EPERM",
        "plain EPERM",
        "write EPERM",
        "connect EPERM",
        "datagram EPERM",
        "sendto EPERM",
        "fast EPERM",
        "loopback EPERM",
        "done",
    ];
    assert_eq!(said, expected);
    let id = only_session()?;
    assert!(id["tainted"].as_str().unwrap_or_default().contains("token"), "{id}");
    guard.wait_for("the last refusal", |event| event["resource"] == "tcp://127.0.0.1:9")?;
    let events = guard.events()?;
    let refused = denied(&events);
    // One for each attempt; some of what was handed over otherwise may make one more.
    assert!((9..=11).contains(&refused.len()), "{refused:?}");
    assert!(refused.iter().all(|event| event["message"] == "the session has read a secret"));
    let taints =
        |events: &[Value]| events.iter().filter(|event| event["action"] == "session.taint").count();
    assert_eq!(taints(&events), 1);
    let why = agentguard(&["why"])?;
    assert!(String::from_utf8_lossy(&why.stdout).contains("has read a secret"), "{why:?}");

    let name = id["id"].as_str().unwrap_or_default();
    let cleared = agentguard(&["clear", name])?;
    assert!(cleared.status.success(), "{cleared:?}");
    guard.wait_for("session.clear", |event| event["action"] == "session.clear")?;
    let again = agentguard(&["clear", name])?;
    assert!(!again.status.success(), "{again:?}");
    waiting.go()?;
    assert_eq!(waiting.rest()?, ["cleared ok"]);

    // Connections are heard when they end; what the kernel had left is tried again meanwhile.
    std::thread::sleep(Duration::from_secs(5));
    assert!(heard(outside, "early still ") >= 1);
    for leak in ["LEAK", "TOP-SECRET"] {
        assert_eq!(heard(outside, leak), 0, "{leak}");
    }
    assert_eq!(outside.received().1, datagrams);
    Ok(())
}

fn only_session() -> io::Result<Value> {
    sessions()?.into_iter().next().ok_or_else(|| io::Error::other("no session"))
}

/// Ways to what a secret holds that open it under no name of a secret.
const ROUNDABOUT: &str = r"
import errno, os, socket, subprocess, sys
how, folder = sys.argv[1:]
secret, other = folder + '/token', folder + '-other'
def tries():
    try:
        socket.create_connection(('10.77.0.2', 443), 5).close()
        return 'ok'
    except OSError as error:
        return errno.errorcode[error.errno]
before = tries()
try:
    if how == 'rename':
        os.rename(secret, other)
    elif how == 'link':
        os.link(secret, other)
    elif how == 'child':
        subprocess.run(['/bin/cat', secret], stdout=subprocess.DEVNULL, check=True)
    elif how == 'update':
        os.close(os.open(secret, os.O_RDWR))
    elif how == 'exec':
        subprocess.run([secret], stderr=subprocess.DEVNULL)
except OSError as error:
    print(errno.errorcode[error.errno], end=' ')
print(how, before, tries())
";

#[test]
fn ways_around_the_name_of_a_secret_count_as_reading_it() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    net::outside()?;
    let folder = secrets()?;
    let guard = Guard::start(&[&keeper(folder.path(), "deny")])?;
    let place = folder.path().display().to_string();
    for how in ["child", "update", "link", "exec", "rename"] {
        let words = ["/usr/bin/python3", "-B", "-c", ROUNDABOUT, how, &place];
        let output = guard.run("keeper", &words).output()?;
        // The file is no program, which is found out when it has been read.
        let said = lines(&output).join("").replace("ENOEXEC ", "");
        assert_eq!(said, format!("{how} ok EPERM"), "{output:?}");
        let _ = std::fs::remove_file(format!("{place}-other"));
        write(folder.path())?;
    }
    Ok(())
}

/// Looks names up before and after, and keeps a connection.
const NAMED: &str = r"
import errno, socket, sys
def tries(name, port=443):
    try:
        to = socket.getaddrinfo(name, port, socket.AF_INET, socket.SOCK_STREAM)[0][4]
        one = socket.socket()
        one.connect(to)
        return one
    except OSError as error:
        return error.errno
kept, lost = tries('api.test', 80), tries('x.wild.test', 80)
direct = socket.getaddrinfo('api.test', 80, socket.AF_INET, socket.SOCK_STREAM)[0][4]
open(sys.argv[1] + '/token').read()
def said(deed):
    try:
        deed()
        return 'ok'
    except OSError as error:
        return errno.errorcode[error.errno]
print(said(lambda: kept.send(b'KEPT')), said(lambda: lost.send(b'LOST')))
# By an address that was learned before.
print(said(lambda: socket.create_connection(direct, 5)))
print(said(lambda: socket.create_connection(('10.77.0.3', 80), 5)))
print(isinstance(tries('api.test', 80), socket.socket), isinstance(tries('y.wild.test', 80), socket.socket))
kept.close()
";

#[test]
fn a_narrower_list_holds_for_names_that_were_known_before() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let outside = net::outside()?;
    let _server = Dnsmasq::start()?;
    let folder = secrets()?;
    let narrow = "{ rules: [{ allow: api.test, ports: [80, 443] }] }";
    let guard = Guard::start(&[
        &keeper(folder.path(), narrow).replace("[10.77.0.2, 127.0.0.1]", "127.0.0.1")
    ])?;
    let place = folder.path().display().to_string();
    let words = ["/usr/bin/python3", "-B", "-c", NAMED, &place];
    let output = guard.run("keeper", &words).output()?;
    assert_eq!(lines(&output), ["ok EPERM", "ok", "EPERM", "True False"], "{output:?}");
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!((heard(outside, "KEPT"), heard(outside, "LOST")), (1, 0));
    Ok(())
}

#[test]
fn a_taint_outlives_the_daemon() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    net::outside()?;
    let folder = secrets()?;
    let mut guard = Guard::start(&[&keeper(folder.path(), "deny")])?;
    let script = "import socket, sys
open(sys.argv[1] + '/token').read()
def tries():
    try:
        socket.create_connection(('10.77.0.2', 443), 5)
        return 'ok'
    except OSError as error:
        return error.errno
print('ready', flush=True)
for _ in range(3):
    input()
    print(tries(), flush=True)
";
    let place = folder.path().display().to_string();
    let mut waiting =
        Waiting::start(guard.run("keeper", &["/usr/bin/python3", "-c", script, &place]))?;
    let mut tries = || -> io::Result<String> {
        waiting.go()?;
        waiting.line()
    };
    assert_eq!(tries()?, "1");
    guard.kill_daemon()?;
    assert_eq!(tries()?, "1");
    guard.restart()?;
    assert!(only_session()?["tainted"].is_string());
    let session = only_session()?;
    let cleared = agentguard(&["clear", session["id"].as_str().unwrap_or_default()])?;
    assert!(cleared.status.success(), "{cleared:?}");
    assert_eq!(tries()?, "ok");
    Ok(())
}
