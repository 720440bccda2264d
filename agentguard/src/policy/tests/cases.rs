//! Files of cases.

use std::fs;

use agentguard_common::verdict::Verdict;

use super::super::{Bindings, CaseOutcome, PolicyErrors, run_cases};
use super::{valid, with_egress};

fn run(cases: &str) -> Result<Vec<CaseOutcome>, PolicyErrors> {
    let policy =
        valid(&with_egress("  rules:\n    - allow: [10.0.0.0/8, 2001:db8::/32]\n      id: net\n"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cases.yaml");
    fs::write(&path, cases).unwrap();
    run_cases(&policy, &path, &Bindings::default())
}

#[test]
fn cases_pass_and_fail() {
    let outcomes = run("- connect: 10.0.0.1:443/tcp
  expect: allow
  rule: net
- connect: \"[2001:db8::1]:443/udp\"
  expect: allow
- connect: 10.0.0.1:80
  expect: deny
- connect: 10.0.0.1:443
  expect: deny
- connect: 10.0.0.1:443
  expect: allow
  rule: other
")
    .unwrap();
    let passed: Vec<bool> = outcomes.iter().map(CaseOutcome::passed).collect();
    assert_eq!(passed, [true, true, true, false, false]);
    assert_eq!(outcomes[3].place.line, 8);
    assert_eq!(outcomes[3].ruling.verdict, Verdict::Allow);
    assert_eq!(outcomes[3].rule.as_deref(), Some("net"));
    assert_eq!(outcomes[2].rule, None);
}

#[test]
fn cases_of_names() {
    let policy = valid(&with_egress(
        "  rules:
    - allow: '*.github.com'
    - { deny: gist.github.com, id: no-gists }
",
    ));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cases.yaml");
    let cases = "- { connect: 'api.github.com:443/tcp', expect: allow, rule: egress.1 }
- { connect: 'tcp://gist.github.com:443', expect: deny, rule: no-gists }
- { connect: 'github.com:443', expect: deny }
- { ask: API.github.com., expect: allow }
- { ask: gist.github.com, expect: deny, rule: no-gists }
- { ask: github.com, expect: allow }
";
    fs::write(&path, cases).unwrap();
    let outcomes = run_cases(&policy, &path, &Bindings::default()).unwrap();
    let passed: Vec<bool> = outcomes.iter().map(CaseOutcome::passed).collect();
    assert_eq!(passed, [true, true, true, true, true, false]);
    assert_eq!(outcomes[4].connect, "dns:gist.github.com");
    for (case, said) in [
        ("{ ask: '*.github.com', expect: deny }", "bad name: *.github.com is more than one name"),
        ("{ ask: a.test, connect: 'a.test:1', expect: deny }", "two places in one case"),
        ("{ connect: 'a.test', expect: deny }", "bad value: connect is a.test"),
        ("{ connect: 'localhost:80', expect: deny }", "bad name: localhost is this host"),
    ] {
        fs::write(&path, format!("- {case}\n")).unwrap();
        let errors = run_cases(&policy, &path, &Bindings::default()).unwrap_err();
        assert_eq!(errors.errors[0].problem.to_string(), said, "{errors}");
    }
}

#[test]
fn cases_of_paths() {
    let policy = valid(
        "version: 1
agent: a
files:
  rules:
    - write: [\"${workspace}\", \"${OUT}\"]
    - { deny: ~/.ssh, id: keys }
exec:
  rules:
    - deny: /usr/bin/sudo
",
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cases.yaml");
    let cases = "workspace: /project
home: /home/bob
set: { OUT: /out }
cases:
  - { write: /project/x, expect: allow, rule: files.1 }
  - { write: /out/x, expect: allow }
  - { write: /etc/passwd, expect: deny }
  - { read: /home/bob/.ssh/id, expect: deny, rule: keys }
  - { exec: /usr/bin/sudo, expect: deny, rule: exec.1 }
  - { exec: /usr/bin/ls, expect: deny }
";
    fs::write(&path, cases).unwrap();
    let outcomes = run_cases(&policy, &path, &Bindings::default()).unwrap();
    let passed: Vec<bool> = outcomes.iter().map(CaseOutcome::passed).collect();
    assert_eq!(passed, [true, true, true, true, true, false]);
    assert_eq!(outcomes[0].connect, "write /project/x");
    // What is given goes before what the file says.
    let given = Bindings { workspace: Some("/other".into()), ..Bindings::default() };
    assert!(!run_cases(&policy, &path, &given).unwrap()[0].passed());
    for (cases, said) in [
        ("cases: [{ read: work, expect: deny }]", "bad path: work is no absolute path"),
        ("cases: [{ read: /a, write: /a, expect: deny }]", "two places in one case"),
        ("home: /h\ncases: [{ read: /a, expect: deny }]", "the policy speaks of ${workspace}"),
        ("set: x\ncases: []", "wrong type: set takes a map of names and paths"),
    ] {
        fs::write(&path, cases).unwrap();
        let errors = run_cases(&policy, &path, &Bindings::default()).unwrap_err();
        assert!(errors.errors[0].problem.to_string().contains(said), "{errors}");
    }
}

#[test]
fn bad_cases() {
    for (cases, problem) in [
        ("", "lists nothing: the file is empty"),
        ("a: b", "missing: cases in a file of cases"),
        ("x", "wrong type: a file of cases takes a list of cases, not text"),
        ("- connect: 10.0.0.1:443", "missing: expect in a case"),
        ("- {connect: 10.0.0.1, expect: deny}", "bad value: connect is 10.0.0.1"),
        ("- {connect: '10.0.0.1:80/sctp', expect: deny}", "bad value: protocol is sctp"),
        (
            "- {ask: a.test, expect: deny}",
            "the policy has no rules by name, so nothing decides which names may be asked for",
        ),
        ("- {connect: '10.0.0.1:80', expect: maybe}", "bad value: expect is maybe"),
        (
            "- {connect: '10.0.0.1:80', expects: deny, expect: deny}",
            "unknown key: expects in a case",
        ),
    ] {
        let errors = run(cases).unwrap_err();
        assert_eq!(errors.errors[0].problem.to_string(), problem, "{errors}");
    }
}
