//! What a session, root with all capabilities included, may not do to the host, to the daemon
//! and to processes that are not its own; and what it still may.

use std::process::{Child, Command, Stdio};

use agentguard_tests::guard::{Guard, Waiting, attempt_words, lines};
use agentguard_tests::{Outcome, in_vm};
use serde_json::Value;

use crate::{CODER, denied};

/// What the scripts below begin with: `deed` prints what became of a deed, `call` makes a
/// system call by its number.
const PRELUDE: &str = "
import ctypes, errno, fcntl, mmap, os, resource, signal, socket, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result < 0: raise OSError(ctypes.get_errno(), 'libc')
    return result
def call(*words):
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in words]
    return check(libc.syscall(*words))
def deed(name, do):
    try:
        do(); print(name, 'ok', flush=True)
    except OSError as error:
        print(name, errno.errorcode.get(error.errno, error.errno), flush=True)
def read(path):
    with open(path, 'rb') as file: return file.read(64)
def write(path, text='x'):
    with open(path, 'w') as file: file.write(text)
def vector(remote):
    buffer = ctypes.create_string_buffer(8)
    here = (ctypes.c_ulong * 2)(ctypes.addressof(buffer), 8)
    there = (ctypes.c_ulong * 2)(remote, 8)
    return buffer, here, there
";

/// Runs a script as an agent, and returns what it printed.
pub(crate) fn script(guard: &Guard, agent: &str, text: &str) -> std::io::Result<Vec<String>> {
    let words = ["python3", "-I", "-S", "-c", &format!("{PRELUDE}{text}")];
    let output = guard.run(agent, &words).output()?;
    if !output.status.success() {
        return Err(std::io::Error::other(format!(
            "{}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    Ok(lines(&output))
}

/// What was refused: action, resource without the number of a process, reason, message.
fn told(decisions: &[Value]) -> Vec<String> {
    denied(decisions)
        .into_iter()
        .map(|event| {
            let text = |member: &str| event[member].as_str().unwrap_or_default().to_owned();
            let resource = text("resource");
            let resource = match resource.split_once('/') {
                Some((number, name)) if number.starts_with("process:") => name.to_owned(),
                _ => resource,
            };
            format!("{} {resource} {} {}", text("action"), text("reason"), text("message"))
        })
        .collect()
}

/// A process of no session that does nothing, as root.
struct Bystander(Child);

impl Bystander {
    fn start() -> std::io::Result<Self> {
        Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().map(Self)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Whether it still sleeps.
    fn is_well(&mut self) -> std::io::Result<bool> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        Ok(self.0.try_wait()?.is_none() && status.contains("State:\tS"))
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn processes_outside_are_not_signalled() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let mut bystander = Bystander::start()?;
    let text = format!(
        "
V, D = {}, {}
deed('kill', lambda: os.kill(V, signal.SIGKILL))
deed('stop', lambda: os.kill(V, signal.SIGSTOP))
deed('continue', lambda: os.kill(V, signal.SIGCONT))
deed('tkill', lambda: call(200, V, 9))
deed('tgkill', lambda: call(234, V, V, 9))
deed('queue', lambda: call(129, V, 9, struct.pack('iiii112x', 9, 0, -1, 0)))
deed('pidfd', lambda: signal.pidfd_send_signal(os.pidfd_open(V), signal.SIGTERM))
deed('daemon', lambda: os.kill(D, signal.SIGKILL))
deed('runner', lambda: os.kill(os.getppid(), signal.SIGUSR1))
deed('there', lambda: os.kill(V, 0))
deed('there-again', lambda: os.kill(V, 0))
def ready():
    here, there = os.pipe()
    flags = fcntl.fcntl(here, fcntl.F_GETFL)
    fcntl.fcntl(here, 10, signal.SIGKILL)
    fcntl.fcntl(here, fcntl.F_SETOWN, V)
deed('owner', ready)
deed('own-owner', lambda: fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid()))
child = os.fork()
if child == 0: time.sleep(1000)
deed('own', lambda: os.kill(child, signal.SIGKILL))
deed('reap', lambda: os.waitpid(child, 0))
",
        bystander.pid(),
        guard.daemon_pid()
    );
    let printed = script(&guard, "coder", &text)?;
    let expected = [
        "kill EPERM",
        "stop EPERM",
        "continue EPERM",
        "tkill EPERM",
        "tgkill EPERM",
        "queue EPERM",
        "pidfd EPERM",
        "daemon EPERM",
        "runner EPERM",
        "there EPERM",
        "there-again EPERM",
        "owner EPERM",
        "own-owner ok",
        "own ok",
        "reap ok",
    ];
    assert_eq!(printed, expected);
    assert!(bystander.is_well()?);
    let expected = [
        "signal sleep outside SIGKILL",
        "signal sleep outside SIGSTOP",
        "signal sleep outside SIGCONT",
        "signal sleep outside SIGKILL",
        "signal sleep outside SIGKILL",
        "signal sleep outside SIGKILL",
        "signal sleep outside SIGTERM",
        "signal agentguard outside SIGKILL",
        "signal agentguard outside SIGUSR1",
        "signal sleep outside no signal: whether it is there",
        "process process:signals of a file host ",
    ];
    assert_eq!(told(&guard.decisions()?), expected);
    Ok(())
}

#[test]
fn processes_outside_are_not_looked_into_or_taken_over() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let mut bystander = Bystander::start()?;
    let deeds = [
        ("attach", "call(101, 16, V, 0, 0)", "EPERM"),
        ("seize", "call(101, 0x4206, V, 0, 0)", "EPERM"),
        ("readv", "call(310, V, there[1], 1, there[2], 1, 0)", "EPERM"),
        ("writev", "call(311, V, there[1], 1, there[2], 1, 0)", "EPERM"),
        ("take", "call(438, os.pidfd_open(V), 0, 0)", "EPERM"),
        ("memory", "open(f'/proc/{V}/mem', 'r+b')", "EACCES"),
        ("environ", "read(f'/proc/{V}/environ')", "EACCES"),
        ("kcmp", "call(312, os.getpid(), V, 0, 0, 0)", "EPERM"),
        ("namespace", "read(f'/proc/{V}/ns/net')", "EACCES"),
        ("root", "os.listdir(f'/proc/{V}/root/')", "EACCES"),
        ("descriptor", "os.readlink(f'/proc/{V}/fd/0')", "EACCES"),
        ("daemon", "call(101, 16, D, 0, 0)", "EPERM"),
    ];
    for (name, code, refusal) in deeds {
        let text = format!(
            "
V, D = {}, {}
there = vector(int(0x400000))
deed('{name}', lambda: {code})",
            bystander.pid(),
            guard.daemon_pid()
        );
        let said = script(&guard, "coder", &text)?;
        // Kernels differ in which of the two a refused look is (6.1: EPERM for `mem`).
        let other = if refusal == "EACCES" { "EPERM" } else { "EACCES" };
        let either = [[format!("{name} {refusal}")], [format!("{name} {other}")]];
        assert!(either.iter().any(|one| said == one), "{name}: {said:?}");
    }
    assert!(bystander.is_well()?);
    let decisions = guard.decisions()?;
    let told = told(&decisions);
    let expected: Vec<String> = deeds
        .iter()
        .map(|(name, ..)| {
            let whose = if *name == "daemon" { "agentguard" } else { "sleep" };
            let over = ["attach", "seize", "readv", "writev", "take", "memory", "daemon"];
            let what = if over.contains(name) { "to take it over" } else { "to look at it" };
            format!("trace {whose} outside {what}")
        })
        .collect();
    // The file of its memory is refused as a file first.
    let memory = |told: &String| told.starts_with("process /proc/") && told.contains("/mem ");
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    let fits = |(told, wanted): (&String, &String)| told == wanted || memory(told);
    assert!(told.iter().zip(&expected).all(fits), "{told:#?} {expected:#?}");
    Ok(())
}

#[test]
fn processes_outside_go_on_as_they_were() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let mut bystander = Bystander::start()?;
    let text = format!(
        "
V = {}
deed('nice', lambda: os.setpriority(os.PRIO_PROCESS, V, 19))
deed('io', lambda: call(251, 1, V, 3 << 13))
deed('scheduler', lambda: os.sched_setscheduler(V, os.SCHED_IDLE, os.sched_param(0)))
deed('processors', lambda: os.sched_setaffinity(V, [0]))
deed('limits', lambda: resource.prlimit(V, resource.RLIMIT_NOFILE, (0, 0)))
deed('look', lambda: resource.prlimit(V, resource.RLIMIT_NOFILE))
deed('own-nice', lambda: os.setpriority(os.PRIO_PROCESS, 0, 5))
deed('own-processors', lambda: os.sched_setaffinity(0, [0]))
deed('own-limits', lambda: resource.prlimit(0, resource.RLIMIT_CORE, (0, 0)))
child = os.fork()
if child == 0: time.sleep(1000)
deed('child-nice', lambda: os.setpriority(os.PRIO_PROCESS, child, 7))
deed('child-group', lambda: os.setpgid(child, child))
deed('child-limits', lambda: resource.prlimit(child, resource.RLIMIT_CORE, (0, 0)))
os.kill(child, 9)
FAN = call(300, 4, 0)
deed('hold', lambda: call(301, FAN, 1, 0x10000, -100, b'/etc/hostname'))
deed('watch', lambda: call(301, FAN, 1, 0x20, -100, b'/etc/hostname'))
",
        bystander.pid()
    );
    let printed = script(&guard, "coder", &text)?;
    let expected = [
        "nice EPERM",
        "io EPERM",
        "scheduler EPERM",
        "processors EPERM",
        "limits EPERM",
        "look ok",
        "own-nice ok",
        "own-processors ok",
        "own-limits ok",
        "child-nice ok",
        "child-group ok",
        "child-limits ok",
        "hold EPERM",
        "watch ok",
    ];
    assert_eq!(printed, expected);
    assert!(bystander.is_well()?);
    let expected = [
        "process sleep outside priority",
        "process sleep outside io priority",
        "process sleep outside scheduler",
        "process sleep outside scheduler",
        "process sleep outside limits",
        "process fanotify:0x10000 host ",
    ];
    assert_eq!(told(&guard.decisions()?), expected);
    Ok(())
}

#[test]
fn another_sessions_processes_are_as_far_away() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let other = "version: 1\nagent: other\n";
    let guard = Guard::start(&[CODER, other])?;
    let waiting = Waiting::start(guard.run("other", &attempt_words("wait-for-line")))?;
    let pid =
        guard.wait_for("session of the other", |event| event["action"] == "session.start")?.len();
    assert_eq!(pid, 1);
    let children = format!("/proc/{0}/task/{0}/children", waiting.child.id());
    let child = std::fs::read_to_string(children)?.trim().to_owned();
    let text = format!(
        "
V = {child}
deed('kill', lambda: os.kill(V, signal.SIGKILL))
deed('attach', lambda: call(101, 16, V, 0, 0))
deed('nice', lambda: os.setpriority(os.PRIO_PROCESS, V, 19))
"
    );
    let printed = script(&guard, "coder", &text)?;
    assert_eq!(printed, ["kill EPERM", "attach EPERM", "nice EPERM"]);
    let mut waiting = waiting;
    waiting.go()?;
    waiting.rest()?;
    let expected = [
        "signal attempt other-session SIGKILL",
        "trace attempt other-session to take it over",
        "process attempt other-session priority",
    ];
    assert_eq!(told(&guard.decisions()?), expected);
    Ok(())
}

#[test]
fn the_kernel_is_not_changed() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let text = "
deed('bpf', lambda: call(321, 0, b'\\0' * 128, 128))
deed('bpf-next', lambda: call(321, 11, b'\\0' * 128, 128))
deed('bpf-get', lambda: call(321, 7, b'\\0' * 128, 128))
deed('perf', lambda: call(298, struct.pack('IIQ104x', 1, 120, 0), 0, -1, -1, 0))
deed('module', lambda: call(175, b'', 0, b''))
deed('module-file', lambda: call(313, 0, b'', 0))
deed('module-out', lambda: call(176, b'virtio_net', 0))
deed('kexec', lambda: call(246, 0, 0, 0, 0))
deed('reboot', lambda: call(169, 0xfee1dead, 672274793, 0, 0))
deed('clock', lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()))
deed('iopl', lambda: call(172, 3))
deed('accounting', lambda: call(163, 0))
deed('host-name', lambda: check(libc.sethostname(b'x', 1)))
deed('swap', lambda: call(168, b'/nowhere'))
deed('mounts', lambda: call(442, -100, b'/tmp', 0, struct.pack('QQQQ', 1, 0, 0, 0), 32))
deed('log-clear', lambda: call(103, 5, 0, 0))
deed('log-read', lambda: call(103, 10, 0, 0))
deed('clock-read', lambda: time.clock_gettime(time.CLOCK_REALTIME))
";
    let printed = script(&guard, "coder", text)?;
    for line in &printed {
        let goes = ["log-read", "clock-read"].iter().any(|name| line.starts_with(name));
        assert!(line.ends_with(if goes { "ok" } else { "EPERM" }), "{printed:#?}");
    }
    let expected = [
        "bpf bpf:0 host ",
        "bpf bpf:11 host ",
        "bpf bpf:7 host ",
        "perf perf host ",
        "modules capability:sys_module host ",
        "modules capability:sys_module host ",
        "modules capability:sys_module host ",
        "reboot capability:sys_boot host ",
        "reboot capability:sys_boot host ",
        "clock capability:sys_time host ",
        "memory capability:sys_rawio host ",
        "settings capability:sys_pacct host ",
        "settings capability:sys_admin host ",
        "settings capability:sys_admin host ",
        "mount capability:sys_admin host ",
        "log syslog:5 host ",
    ];
    assert_eq!(told(&guard.decisions()?), expected);
    Ok(())
}

#[test]
fn ordinary_programs_notice_nothing() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let script = r#"
        set -e
        ps aux | grep -q agentguard && echo ps
        ps -eo pid,ppid,stat,wchan,cmd >/dev/null && echo ps-long
        pgrep -f agentguard >/dev/null && echo pgrep
        if command -v top >/dev/null; then top -b -n 1 >/dev/null; fi; echo top
        sleep 1000 & kill -0 $! && kill $!; wait $! || echo kill
        nice -n 3 true && echo nice
        sleep 1000 & renice -n 5 -p $! >/dev/null && kill $!; wait $! || echo renice
        taskset -c 0 true && echo taskset
        timeout 0.2 sleep 1000 || echo timeout
        timeout -s KILL 0.2 sh -c 'sleep 1000' || echo timeout-kill
        bash -c 'set -m; sleep 1000 & kill -STOP %1; kill -CONT %1; kill %1; wait %1; test $? = 143' 2>/dev/null && echo jobs
        ulimit -n 100 && echo ulimit
        prlimit --pid $$ --nofile=90 && echo prlimit
        ls -l /proc/self/fd >/dev/null && cat /proc/self/environ >/dev/null && echo self
        sysctl -n kernel.pid_max >/dev/null 2>&1; cat /proc/sys/kernel/pid_max >/dev/null && echo sysctl
        cat /proc/meminfo /proc/cpuinfo /proc/mounts /proc/self/mountinfo >/dev/null && echo proc
        dd if=/dev/zero of=/dev/null count=1 2>/dev/null && echo dd
        date >/dev/null && df / >/dev/null && echo date
        if command -v strace >/dev/null; then strace -f -o /dev/null true; fi; echo strace
        python3 -c 'import subprocess, multiprocessing as m; m.Process(target=print).start(); subprocess.run(["true"])' >/dev/null && echo python
    "#;
    let output = guard.run("coder", &["bash", "-c", script]).output()?;
    let expected = [
        "ps",
        "ps-long",
        "pgrep",
        "top",
        "kill",
        "nice",
        "renice",
        "taskset",
        "timeout",
        "timeout-kill",
        "jobs",
        "ulimit",
        "prlimit",
        "self",
        "sysctl",
        "proc",
        "dd",
        "date",
        "strace",
        "python",
    ];
    assert_eq!(lines(&output), expected, "{output:?}");
    let text = "
child = os.fork()
if child == 0:
    check(libc.ptrace(0, 0, 0, 0))
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(0)
os.waitpid(child, 0)
deed('peek', lambda: read(f'/proc/{child}/maps'))
deed('detach', lambda: check(libc.ptrace(17, child, 0, 0)))
os.waitpid(child, 0)
child = os.fork()
if child == 0: time.sleep(60)
deed('attach', lambda: call(101, 0x4206, child, 0, 0))
deed('environ', lambda: read(f'/proc/{child}/environ'))
os.kill(child, 9)
";
    let traced = self::script(&guard, "coder", text)?;
    assert_eq!(traced, ["peek ok", "detach ok", "attach ok", "environ ok"]);
    let decisions = guard.decisions()?;
    // Where each process waits (`ps -o wchan`) is a look at it, which is told once.
    let mut told = told(&decisions);
    told.retain(|told| !told.ends_with("outside to look at it"));
    assert!(told.is_empty(), "{told:#?}");
    Ok(())
}

#[test]
fn what_a_policy_opens_is_open_and_recorded() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let open = "version: 1\nagent: coder\nhost:\n  allow: [signal, clock]\n";
    let guard = Guard::start(&[open])?;
    let bystander = Bystander::start()?;
    let text = format!(
        "
V = {}
deed('signal', lambda: os.kill(V, signal.SIGCONT))
deed('clock', lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()))
deed('trace', lambda: call(101, 16, V, 0, 0))
",
        bystander.pid()
    );
    let printed = script(&guard, "coder", &text)?;
    assert_eq!(printed, ["signal ok", "clock ok", "trace EPERM"]);
    let decisions = guard.decisions()?;
    assert_eq!(told(&decisions), ["trace sleep outside to take it over"]);
    let allowed: Vec<&str> = decisions
        .iter()
        .filter(|event| event["outcome"] == "allowed" && event["rule"] == "host.allow")
        .filter_map(|event| event["action"].as_str())
        .collect();
    assert_eq!(allowed, ["signal", "clock"]);
    Ok(())
}

#[test]
fn observed_it_goes_on() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let watched = "version: 1\nagent: coder\nmode: observe\n";
    let guard = Guard::start(&[watched])?;
    let bystander = Bystander::start()?;
    let text = format!("deed('signal', lambda: os.kill({}, signal.SIGCONT))", bystander.pid());
    assert_eq!(script(&guard, "coder", &text)?, ["signal ok"]);
    let decisions = guard.decisions()?;
    let outcomes: Vec<&Value> = decisions.iter().map(|event| &event["outcome"]).collect();
    assert_eq!(outcomes, ["would-deny"]);
    Ok(())
}
