//! What the first bytes of a connection have to say, to which a name led.

use std::io;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agentguard_tests::guard::{Guard, PATIENCE, lines};
use agentguard_tests::net::Outside;
use agentguard_tests::resolver::Dnsmasq;
use agentguard_tests::{Outcome, in_vm, net};
use serde_json::Value;

use crate::denied;

/// May reach some names, which share an address.
const SHARED: &str = "\
version: 1
agent: shared
egress:
  dns: { inside: [10.77.0.0/24, 'fd77::/64'] }
  rules:
    - allow: [api.test, alias.test, api.example.com]
      ports: [443, 80, 8443]
      id: api
";

/// Says hello in the ways that it is told: `NAME HOW` for each.
const SPEAKER: &str = r#"
import socket, ssl, sys, time

def hello(name):
    to, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    talk = context.wrap_bio(to, back, server_hostname=name)
    try:
        talk.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return back.read()

def speak(how, name):
    port = 80 if how == 'http-80' else 443
    said = hello(None if name == '-' else name) if not how.startswith('file') else open(name, 'rb').read()
    to = socket.getaddrinfo('api.test', port, socket.AF_INET, socket.SOCK_STREAM)[0][4]
    with socket.socket() as one:
        if how == 'fast':
            one.sendto(said, socket.MSG_FASTOPEN, to)
            time.sleep(0.3)
            return
        one.connect(to)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if how == 'bytes':
            for byte in said:
                one.send(bytes([byte]))
        elif how == 'urgent':
            one.send(said[:90])
            one.send(said[90:91], socket.MSG_OOB)
            one.send(said[91:])
        elif how == 'twice':
            one.send(hello('api.test'))
            time.sleep(0.2)
            one.send(bytes([20, 3, 3, 0, 1, 1]) + said)
        elif how.startswith('http'):
            one.send(b'GET / HTTP/1.1\r\nHost: ' + name.encode() + b'\r\n\r\n')
        else:
            one.send(said)
        if how == 'answer':
            one.recv(1)
        time.sleep(0.3)

words = sys.argv[1:]
for how, name in zip(words[::2], words[1::2]):
    try:
        speak(how, name)
        print(how, name, 'sent')
    except OSError as error:
        print(how, name, error.strerror or error)
"#;

fn speak(guard: &Guard, words: &[&str]) -> io::Result<Vec<String>> {
    let mut all = vec!["python3", "-c", SPEAKER];
    all.extend(words);
    let output = guard.run("shared", &all).output()?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(lines(&output)) } else { Err(io::Error::other(errors)) }
}

/// Waits until something was heard that holds the text.
fn hears(outside: &Outside, text: &str) -> bool {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if holds(outside, text) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

fn holds(outside: &Outside, text: &str) -> bool {
    let text = text.as_bytes();
    outside.heard().iter().any(|said| said.windows(text.len()).any(|part| part == text))
}

/// The decisions on handshakes: what they were about, why, and what came of it.
fn told(decisions: &[Value]) -> Vec<(&str, &str, &str)> {
    decisions
        .iter()
        .filter(|event| event["action"] == "tls")
        .map(|event| {
            let word = |key: &str| event[key].as_str().unwrap_or_default();
            (word("resource"), word("reason"), word("outcome"))
        })
        .collect()
}

#[test]
fn a_handshake_names_a_server_that_is_allowed() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let outside = net::outside()?;
    let _server = Dnsmasq::start()?;
    let guard = Guard::start(&[SHARED])?;
    let good = ["plain", "api.test", "plain", "alias.test", "bytes", "api.test"];
    speak(&guard, &good)?;
    for name in ["api.test", "alias.test"] {
        assert!(hears(outside, name), "{name}");
    }
    assert_eq!(told(&guard.decisions()?), []);
    // The same address, another name; in one piece, byte by byte, with the opening of the
    // connection, behind a hello that is in order, with a byte that the other side takes out.
    let evil = [
        "plain",
        "plain.evil",
        "bytes",
        "bytes.evil",
        "fast",
        "fast.evil",
        "twice",
        "twice.evil",
        "urgent",
        "api.test",
        "plain",
        "sub.api.test",
        "plain",
        "xapi.test",
    ];
    speak(&guard, &evil)?;
    let decisions = guard.decisions()?;
    let expected = [
        ("tls:plain.evil:443", "sni", "denied"),
        ("tls:bytes.evil:443", "sni", "denied"),
        ("tls:fast.evil:443", "sni", "denied"),
        ("tls:twice.evil:443", "sni", "denied"),
        ("tls:10.77.0.2:443", "malformed", "denied"),
        ("tls:sub.api.test:443", "sni", "denied"),
        ("tls:xapi.test:443", "sni", "denied"),
    ];
    assert_eq!(told(&decisions), expected);
    assert_eq!(denied(&decisions).len(), expected.len());
    // Who waits for an answer does not wait: none will come.
    let start = Instant::now();
    let said = speak(&guard, &["answer", "late.evil"])?;
    assert_eq!(said, ["answer late.evil Operation not permitted"]);
    assert!(start.elapsed() < PATIENCE / 2);
    assert_eq!(denied(&guard.decisions()?).len(), expected.len() + 1);
    // Long enough for what was said to be said again, and for those who wait to give up.
    std::thread::sleep(Duration::from_secs(5));
    for name in ["plain.evil", "fast.evil", "twice.evil", "sub.api.test", "xapi.test", "late.evil"]
    {
        assert!(!holds(outside, name), "{name} was heard");
    }
    Ok(())
}

#[test]
fn hellos_of_other_programs_are_read() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let _outside = net::outside()?;
    let _server = Dnsmasq::start()?;
    let guard = Guard::start(&[SHARED])?;
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/tls/");
    let files = [
        "curl",
        "node",
        "openssl",
        "openssl-split",
        "rustls-12",
        "rustls-plain",
        "rustls-small",
        "rustls-grease",
        "rustls-no-name",
    ];
    let paths: Vec<String> = files.iter().map(|file| format!("{seeds}{file}")).collect();
    let words: Vec<&str> = paths.iter().flat_map(|path| ["file", path.as_str()]).collect();
    speak(&guard, &words)?;
    let told_of = [
        ("tls:api.example.com:443", "hidden", "allowed"),
        ("tls:10.77.0.2:443", "no-sni", "allowed"),
    ];
    assert_eq!(told(&guard.decisions()?), told_of);
    Ok(())
}

#[test]
fn what_shows_no_name_is_refused_under_strict_and_told_of_otherwise() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let outside = net::outside()?;
    let _server = Dnsmasq::start()?;
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/tls/");
    let grease = format!("{seeds}rustls-grease");
    let words = ["plain", "-", "http", "some.host", "file", &grease, "http-80", "other.host"];
    for (mode, outcome) in [("report", "allowed"), ("strict", "denied")] {
        let policy = SHARED.replace("egress:\n", &format!("egress:\n  tls: {mode}\n"));
        let policy = policy.as_str();
        let guard = Guard::start(&[policy])?;
        let before = outside.heard().len();
        speak(&guard, &words)?;
        assert_eq!(
            told(&guard.decisions()?),
            [
                ("tls:10.77.0.2:443", "no-sni", outcome),
                ("tls:10.77.0.2:443", "not-tls", outcome),
                ("tls:api.example.com:443", "hidden", outcome),
            ],
            "{mode}"
        );
        std::thread::sleep(Duration::from_secs(5));
        // What is no TLS on another port is a matter of its rule.
        let expected = if mode == "strict" { 1 } else { 4 };
        assert_eq!(outside.heard().len() - before, expected, "{mode}");
    }
    Ok(())
}

/// A server of TLS in the outside.
struct Server(Child);

impl Server {
    fn start(folder: &std::path::Path) -> io::Result<Self> {
        let (key, certificate) = (folder.join("key"), folder.join("certificate"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-nodes", "-subj", "/CN=api.test", "-days", "9", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .stderr(Stdio::null())
            .status()?;
        if !made.success() {
            return Err(io::Error::other("openssl makes no certificate"));
        }
        let mut command = Command::new("ip");
        command.args(["netns", "exec", "outside", "openssl", "s_server", "-quiet", "-WWW"]);
        command.args(["-accept", "8443", "-key"]).arg(&key).arg("-cert").arg(&certificate);
        command.current_dir(folder).stdin(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_client_gets_what_it_asks_for() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let _outside = net::outside()?;
    let _names = Dnsmasq::start()?;
    let folder = tempfile::tempdir()?;
    let content = "x".repeat(300_000);
    std::fs::write(folder.path().join("page"), &content)?;
    let _server = Server::start(folder.path())?;
    let strict = SHARED.replace("egress:\n", "egress:\n  tls: strict\n");
    let guard = Guard::start(&[strict.as_str()])?;
    let url = "https://api.test:8443/page";
    let curl = ["curl", "-sk", "--retry", "9", "--retry-connrefused", "--max-time", "60", url];
    let output = guard.run("shared", &curl).output()?;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout.len(), content.len());
    // Fronting: one name to connect to, another in the handshake.
    let address = "evil.test:8443:10.77.0.2";
    let words =
        ["curl", "-sk", "--max-time", "5", "--resolve", address, "https://evil.test:8443/page"];
    // The address is known by a name of another session only.
    assert!(!guard.run("shared", &words).output()?.status.success());
    let script = format!("curl -sk -o /dev/null {url}; {}", words.join(" "));
    let output = guard.run("shared", &["sh", "-c", &script]).output()?;
    assert!(output.stdout.is_empty(), "{output:?}");
    let decisions = guard.decisions()?;
    assert_eq!(told(&decisions), [("tls:evil.test:8443", "sni", "denied")]);
    Ok(())
}
