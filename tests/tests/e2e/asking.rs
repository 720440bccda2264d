//! Calls that a rule says `ask` of: they wait until somebody answers, and see nothing but time.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agentguard_tests::guard::{Guard, Waiting, agentguard, attempt_words};
use agentguard_tests::net::outside;
use agentguard_tests::peer::until;
use agentguard_tests::{Outcome, in_vm};
use serde_json::Value;

/// May do in its workspace what it likes; what is below /tmp/asked, and who is outside, are
/// what people are asked about.
const CODER: &str = "\
version: 1
agent: coder
egress:
  rules:
    - { ask: 10.77.0.2, ports: any, id: peer }
    - { allow: 127.0.0.1, ports: any }
files:
  default: read
  rules:
    - { write: ['${workspace}', /dev] }
    - { ask: /tmp/asked, id: asked }
exec:
  rules:
    - { ask: /tmp/asked/tool, id: tool }
";

/// `deed` prints what became of a deed.
const PRELUDE: &str = "
import ctypes, errno, os, signal, socket, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def deed(name, do):
    try:
        do(); print(name, 'ok', flush=True)
    except OSError as error:
        print(name, errno.errorcode.get(error.errno, error.errno), flush=True)
def read(path): return open(path).read()
def connect(port, host='10.77.0.2'):
    socket.create_connection((host, port), timeout=100).close()
print('go', flush=True)
";

fn lay_out() -> std::io::Result<()> {
    let _ = std::fs::remove_dir_all("/tmp/asked");
    std::fs::create_dir("/tmp/asked")?;
    for file in ["one", "two", "three", "four"] {
        std::fs::write(Path::new("/tmp/asked").join(file), file)?;
    }
    std::fs::copy("/usr/bin/true", "/tmp/asked/tool").map(drop)
}

/// A script of the agent's, which has begun.
fn agent(guard: &Guard, work: &Path, text: &str) -> Result<Waiting, Box<dyn std::error::Error>> {
    let words = ["python3", "-I", "-S", "-c", &format!("{PRELUDE}{text}")];
    let mut run = guard.run("coder", &words);
    run.current_dir(work);
    Ok(Waiting::start(run)?)
}

/// The questions that wait.
fn pending() -> Result<Vec<Value>, Box<dyn std::error::Error>> {
    let output = agentguard(&["pending", "--json"])?;
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// The one question that waits, once there is one.
fn question() -> Result<Value, Box<dyn std::error::Error>> {
    let mut found = Vec::new();
    until("a question", || {
        found = pending()?;
        Ok(!found.is_empty())
    })?;
    assert_eq!(found.len(), 1, "{found:?}");
    Ok(found.remove(0))
}

/// Answers the one question that waits, and says what it was about.
fn answer(words: &[&str]) -> Result<String, Box<dyn std::error::Error>> {
    let question = question()?;
    let text = |member: &str| question[member].as_str().unwrap_or_default().to_owned();
    let mut command = words.to_vec();
    let id = text("id");
    command.push(&id);
    let output = agentguard(&command)?;
    assert!(output.status.success(), "{output:?}");
    Ok(format!("{} {} {}", text("action"), text("resource"), text("rule")))
}

/// What became of decisions: outcome, action, resource, reason.
fn outcomes(events: &[Value]) -> Vec<String> {
    let text = |event: &Value, member: &str| event[member].as_str().unwrap_or_default().to_owned();
    let decisions = events.iter().filter(|event| event["kind"] == "decision");
    decisions
        .filter(|event| event["outcome"] != "allowed" || event["reason"] == "approved")
        .map(|event| {
            ["outcome", "action", "resource", "reason"].map(|member| text(event, member)).join(" ")
        })
        .collect()
}

#[test]
fn a_call_waits_until_it_is_answered() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    outside()?;
    lay_out()?;
    let work = tempfile::tempdir()?;
    let guard = Guard::start(&[CODER])?;
    let text = "
deed('connect', lambda: connect(443))
deed('send', lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('10.77.0.2', 9999)))
deed('open', lambda: read('/tmp/asked/one'))
deed('create', lambda: os.close(os.open('/tmp/asked/new', os.O_CREAT | os.O_EXCL | os.O_RDWR)))
deed('truncate', lambda: open('/tmp/asked/new', 'w').close())
deed('rename', lambda: os.rename('/tmp/asked/one', '/tmp/asked/other'))
deed('unlink', lambda: os.unlink('/tmp/asked/two'))
deed('exec', lambda: os.posix_spawn('/tmp/asked/tool', ['tool'], {}) and os.wait())
deed('refused', lambda: read('/tmp/asked/three'))
deed('no-connection', lambda: connect(80))
deed('no-exec', lambda: os.execv('/tmp/asked/tool', ['tool']))
";
    let mut agent = agent(&guard, work.path(), text)?;
    for (asked, printed) in [
        ("connect tcp://10.77.0.2:443 peer", "connect ok"),
        ("send udp://10.77.0.2:9999 peer", "send ok"),
        ("file.read /tmp/asked/one asked", "open ok"),
        ("file.create /tmp/asked/new asked", "create ok"),
        ("file.write /tmp/asked/new asked", "truncate ok"),
        ("file.rename /tmp/asked/one asked", "rename ok"),
        ("file.delete /tmp/asked/two asked", "unlink ok"),
        ("exec /tmp/asked/tool tool", "exec ok"),
    ] {
        assert_eq!(answer(&["approve"])?, asked);
        assert_eq!(agent.line()?, printed);
    }
    for (asked, printed) in [
        ("file.read /tmp/asked/three asked", "refused EACCES"),
        ("connect tcp://10.77.0.2:80 peer", "no-connection EPERM"),
        ("exec /tmp/asked/tool tool", "no-exec EACCES"),
    ] {
        assert_eq!(answer(&["deny"])?, asked);
        assert_eq!(agent.line()?, printed);
    }
    assert_eq!(agent.rest()?, Vec::<String>::new());
    assert!(pending()?.is_empty());
    guard.decisions()?;
    let events = guard.events()?;
    let told = outcomes(&events);
    let of = |what: &str| told.iter().filter(|told| told.contains(what)).count();
    assert_eq!(of("held connect tcp://10.77.0.2:443"), 1, "{told:#?}");
    assert_eq!(of("denied connect tcp://10.77.0.2:80 refused"), 1, "{told:#?}");
    assert_eq!(of("denied file.read /tmp/asked/three refused"), 1, "{told:#?}");
    assert_eq!(of("held "), 11, "{told:#?}");
    assert_eq!(of("denied "), 3, "{told:#?}");
    let answers = events.iter().filter(|event| event["action"] == "ask.approve").count();
    assert_eq!(answers, 8, "each answer is told, with who gave it");
    let told = events.iter().find(|event| event["action"] == "ask.deny").ok_or("no answer")?;
    assert_eq!(told["message"], "once by user 0");
    let held = events.iter().filter(|event| event["question"] == told["question"]).count();
    assert_eq!(held, 2, "the question and its answer have the same name");
    Ok(())
}

#[test]
fn nobody_sees_anything_but_time() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    lay_out()?;
    let work = tempfile::tempdir()?;
    let guard = Guard::start(&[CODER])?;
    // A thread waits and the others go on; a child waits, and its parent hears of no stop; a
    // stray SIGCONT and an alarm change nothing; SIGKILL ends it.
    let text = "
ticks = 0
thread = threading.Thread(target=lambda: deed('thread', lambda: read('/tmp/asked/one')))
thread.start()
end = time.monotonic() + 3
while time.monotonic() < end:
    time.sleep(0.01); ticks += 1
print('ticks', ticks > 20, flush=True)
sys.stdin.readline()
thread.join()
def child():
    hits = []
    signal.signal(signal.SIGALRM, lambda *_: hits.append(1))
    signal.signal(signal.SIGCONT, signal.SIG_DFL)
    signal.alarm(1)
    deed('child', lambda: read('/tmp/asked/two'))
    time.sleep(0.1)
    print('alarm', len(hits), flush=True)
    os._exit(7)
pid = os.fork()
if pid == 0: child()
seen = []
end = time.monotonic() + 3
while time.monotonic() < end:
    got = os.waitpid(pid, os.WUNTRACED | os.WCONTINUED | os.WNOHANG)
    if got != (0, 0): seen.append(got)
    os.kill(pid, signal.SIGCONT)
    time.sleep(0.05)
print('seen', seen, flush=True)
sys.stdin.readline()
print('code', os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
pid = os.fork()
if pid == 0: read('/tmp/asked/three')
sys.stdin.readline()
os.kill(pid, signal.SIGKILL)
print('killed', os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
print('limit', os.system('ulimit -t 1; cat /tmp/asked/four'), flush=True)
";
    let mut agent = agent(&guard, work.path(), text)?;
    assert_eq!(agent.line()?, "ticks True");
    assert_eq!(answer(&["approve"])?, "file.read /tmp/asked/one asked");
    assert_eq!(agent.line()?, "thread ok");
    agent.go()?;
    assert_eq!(agent.line()?, "seen []");
    assert_eq!(answer(&["approve"])?, "file.read /tmp/asked/two asked");
    assert_eq!(agent.line()?, "child ok");
    assert_eq!(agent.line()?, "alarm 1");
    agent.go()?;
    assert_eq!(agent.line()?, "code 7");
    question()?;
    agent.go()?;
    assert_eq!(agent.line()?, "killed -9");
    until("the question to go with its process", || Ok(pending()?.len() == 1))?;
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(answer(&["approve"])?, "file.read /tmp/asked/four asked");
    assert_eq!(agent.line()?, "fourlimit 0", "who waits uses no time of the processor");
    // A shell that minds its jobs sees none stop.
    let script = "set -m; cat /tmp/asked/four; echo; echo after $?";
    let mut shell = guard.run("coder", &["bash", "-c", script]);
    let shell = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    question()?;
    std::thread::sleep(Duration::from_secs(1));
    answer(&["approve"])?;
    let output = shell.wait_with_output()?;
    assert_eq!(String::from_utf8(output.stdout)?, "four\nafter 0\n");
    Ok(())
}

#[test]
fn an_answer_counts_for_what_was_asked() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let outside = outside()?;
    lay_out()?;
    let work = tempfile::tempdir()?;
    let guard = Guard::start(&[CODER])?;
    let before = outside.received();
    // The address is another one by the time of the answer.
    let text = "
address = bytearray(socket.AF_INET.to_bytes(2, 'little') + (443).to_bytes(2, 'big') + socket.inet_aton('10.77.0.2') + bytes(8))
where = (ctypes.c_char * 16).from_buffer(address)
def swap():
    sys.stdin.readline()
    address[4:8] = socket.inet_aton('10.77.0.3')
    print('swapped', flush=True)
swapper = threading.Thread(target=swap); swapper.start()
s = socket.socket()
got = libc.connect(s.fileno(), where, 16)
print('connect', errno.errorcode.get(ctypes.get_errno(), got), flush=True)
swapper.join()
for n in range(2): deed(f'read {n}', lambda: read('/tmp/asked/one'))
for n in range(3): deed(f'again {n}', lambda: read('/tmp/asked/two'))
for n in range(3): deed(f'never {n}', lambda: read('/tmp/asked/three'))
deed('write', lambda: open('/tmp/asked/two', 'a').close())
";
    let mut agent = agent(&guard, work.path(), text)?;
    let first = question()?;
    agent.go()?;
    assert_eq!(agent.line()?, "swapped");
    let id = first["id"].as_str().unwrap_or_default().to_owned();
    assert!(agentguard(&["approve", &id])?.status.success());
    assert_eq!(agent.line()?, "connect EPERM", "10.77.0.3 was not asked about");
    // Once is once.
    for n in 0..2 {
        assert_eq!(answer(&["approve"])?, "file.read /tmp/asked/one asked");
        assert_eq!(agent.line()?, format!("read {n} ok"));
    }
    assert_eq!(answer(&["approve", "--session"])?, "file.read /tmp/asked/two asked");
    for n in 0..3 {
        assert_eq!(agent.line()?, format!("again {n} ok"));
    }
    assert_eq!(answer(&["deny", "--for", "10m"])?, "file.read /tmp/asked/three asked");
    for n in 0..3 {
        assert_eq!(agent.line()?, format!("never {n} EACCES"));
    }
    // Reading is not writing.
    assert_eq!(answer(&["deny"])?, "file.write /tmp/asked/two asked");
    assert_eq!(agent.line()?, "write EACCES");
    agent.rest()?;
    // io_uring has no call to start again.
    let printed = guard.attempt("coder", "io-uring 10.77.0.2:443")?;
    assert_eq!(printed, ["io-uring 10.77.0.2:443 EPERM"]);
    let refused = guard.wait_for("refusal", |event| event["reason"] == "unheld")?;
    assert_eq!(refused.len(), 1);
    assert_eq!(outside.received(), before, "nothing has come through");
    let unknown = agentguard(&["approve", "nothing"])?;
    assert_eq!(unknown.status.code(), Some(83), "{unknown:?}");
    Ok(())
}

#[test]
fn without_an_answer_it_is_refused() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    lay_out()?;
    let work = tempfile::tempdir()?;
    let mut guard = Guard::start(&[&format!("{CODER}ask: {{ timeout: 3s }}\n")])?;
    let text = "
began = time.monotonic()
deed('late', lambda: read('/tmp/asked/one'))
print('waited', 2.9 < time.monotonic() - began < 30, flush=True)
deed('gone', lambda: read('/tmp/asked/two'))
deed('nobody', lambda: read('/tmp/asked/three'))
sys.stdin.readline()
deed('again', lambda: read('/tmp/asked/four'))
";
    let mut agent = agent(&guard, work.path(), text)?;
    assert_eq!(agent.line()?, "late EACCES");
    assert_eq!(agent.line()?, "waited True");
    question()?;
    let killed = Instant::now();
    guard.kill_daemon()?;
    assert_eq!(agent.line()?, "gone EACCES");
    assert_eq!(agent.line()?, "nobody EACCES");
    assert!(killed.elapsed() < Duration::from_secs(8), "{:?}", killed.elapsed());
    guard.restart()?;
    agent.go()?;
    assert_eq!(answer(&["approve"])?, "file.read /tmp/asked/four asked");
    assert_eq!(agent.line()?, "again ok");
    agent.rest()?;
    let told = outcomes(&guard.events()?);
    for (outcome, reason) in [
        ("denied file.read /tmp/asked/one", "unanswered"),
        ("denied file.read /tmp/asked/two", "unattended"),
        ("denied file.read /tmp/asked/three", "unattended"),
    ] {
        let line = format!("{outcome} {reason}");
        assert_eq!(told.iter().filter(|told| **told == line).count(), 1, "{line}: {told:#?}");
    }
    Ok(())
}

#[test]
fn many_wait_at_once() -> Outcome {
    many(60, 60)
}

#[test]
#[ignore = "threads go round in circles until they stand still, which takes an emulation minutes"]
fn a_thousand_wait_and_what_comes_on_top_is_refused() -> Outcome {
    many(1100, 1024)
}

/// So many threads ask at once, of which so many may wait.
fn many(threads: usize, wait: usize) -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    lay_out()?;
    let work = tempfile::tempdir()?;
    let guard = Guard::start(&[CODER])?;
    let text = "
threading.stack_size(65536)
done = []
lock = threading.Lock()
def ask(n):
    try:
        os.mkdir(f'/tmp/asked/{n}'); result = 'ok'
    except OSError as error:
        result = errno.errorcode.get(error.errno, error.errno)
    with lock: done.append(result)
threads = [threading.Thread(target=ask, args=(n,)) for n in range(THREADS)]
for thread in threads: thread.start()
sys.stdin.readline()
for thread in threads: thread.join()
print(done.count('ok'), done.count('EACCES'), len(done), flush=True)
";
    let mut agent = agent(&guard, work.path(), &text.replace("THREADS", &threads.to_string()))?;
    // The more ask, the longer it takes until each stands still.
    let end = Instant::now() + Duration::from_secs(60 + u64::try_from(wait)? / 2);
    while pending()?.len() < wait && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(pending()?.len(), wait);
    // Another session has its own.
    let other = agent_of_two(&guard, work.path())?;
    until("the other session's", || Ok(pending()?.len() == wait + 1))?;
    assert!(agentguard(&["approve", "--all"])?.status.success());
    agent.go()?;
    assert_eq!(agent.line()?, format!("{wait} {} {threads}", threads - wait));
    agent.rest()?;
    assert_eq!(other.rest()?, ["other ok"]);
    let crowded = guard.events()?;
    let crowded = crowded.iter().filter(|event| event["reason"] == "crowded").count();
    assert_eq!(crowded, threads - wait);
    let made = std::fs::read_dir("/tmp/asked")?.count();
    assert_eq!(made, wait + 5);
    Ok(())
}

fn agent_of_two(guard: &Guard, work: &Path) -> Result<Waiting, Box<dyn std::error::Error>> {
    agent(guard, work, "deed('other', lambda: read('/tmp/asked/one'))")
}

#[test]
fn people_answer_and_sessions_do_not() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    lay_out()?;
    let work = tempfile::tempdir()?;
    let guard = Guard::start(&[CODER])?;
    let agent = agent(&guard, work.path(), "deed('read', lambda: read('/tmp/asked/one'))")?;
    let asked = question()?;
    let id = asked["id"].as_str().unwrap_or_default();
    let inside = guard.run("coder", &["agentguard", "approve", id]).output()?;
    assert!(!inside.status.success(), "{inside:?}");
    let mut outside = Command::new("agentguard");
    let outside = agentguard_tests::guard::as_nobody(outside.args(["approve", id])).output()?;
    assert_eq!(outside.status.code(), Some(67), "{outside:?}");
    assert_eq!(question()?["id"], asked["id"]);
    // A session that is paused meanwhile goes on to wait; one that is killed does not.
    let session = asked["session"].as_str().unwrap_or_default().to_owned();
    assert!(agentguard(&["pause", &session])?.status.success());
    assert!(agentguard(&["resume", &session])?.status.success());
    assert_eq!(question()?["id"], asked["id"]);
    assert!(agentguard(&["kill", &session])?.status.success());
    until("the question to go with its session", || Ok(pending()?.is_empty()))?;
    assert_eq!(agent.rest()?, Vec::<String>::new());
    let attempt = attempt_words("connect 127.0.0.1:9");
    assert_eq!(guard.run("coder", &attempt).status()?.code(), Some(0), "the next one runs");
    until("the cgroups to go", || {
        Ok(!Path::new("/sys/fs/cgroup/agentguard").join(&session).exists())
    })?;
    Ok(())
}
