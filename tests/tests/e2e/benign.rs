//! Ordinary work: nothing is found in it that anybody would have to look at.

use agentguard_tests::guard::Guard;
use agentguard_tests::{Outcome, in_vm};
use serde_json::Value;

/// What an agent that writes code may do, and what is told of it.
const CODER: &str = "\
version: 1
agent: coder
egress:
  rules:
    - { allow: 127.0.0.1, ports: any }
files:
  default: write
exec:
  default: allow
detect:
  floor: 0
";

/// Programs that agents use every day, a line each, kept short: the lab is slow. More of each
/// was recorded for the detectors' own tests.
const WORK: &[&str] = &[
    "git init -q r; cd r; git config user.email a@b; git config user.name a; for i in 1 2 3; do echo $i > f$i; git add -A; git commit -qm $i; done; git log --stat > /dev/null; git clone -q . ../c",
    "for i in 1 2 3 4 5 6; do echo \"int f$i(void) { return $i; }\" > f$i.c; done; printf 'OBJ=$(patsubst %.c,%.o,$(wildcard f*.c))\nall: $(OBJ)\n' > Makefile; make -s -j4",
    "for h in stdio.h nothere.h stdlib.h nope.h; do echo \"#include <$h>\nint main(void){return 0;}\" > conftest.c; gcc -c conftest.c -o conftest.o 2>/dev/null && echo $h yes || echo $h no; done",
    "python3 -c 'import json, ssl, multiprocessing; print(multiprocessing.Pool(2).map(abs, [-1, 2]))'",
    "python3 -m http.server 8123 --bind 127.0.0.1 > /dev/null 2>&1 & for i in $(seq 100); do curl -s http://127.0.0.1:8123/ > /dev/null && break; sleep 0.3; done; kill %1",
    "ps aux > /dev/null; df > /dev/null; seq 1000 | sort -n | uniq | wc -l; crontab -l; env | grep -q HOME",
];

#[test]
fn nothing_is_found_in_ordinary_work() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard = Guard::start_with(&[CODER], &["--log-activity"])?;
    for line in WORK {
        let directory = tempfile::tempdir()?;
        let mut run = guard.run("coder", &["bash", "-c", line]);
        run.env("HOME", directory.path()).current_dir(directory.path());
        let output = run.output()?;
        assert_ne!(output.status.code(), Some(79), "{line}: {output:?}");
    }
    guard.decisions()?;
    let events = guard.events()?;
    let execs = events.iter().filter(|event| event["action"] == "exec").count();
    assert!(execs > 40, "hardly anything ran: {execs}");
    let sure = |event: &&Value| {
        event["kind"] == "finding" && event["confidence"].as_f64().is_some_and(|sure| sure > 0.5)
    };
    let found: Vec<&Value> = events.iter().filter(sure).collect();
    assert!(found.is_empty(), "{found:#?}");
    Ok(())
}
