//! Limits: files and command lines in, meanings and messages out.

use std::path::Path;

use super::*;
use crate::policy::{Policy, explain};

fn read(limits: &str) -> Result<Policy, crate::policy::PolicyErrors> {
    let text = format!("version: 1\nagent: a\nlimits:\n{limits}");
    Policy::parse(Path::new("p.yaml"), text.as_bytes())
}

#[test]
fn all_limits_are_read() {
    let policy = read(
        "  memory: 4GiB\n  cpu: 200%\n  pids: 512\n  io: { read: 50MiB/s, write: 10MiB/s }\n  \
         runtime: 2h\n  open_files: 1024\n",
    )
    .unwrap();
    let limits = &policy.limits.limits;
    assert_eq!(
        *limits,
        Limits {
            memory: Some(4 << 30),
            cpu: Some(200),
            pids: Some(512),
            io_read: Some(50 << 20),
            io_write: Some(10 << 20),
            runtime: Some(7200),
            open_files: Some(1024),
            ..Limits::default()
        }
    );
    assert_eq!(
        limits.to_string(),
        "memory=4GiB cpu=200% pids=512 io.read=50MiB/s io.write=10MiB/s runtime=2h open_files=1024"
    );
    let words = explain(&policy);
    for told in ["Memory: 4GiB", "200% of one CPU", "512.", "2 hours", "1024 for each process"] {
        assert!(words.contains(told), "{told}: {words}");
    }
    let both = read("  io: 1MiB/s\n").unwrap();
    assert_eq!(both.limits.limits.io_read, Some(1 << 20));
    assert_eq!(both.limits.limits.io_write, Some(1 << 20));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (limits, told) in [
        ("  memory: 4GB\n", "p.yaml:4:11: bad amount: memory is 4GB, which is no size"),
        ("  memory: 1MiB\n", "= write 4MiB or more"),
        ("  cpu: 200\n", "p.yaml:4:8: bad amount: cpu is 200, which is no share of CPUs"),
        ("  pids: 0\n", "= write 1 to 4194304"),
        ("  io: 5\n", "p.yaml:4:7: wrong type: io takes a rate such as 50MiB/s, not a number"),
        ("  io: { rate: 1MiB/s }\n", "p.yaml:4:9: unknown key: rate in io"),
        ("  runtime: 2\n", "= write 2s for seconds; or m, h or d"),
        ("  open_files: 4\n", "= write 8 to 1048576"),
        ("  memory: none\n", "= leave the key out"),
        (
            "  egress: 1MiB\n",
            "p.yaml:4:11: bad amount: egress is 1MiB, which is no amount per time",
        ),
        ("  connections: 9/week\n", "= write /s, /min, /h or /d"),
        ("  memroy: 1GiB\n", "= did you mean memory?"),
    ] {
        let said = read(limits).unwrap_err().to_string();
        assert!(said.contains(told), "{limits}: {said}");
    }
}

#[test]
fn limits_of_the_command_line_are_set_and_taken_off() {
    let mut limits = Limits::default();
    for (key, text) in [("memory", "1GiB"), ("io", "1MiB/s"), ("cpu", "50%")] {
        limits.set(key, text).unwrap();
    }
    limits.set("io.read", "none").unwrap();
    limits.set("memory", "none").unwrap();
    assert_eq!(limits.to_string(), "cpu=50% io.write=1MiB/s");
    assert!(limits.set("speed", "1").unwrap_err().1.contains("io.write"));
    assert!(limits.set("cpu", "fast").is_err());
    assert_eq!(limits.to_string(), "cpu=50% io.write=1MiB/s");
}

#[test]
fn what_a_host_cannot_enforce_is_refused_where_it_stands() {
    let policy = read("  memory: 4GiB\n  cpu: 200%\n").unwrap();
    let cannot = NotHere { key: "cpu", why: "there is no controller cpu".into(), mend: "mend it" };
    let said = policy.refuse_limits(&[cannot]).unwrap_err().to_string();
    assert_eq!(
        said,
        "p.yaml:5:8: limits.cpu cannot be enforced on this host: there is no controller cpu\n    5 |   cpu: 200%\n      |        ^\n      = mend it"
    );
    assert_eq!(policy.refuse_limits(&[]), Ok(()));
}
