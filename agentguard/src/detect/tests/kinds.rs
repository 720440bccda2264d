//! Each kind of finding: what makes one, and what is near it and makes none.

use super::super::{Found, History, Peaks};
use super::{Finding, Told, all_found, found_after, stream, surest, told};

/// Holds that a stream shows a kind, with at least that many hundredths, and says by what.
fn shows(events: &[Told], finding: Finding, least: u8) -> Found {
    let found = all_found(events);
    let found = surest(&found, finding).unwrap_or_else(|| panic!("no {finding} in {found:?}"));
    assert!(found.confidence.hundredths() >= least, "{found:?}");
    found.clone()
}

/// Holds that a stream does not show a kind surely.
fn shows_no(events: &[Told], finding: Finding) {
    let found = all_found(events);
    let sure = surest(&found, finding).filter(|found| found.confidence.hundredths() > 50);
    assert_eq!(sure, None);
}

#[test]
fn the_same_refusal_over_and_over() {
    let tries = |count| stream((0..count).map(|_| Told::connect("10.0.0.1", 22).denied()), 100);
    let found = shows(&tries(20), Finding::RepeatedDenials, 60);
    assert_eq!(found.evidence.len(), 16, "the last 16");
    assert_eq!(found.evidence.last().map(String::as_str), Some("e19"));
    shows(&tries(90), Finding::RepeatedDenials, 90);
    shows_no(&tries(19), Finding::RepeatedDenials);
    shows_no(
        &stream((0..90).map(|_| Told::connect("10.0.0.1", 22).denied()), 20_000),
        Finding::RepeatedDenials,
    );
    shows_no(&stream((0..90).map(|_| Told::connect("10.0.0.1", 22)), 1), Finding::RepeatedDenials);
}

#[test]
fn looking_around() {
    let hosts = |count| {
        stream((0..count).map(|n| Told::connect(&format!("10.0.0.{n}"), 443).denied()), 100)
    };
    shows(&hosts(15), Finding::Probing, 65);
    shows_no(&hosts(14), Finding::Probing);
    let names = stream((0..15).map(|n| Told::resolve(&format!("h{n}.corp.example")).denied()), 100);
    shows(&names, Finding::Probing, 60);
    let paths = |count| {
        stream((0..count).map(|n| Told::new("file.read", &format!("/home/b/{n}")).denied()), 10)
    };
    shows(&paths(30), Finding::Probing, 60);
    shows_no(&paths(29), Finding::Probing);
    let ports = |count| stream((1..=count).map(|port| Told::connect("10.0.0.1", port)), 10);
    shows(&ports(15), Finding::Scanning, 70);
    shows_no(&ports(14), Finding::Scanning);
    let one_port =
        |port| stream((0..30).map(move |n| Told::connect(&format!("10.0.0.{n}"), port)), 10);
    shows(&one_port(22), Finding::Scanning, 70);
    shows_no(&one_port(443), Finding::Scanning);
    shows(
        &stream([Told::exec("/usr/bin/nmap", &["nmap", "10.0.0.0/8"], 2)], 1),
        Finding::Scanning,
        75,
    );
}

#[test]
fn a_secret_and_then_a_way_out() {
    let read = || Told::new("file.read", "/home/a/.ssh/id_rsa");
    let out = || Told::connect("203.0.113.9", 443);
    let found = shows(&stream([read(), out()], 1000), Finding::SecretEgress, 80);
    assert_eq!(found.evidence, ["e0", "e1"]);
    shows(&stream([read().denied(), out().denied()], 1000), Finding::SecretEgress, 55);
    shows(&stream([read(), Told::resolve("x.example")], 1000), Finding::SecretEgress, 80);
    shows(&stream([read(), read().denied(), out()], 10), Finding::SecretEgress, 80);
    shows_no(&stream([out(), read()], 1000), Finding::SecretEgress);
    shows_no(&stream([read(), out()], 300_000), Finding::SecretEgress);
    shows_no(&stream([read(), Told::connect("127.0.0.1", 5432)], 10), Finding::SecretEgress);
    shows_no(
        &stream([Told::new("file.read", "/home/a/.ssh/known_hosts"), out()], 10),
        Finding::SecretEgress,
    );
}

#[test]
fn names_that_carry_data() {
    let label = |n: u64| {
        format!(
            "{:016x}{:016x}",
            n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            n.wrapping_mul(0xc2b2_ae3d_27d4_eb4f)
        )
    };
    let carried = |count| {
        stream((1..=count).map(|n| Told::resolve(&format!("{}.t.example.com", label(n)))), 500)
    };
    shows(&carried(15), Finding::Tunnelling, 70);
    shows_no(&carried(10), Finding::Tunnelling);
    let burst =
        |count| stream((0..count).map(|n| Told::resolve(&format!("h{n}.example.com"))), 100);
    shows(&burst(120), Finding::Tunnelling, 55);
    shows_no(&burst(119), Finding::Tunnelling);
    shows_no(
        &stream((0..500).map(|_| Told::resolve("registry.npmjs.org")), 10),
        Finding::Tunnelling,
    );
}

#[test]
fn more_than_ever_before() {
    let busy = |count| stream((0..count).map(|n| Told::connect("10.0.0.1", 443 + n % 2)), 10);
    let mut history = History::default();
    let usual = |history: &mut History, sessions, connections| {
        for _ in 0..sessions {
            history.add(Peaks::from([(super::super::volume::Measure::Connections, connections)]));
        }
    };
    let volume = |history: &History, events: &[Told]| {
        surest(&found_after(events, history, "floor: 0"), Finding::Volume).cloned()
    };
    usual(&mut history, 4, 10);
    assert_eq!(volume(&history, &busy(1000)), None, "too little is known");
    usual(&mut history, 1, 10);
    let found = volume(&history, &busy(500)).unwrap();
    assert!(found.reason.contains("10 is usual"), "{found:?}");
    assert_eq!(found.evidence.len(), 16);
    assert_eq!(volume(&history, &busy(80)), None, "eight times the usual is in line");
    assert!(volume(&history, &busy(81)).is_some());
    usual(&mut history, 1, 5000);
    assert!(volume(&history, &busy(500)).is_some(), "one wild session changes nothing");
    usual(&mut history, 32, 100);
    assert_eq!(volume(&history, &busy(500)), None, "it is usual by now");
    let mut quiet = History::default();
    usual(&mut quiet, 9, 0);
    assert_eq!(volume(&quiet, &busy(60)), None, "not more than the floor");
    let found = found_after(&busy(500), &quiet, "volume: off");
    assert_eq!(surest(&found, Finding::Volume), None);
}

#[test]
fn what_outlives_the_session() {
    let write = |path: &str| stream([Told::new("file.write", path)], 1);
    for path in [
        "/etc/cron.d/job",
        "/var/spool/cron/crontabs/a",
        "/home/a/.bashrc",
        "/etc/profile.d/x.sh",
        "/etc/systemd/system/x.service",
        "/home/a/.config/systemd/user/x.service",
        "/home/a/.ssh/authorized_keys",
        "/p/.git/hooks/pre-commit",
        "/etc/sudoers.d/a",
    ] {
        shows(&write(path), Finding::Persistence, 70);
    }
    let renamed =
        Told { target: Some("/home/a/.profile".into()), ..Told::new("file.rename", "/tmp/x") };
    shows(&stream([renamed.denied()], 1), Finding::Persistence, 80);
    shows(
        &stream([Told::exec("/usr/bin/crontab", &["crontab", "-"], 2)], 1),
        Finding::Persistence,
        70,
    );
    for path in
        ["/p/src/.bashrc.rs", "/p/etc/cron.d/job", "/p/.git/hooks/pre-commit.sample", "/tmp/x"]
    {
        shows_no(&write(path), Finding::Persistence);
    }
    let by_git = Told {
        exe: Some("/usr/bin/git".into()),
        ..Told::new("file.create", "/p/.git/hooks/update")
    };
    shows_no(&stream([by_git], 1), Finding::Persistence);
    shows_no(
        &stream([Told::exec("/usr/bin/crontab", &["crontab", "-l"], 2)], 1),
        Finding::Persistence,
    );
}

#[test]
fn other_users_and_other_processes() {
    shows(&stream([Told::exec("/usr/bin/sudo", &["sudo", "id"], 2)], 1), Finding::Privilege, 75);
    let by = |uid| Told { uid, ..Told::connect("10.0.0.1", 443) };
    shows(&stream([by(1000), by(0)], 1), Finding::Privilege, 95);
    shows(&stream([by(1000), by(1001)], 1), Finding::Privilege, 80);
    shows_no(&stream([by(0), by(1000), by(0)], 1), Finding::Privilege);
    shows(&stream([Told::new("file.read", "/proc/77/mem").denied()], 1), Finding::Tracing, 80);
    let trace = |message: &str| Told {
        message: Some(message.into()),
        ..Told::new("trace", "process:77/sshd").denied()
    };
    shows(&stream([trace("to take it over")], 1), Finding::Tracing, 80);
    shows(&stream([trace("to look at it")], 1), Finding::Tracing, 30);
    shows(&stream([Told::exec("/usr/bin/gdb", &["gdb", "-p", "1"], 2)], 1), Finding::Tracing, 55);
    shows_no(&stream([Told::exec("/usr/bin/gdb", &["gdb", "./a.out"], 2)], 1), Finding::Tracing);
}

#[test]
fn ways_out_of_the_session() {
    let mount = || Told::new("mount", "/mnt").denied();
    shows_no(&stream([mount()], 1), Finding::Escape);
    shows(
        &stream([mount(), Told::new("file.write", "/proc/sys/kernel/core_pattern").denied()], 1),
        Finding::Escape,
        75,
    );
    shows(
        &stream([Told::new("connect", "unix:/run/docker.sock").denied()], 1),
        Finding::Escape,
        60,
    );
    shows(
        &stream([Told::new("file.read", "/proc/1/root/etc/shadow").denied()], 1),
        Finding::Escape,
        75,
    );
    shows(
        &stream([Told::exec("/usr/bin/nsenter", &["nsenter", "-t", "1"], 2)], 1),
        Finding::Escape,
        60,
    );
    shows_no(
        &stream([Told::new("file.read", "/proc/sys/kernel/osrelease").denied()], 1),
        Finding::Escape,
    );
    shows_no(
        &stream([Told::new("file.read", "/sys/fs/cgroup/cpu.max").denied()], 1),
        Finding::Escape,
    );
    shows(
        &stream([Told::new("file.write", "/run/agentguard/sessions/x").denied()], 1),
        Finding::SelfProtection,
        85,
    );
    shows(
        &stream([Told::new("connect", "unix:/run/agentguard/agentguard.sock").denied()], 1),
        Finding::SelfProtection,
        85,
    );
    shows_no(
        &stream([Told::new("connect", "unix:/run/agentguard/self.sock")], 1),
        Finding::SelfProtection,
    );
}

#[test]
fn mining() {
    shows(&stream([Told::exec("/tmp/xmrig", &["xmrig"], 2)], 1), Finding::Mining, 85);
    let named = Told::exec("/tmp/kworker", &["kworker", "-o", "stratum+tcp://p.example:3333"], 2);
    shows(&stream([named], 1), Finding::Mining, 85);
    let pool =
        Told { name: Some("eu.supportxmr.com".into()), ..Told::connect("203.0.113.9", 3333) };
    shows(&stream([pool.clone(), Told::connect("203.0.113.9", 3333)], 1), Finding::Mining, 80);
    shows_no(&stream([Told::connect("203.0.113.9", 3333)], 1), Finding::Mining);
    shows_no(&stream([Told::connect("127.0.0.1", 3333)], 1), Finding::Mining);
}

#[test]
fn programs_without_a_file() {
    let refused =
        |action| Told { reason: Some("memory".into()), ..Told::new(action, "/memfd:x").denied() };
    shows(&stream([refused("exec")], 1), Finding::MemoryExec, 85);
    shows(&stream([Told::exec("/memfd:payload (deleted)", &[], 2)], 1), Finding::MemoryExec, 85);
    shows_no(&stream([refused("file.map")], 1), Finding::MemoryExec);
}

#[test]
fn storms_of_processes() {
    let forks = |count| stream((0..count).map(Told::fork), 1);
    shows(&forks(400), Finding::ForkStorm, 70);
    shows_no(&forks(399), Finding::ForkStorm);
    // As many again, but each ends before the next begins, over a longer time.
    let build = (0..4000).flat_map(|n| [Told::fork(n), Told::exit(n, 0)]);
    shows_no(&stream(build, 2), Finding::ForkStorm);
}

#[test]
fn the_same_command_fails_over_and_over() {
    let fails = |count, code| {
        stream(
            (0..count).flat_map(move |n| {
                [Told::exec("/usr/bin/npm", &["npm", "test"], n), Told::exit(n, code)]
            }),
            500,
        )
    };
    shows_no(&fails(20, 1), Finding::Loop);
    let found = shows(&fails(40, 1), Finding::Loop, 60);
    assert!(found.reason.contains("npm failed 40 times"), "{found:?}");
    shows(&fails(200, 1), Finding::Loop, 90);
    shows_no(&fails(200, 0), Finding::Loop);
    // It succeeds now and then.
    let mixed = (0..200).flat_map(|n| {
        [Told::exec("/usr/bin/cc", &["cc", "x.c"], n), Told::exit(n, u32::from(n % 10 != 0))]
    });
    shows_no(&stream(mixed, 100), Finding::Loop);
}

#[test]
fn the_same_is_told_once_unless_it_becomes_surer() {
    let events = stream((0..300).map(|_| Told::connect("10.0.0.1", 22).denied()), 10);
    let found = all_found(&events);
    let sure: Vec<u8> = told(&found).iter().map(|found| found.confidence.hundredths()).collect();
    assert_eq!(sure, [60, 75, 90]);
    assert_eq!(found.len(), 281, "all from the 20th on");
    let found = found_after(&events, &History::default(), "floor: 0.8");
    assert!(found.iter().all(|found| found.confidence.hundredths() >= 80));
    let found = found_after(
        &events,
        &History::default(),
        "repeated-denials: { threshold: 301 }, volume: off",
    );
    assert!(found.is_empty());
}
