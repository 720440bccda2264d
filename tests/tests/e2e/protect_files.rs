//! Files that are the host's own or agentguard's, and no session's to change, root included.

use std::path::Path;
use std::process::Command;

use agentguard_common::map::LAYOUT;
use agentguard_tests::guard::{Guard, agentguard, sessions};
use agentguard_tests::{Outcome, in_vm};
use serde_json::Value;

use crate::protect::script;
use crate::{CODER, denied};

/// What was refused: action, resource, reason and message.
fn told(decisions: &[Value]) -> Vec<String> {
    denied(decisions)
        .into_iter()
        .map(|event| {
            let text = |member: &str| event[member].as_str().unwrap_or_default();
            let (action, resource) = (text("action"), text("resource"));
            format!("{action} {resource} {} {}", text("reason"), text("message")).trim().to_owned()
        })
        .collect()
}

/// Each deed of a script in a process of its own, what is expected of it, and the refusal that
/// is to be in the log, if any.
type Deeds<'a> = &'a [(&'a str, &'a str, &'a str)];

/// Runs them all as `coder`, and holds what was printed and told against what is expected.
fn hold(guard: &Guard, prelude: &str, deeds: Deeds<'_>) -> Outcome {
    let mut text = format!("{prelude}\n");
    for (at, (code, ..)) in deeds.iter().enumerate() {
        text.push_str(&format!("deed('{at}', lambda: {code})\n"));
    }
    let printed = script(guard, "coder", &text)?;
    let expected: Vec<String> =
        deeds.iter().enumerate().map(|(at, (_, said, _))| format!("{at} {said}")).collect();
    assert_eq!(printed, expected, "{deeds:#?}");
    let expected: Vec<&str> =
        deeds.iter().map(|(.., told)| *told).filter(|told| !told.is_empty()).collect();
    // Each is told, in this order. Some are told twice: making a file asks for its directory,
    // too, and one that is there already is asked for by both.
    let found = told(&guard.decisions()?);
    let mut rest = found.iter();
    let all = expected.iter().all(|wanted| rest.any(|told| told == wanted));
    assert!(all, "{found:#?} {expected:#?}");
    Ok(())
}

#[test]
fn what_the_kernel_shows_as_files_is_not_written() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    // Where it is not mounted yet.
    let _ = Command::new("mount").args(["-t", "tracefs", "t", "/sys/kernel/tracing"]).status();
    let guard = Guard::start(&[CODER])?;
    let deeds: Deeds<'_> = &[
        (
            "write('/proc/sys/kernel/printk')",
            "EPERM",
            "settings /proc/sys/kernel/printk host file.write",
        ),
        ("write('/proc/sysrq-trigger')", "EPERM", "settings /proc/sysrq-trigger host file.write"),
        (
            "os.truncate('/sys/kernel/uevent_seqnum', 0)",
            "EPERM",
            "settings /sys/kernel/uevent_seqnum host file.write",
        ),
        (
            "write('/sys/kernel/tracing/tracing_on')",
            "EPERM",
            "perf /sys/kernel/tracing/tracing_on host file.write",
        ),
        (
            "write('/proc/1/oom_score_adj', '1000')",
            "EPERM",
            "process /proc/1/oom_score_adj host file.write",
        ),
        (
            "os.chmod('/sys/kernel/uevent_seqnum', 0o666)",
            "EPERM",
            "settings /sys/kernel/uevent_seqnum host file.chmod",
        ),
        ("read('/proc/kcore')", "EPERM", "memory capability:sys_rawio host"),
        ("os.mknod(HERE + '/disk', 0o60600, 7 << 8)", "ok", ""),
        ("read(HERE + '/disk')", "EPERM", "devices HERE/disk host file.read"),
        ("os.mknod(HERE + '/mem', 0o20600, 1 << 8 | 1)", "ok", ""),
        ("read(HERE + '/mem')", "EPERM", "memory HERE/mem host file.read"),
        ("read('/proc/sys/kernel/printk')", "ok", ""),
        ("read('/sys/kernel/uevent_seqnum')", "ok", ""),
        ("write('/proc/self/oom_score_adj', '1000')", "ok", ""),
        ("write(f'/proc/{CHILD}/oom_score_adj', '1000')", "ok", ""),
        ("write('/proc/self/comm', 'mine')", "ok", ""),
        ("os.access('/proc/sys/kernel/printk', os.W_OK)", "ok", ""),
        ("os.access('/sys/kernel/uevent_seqnum', os.W_OK)", "ok", ""),
        ("write('/dev/null')", "ok", ""),
        ("os.kill(CHILD, 9)", "ok", ""),
    ];
    let here = tempfile::tempdir()?;
    let here = here.path().display().to_string();
    let told: Vec<String> = deeds.iter().map(|(.., told)| told.replace("HERE", &here)).collect();
    let deeds: Vec<(&str, &str, &str)> = deeds
        .iter()
        .zip(&told)
        .map(|((code, said, _), told)| (*code, *said, told.as_str()))
        .collect();
    let prelude = format!(
        "
HERE = '{here}'
CHILD = os.fork()
if CHILD == 0: time.sleep(1000)"
    );
    hold(&guard, &prelude, &deeds)
}

#[test]
fn network_settings_of_a_namespace_of_its_own_are_its_own() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let deeds: Deeds<'_> = &[
        (
            "write('/proc/sys/net/ipv4/ip_forward', '0')",
            "EPERM",
            "settings /proc/sys/net/ipv4/ip_forward host file.write",
        ),
        ("check(libc.unshare(0x40000000))", "ok", ""),
        ("write('/proc/sys/net/ipv4/ip_forward', '0')", "ok", ""),
        (
            "write('/proc/sys/kernel/printk', '4')",
            "EPERM",
            "settings /proc/sys/kernel/printk host file.write",
        ),
    ];
    hold(&guard, "", deeds)
}

#[test]
fn a_session_stays_in_its_cgroup_and_leaves_others_alone() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let deeds: Deeds<'_> = &[
        (
            "write('/sys/fs/cgroup/cgroup.procs', str(os.getpid()))",
            "EPERM",
            "cgroups /sys/fs/cgroup/cgroup.procs host file.write",
        ),
        ("os.mkdir('/sys/fs/cgroup/mine')", "EPERM", "cgroups /sys/fs/cgroup host file.write"),
        (
            "os.rmdir('/sys/fs/cgroup/agentguard')",
            "EPERM",
            "cgroups /sys/fs/cgroup host file.write",
        ),
        ("write(OWN + '/cgroup.kill', '1')", "EPERM", "cgroups OWN/cgroup.kill host file.write"),
        ("os.chown(OWN, 65534, 65534)", "EPERM", "cgroups OWN host file.chown"),
        (
            "call(435, struct.pack('QQQQQQQQQQQ', 0x200000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, ROOT), 88)",
            "EPERM",
            "cgroups /sys/fs/cgroup/cgroup.procs host file.write",
        ),
        ("read('/sys/fs/cgroup/cgroup.procs')", "ok", ""),
    ];
    let prelude = "
OWN = '/sys/fs/cgroup' + open('/proc/self/cgroup').read().strip().split('::')[1]
ROOT = os.open('/sys/fs/cgroup', os.O_RDONLY)";
    let mut text = format!("{prelude}\n");
    for (at, (code, ..)) in deeds.iter().enumerate() {
        text.push_str(&format!("deed('{at}', lambda: {code})\n"));
    }
    text.push_str("print(OWN)\n");
    let mut printed = script(&guard, "coder", &text)?;
    let own = printed.pop().unwrap_or_default();
    let expected: Vec<String> =
        deeds.iter().enumerate().map(|(at, (_, said, _))| format!("{at} {said}")).collect();
    assert_eq!(printed, expected);
    let expected: Vec<String> = deeds
        .iter()
        .filter(|(.., told)| !told.is_empty())
        .map(|(.., told)| told.replace("OWN", &own))
        .collect();
    // Making what is there already asks for its directory first, and is told twice.
    let found = told(&guard.decisions()?);
    let mut rest = found.iter();
    let all = expected.iter().all(|wanted| rest.any(|told| told == wanted));
    assert!(all, "{found:#?} {expected:#?}");
    Ok(())
}

#[test]
fn pins_stay_where_they_are() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let layout = format!("/sys/fs/bpf/agentguard/v{LAYOUT}");
    let maps = format!("{layout}/maps");
    assert!(Path::new(&maps).join("TASKS").exists());
    let prelude = format!("M = '{maps}'");
    let of_maps = |action: &str| format!("bpf {maps} host file.{action}");
    let of_layout = format!("bpf {layout} host file.write");
    let deeds: Deeds<'_> = &[
        ("os.unlink(M + '/TASKS')", "EPERM", &of_maps("write")),
        ("os.rename(M, M + 'x')", "EPERM", &of_layout),
        ("os.mkdir('/sys/fs/bpf/mine')", "EPERM", "bpf /sys/fs/bpf host file.write"),
        ("os.symlink('x', '/sys/fs/bpf/mine')", "EPERM", "bpf /sys/fs/bpf host file.write"),
        ("os.chmod(M, 0o777)", "EPERM", &of_maps("chmod")),
    ];
    hold(&guard, &prelude, deeds)?;
    let output = guard.run("coder", &["agentguard", "unload", "--force"]).output()?;
    assert!(!output.status.success(), "{output:?}");
    assert!(Path::new(&maps).join("TASKS").exists());
    Ok(())
}

#[test]
fn nothing_is_mounted_where_others_see_it() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let here = tempfile::tempdir()?;
    let prelude = format!("HERE = b'{}'", here.path().display());
    let place = format!("mount {} host mount", here.path().display());
    let deeds: Deeds<'_> = &[
        ("check(libc.mount(b't', HERE, b'tmpfs', 0, None))", "EPERM", &place),
        ("check(libc.mount(b'/etc', HERE, None, 4096, None))", "EPERM", &place),
        ("check(libc.umount2(b'/proc', 2))", "EPERM", "mount /proc host mount"),
        ("check(libc.unshare(0x10000000 | 0x20000))", "ok", ""),
        ("check(libc.mount(b't', HERE, b'tmpfs', 0, None))", "ok", ""),
    ];
    let deeds: Vec<(&str, &str, &str)> = deeds
        .iter()
        .map(|(code, said, told)| (*code, *said, told.trim_end_matches(" mount")))
        .collect();
    let mut text = format!("{prelude}\n");
    for (at, (code, ..)) in deeds.iter().enumerate() {
        text.push_str(&format!("deed('{at}', lambda: {code})\n"));
    }
    let printed = script(&guard, "coder", &text)?;
    let said: Vec<&str> = printed.iter().filter_map(|line| Some(line.split_once(' ')?.1)).collect();
    assert_eq!(said, ["EPERM", "EPERM", "EPERM", "ok", "ok"]);
    let told = told(&guard.decisions()?);
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(told.iter().all(|line| line.starts_with("mount ") && line.ends_with(" host mount")));
    Ok(())
}

#[test]
fn namespaces_of_others_are_not_entered() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let _ = Command::new("ip").args(["netns", "delete", "theirs"]).output();
    let made = Command::new("ip").args(["netns", "add", "theirs"]).output()?;
    assert!(made.status.success(), "{made:?}");
    let guard = Guard::start(&[CODER])?;
    let deeds: Deeds<'_> = &[
        ("read('/run/netns/theirs')", "EPERM", "namespaces namespaces host file.read"),
        ("os.close(os.open('/proc/self/ns/net', os.O_RDONLY))", "ok", ""),
        ("os.close(os.open(f'/proc/{CHILD}/ns/net', os.O_RDONLY))", "ok", ""),
        ("check(libc.setns(os.open(f'/proc/{CHILD}/ns/net', os.O_RDONLY), 0))", "ok", ""),
        ("os.kill(CHILD, 9)", "ok", ""),
    ];
    let prelude = "
ready, say = os.pipe()
CHILD = os.fork()
if CHILD == 0:
    check(libc.unshare(0x40000000))
    os.write(say, b'x')
    time.sleep(1000)
os.read(ready, 1)";
    hold(&guard, prelude, deeds)
}

#[test]
fn agentguards_own_files_are_left_alone() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start(&[CODER])?;
    let top = guard.policies().parent().ok_or("no parent")?.display().to_string();
    let prelude = format!(
        "
T = '{top}'
P = T + '/policies'
L = T + '/events.jsonl'
S = '/run/agentguard'"
    );
    let policies = format!("{top}/policies");
    let one = format!("{policies}/0.yaml");
    let log = format!("{top}/events.jsonl");
    let line = |action: &str, path: &str| format!("{action} {path} protected");
    let kept = [
        ("write(P + '/0.yaml')", "EPERM", line("file.write", &one)),
        ("write(P + '/new.yaml')", "EPERM", line("file.write", &policies)),
        ("os.unlink(P + '/0.yaml')", "EPERM", line("file.write", &policies)),
        ("os.rename(P, T + '/away')", "EPERM", line("file.rename", &policies)),
        ("os.rename(T, T + 'x')", "EPERM", line("file.rename", &top)),
        ("os.truncate(P + '/0.yaml', 0)", "EPERM", line("file.write", &one)),
        ("os.chmod(P + '/0.yaml', 0o666)", "EPERM", line("file.chmod", &one)),
        ("os.chown(P, 65534, 65534)", "EPERM", line("file.chown", &policies)),
        ("os.utime(P + '/0.yaml')", "EPERM", line("file.times", &one)),
        ("os.setxattr(P + '/0.yaml', 'trusted.x', b'1')", "EPERM", line("file.attributes", &one)),
        ("os.link(P + '/0.yaml', T + '/mine')", "EPERM", line("file.link", &one)),
        ("open(L, 'a')", "EPERM", line("file.write", &log)),
        ("read(L)", "EPERM", line("file.read", &log)),
        ("os.unlink(L)", "EPERM", line("file.delete", &log)),
        ("os.rename(T + '/other', L)", "EPERM", line("file.rename", &log)),
        ("os.unlink(S + '/daemon.lock')", "EPERM", line("file.write", "/run/agentguard")),
        ("read(S + '/daemon.lock')", "EPERM", line("file.read", "/run/agentguard/daemon.lock")),
        ("write(S + '/new')", "EPERM", line("file.write", "/run/agentguard")),
    ];
    let free = [
        ("write(T + '/other')", "ok"),
        ("os.access(P, os.W_OK)", "ok"),
        ("read(P + '/0.yaml')", "ok"),
        ("os.symlink(P + '/0.yaml', T + '/link')", "ok"),
    ];
    let through = [
        ("write(T + '/link')", "EPERM", line("file.write", &one)),
        ("write('/proc/self/root' + P + '/0.yaml')", "EPERM", line("file.write", &one)),
    ];
    let mut deeds: Vec<(&str, &str, &str)> =
        free.iter().map(|(code, said)| (*code, *said, "")).collect();
    for (code, said, told) in kept.iter().chain(&through) {
        deeds.push((code, said, told));
    }
    hold(&guard, &prelude, &deeds)?;
    assert_eq!(std::fs::read_to_string(&one)?, CODER);
    // A name that was made elsewhere leads to the same file.
    std::fs::hard_link(&one, format!("{top}/hard"))?;
    let hard = format!("deed('hard', lambda: write('{top}/hard'))");
    assert_eq!(script(&guard, "coder", &hard)?, ["hard EPERM"]);
    assert!(agentguard(&["ps"])?.status.success());
    assert!(sessions()?.is_empty());
    Ok(())
}
