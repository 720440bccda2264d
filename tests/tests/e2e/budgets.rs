//! Limits per time: what the kernel lets through, and no more.

use agentguard_tests::guard::{Guard, lines};
use agentguard_tests::{Outcome, in_vm, net};

/// May do a little of everything.
const THRIFTY: &str = "\
version: 1
agent: thrifty
egress:
  rules:
    - allow: 10.77.0.2
      ports: [443]
limits: { connections: 3/h, egress: 1MiB/h, execs: 4/h, writes: 3/h, deletes: 2/h }
";

/// The interpreter itself: a wrapper would be one more program, or ten.
const PYTHON: &str = "/usr/bin/python3";

/// Does something so many times; prints how often it went well, and the last error.
const TIRELESS: &str = r"
import errno, os, socket, subprocess, sys

def connect(_):
    with socket.create_connection(('10.77.0.2', 443), 5):
        pass

sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def send(_):
    sender.sendto(bytes(1000), ('10.77.0.2', 443))

def execute(_):
    subprocess.run(['/bin/true'], check=True)

def write(at):
    with open(f'new-{at}', 'w') as file:
        file.write('x')

def delete(at):
    os.unlink(f'{at}')

os.chdir(sys.argv[1])
for word in sys.argv[2:]:
    deed, times = word.split('=')
    well, last = 0, 'none'
    for at in range(int(times)):
        try:
            globals()[deed](at)
            well += 1
        except OSError as error:
            last = errno.errorcode[error.errno]
    print(deed, well, last)
";

#[test]
fn so_much_goes_through_in_a_time_and_no_more() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let outside = net::outside()?;
    let folder = tempfile::tempdir()?;
    for at in 0..5 {
        std::fs::write(folder.path().join(at.to_string()), "x")?;
    }
    let guard = Guard::start(&[THRIFTY])?;
    let before = outside.received();
    let place = folder.path().display().to_string();
    // The interpreter is the first program, and what it writes on its own (none) is not asked.
    let words = ["connect=5", "execute=5", "write=5", "delete=4", "send=1500"];
    let mut all = vec![PYTHON, "-B", "-c", TIRELESS, &place];
    all.extend(words);
    let output = guard.run("thrifty", &all).output()?;
    let said = lines(&output);
    let said: Vec<&str> = said.iter().map(String::as_str).collect();
    assert_eq!(said.len(), words.len(), "{output:?}");
    assert_eq!(
        said[..4],
        ["connect 3 EPERM", "execute 3 EPERM", "write 3 EACCES", "delete 2 EACCES"]
    );
    // Each datagram is 1,028 bytes; the connections have sent a little before.
    let sent: u64 = said[4].split(' ').nth(1).unwrap_or_default().parse()?;
    assert!((1000..=1020).contains(&sent) && said[4].ends_with("EPERM"), "{}", said[4]);
    let decisions = guard.decisions()?;
    std::thread::sleep(std::time::Duration::from_millis(500));
    let (tcp, udp) = outside.received();
    assert_eq!(tcp - before.0, 3);
    // Some get lost where nobody takes them fast enough.
    assert!((1..=sent).contains(&(udp - before.1)), "{udp} of {sent}");
    // Told now and then, and not each time.
    for (resource, most) in [
        ("tcp://10.77.0.2:443", 3),
        ("limit:execs", 3),
        ("limit:writes", 3),
        ("limit:deletes", 3),
        ("udp://10.77.0.2:443", 60),
    ] {
        let told = decisions.iter().filter(|event| {
            event["resource"] == resource
                && event["reason"] == "budget"
                && event["outcome"] == "denied"
        });
        let count = told.count();
        assert!((1..=most).contains(&count), "{resource}: {count}");
    }
    Ok(())
}

#[test]
fn a_limit_per_time_is_changed_while_a_session_runs() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let _outside = net::outside()?;
    let guard = Guard::start(&[THRIFTY])?;
    let script = "import socket
def tries():
    went = 0
    for _ in range(4):
        try:
            socket.create_connection(('10.77.0.2', 443), 5).close()
            went += 1
        except OSError:
            pass
    return went
print(tries(), flush=True)
input()
print(tries(), flush=True)
";
    let mut command = guard.run("thrifty", &[PYTHON, "-c", script]);
    command.stdin(std::process::Stdio::piped());
    let mut waiting = agentguard_tests::guard::Waiting::start(command)?;
    let session = agentguard_tests::guard::sessions()?;
    let id = session.first().and_then(|row| row["id"].as_str()).unwrap_or_default().to_owned();
    let changed = agentguard_tests::guard::agentguard(&["limit", &id, "connections=1000/s"])?;
    assert!(changed.status.success(), "{changed:?}");
    waiting.go()?;
    assert_eq!(waiting.rest()?, ["4"]);
    Ok(())
}
