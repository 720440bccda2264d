//! Learning a policy from a session that nothing is refused to.

use std::path::Path;
use std::process::Output;

use agentguard_tests::guard::{Guard, agentguard, as_nobody, attempt_path, lines};
use agentguard_tests::resolver::Dnsmasq;
use agentguard_tests::{Outcome, in_vm, net};
use serde_json::Value;

use crate::denied;

/// Work as agents do it: names that are reached and one that is only looked up, an address,
/// files in the workspace and elsewhere, programs and an interpreter.
const WORK: &str = r#"set -e
"$1" connect 10.77.0.3:9999 reach api.test:443 reach a.wild.test:80 reach b.wild.test:80 \
    resolve target.test
cat in.txt >out.txt
mkdir -p sub
mv out.txt sub/renamed.txt
ls /etc >/dev/null
cat /etc/hostname >/dev/null
mkdir -p /var/tmp/learned-cache
date >"/var/tmp/learned-cache/$$"
python3 -I -S -c 'open("made by python", "w").write("x")'
ln -sf in.txt link
chmod 600 in.txt
rm -r sub link
"#;

fn learn(options: &[&str], work: &Path, command: &[&str]) -> std::io::Result<Output> {
    let mut learn = std::process::Command::new("agentguard");
    learn.args(["learn", "--agent", "learner"]).args(options).arg("--").args(command);
    learn.current_dir(work).stdin(std::process::Stdio::null()).output()
}

#[test]
fn what_was_learned_is_enough_for_the_same_work() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let outside = net::outside()?;
    let server = Dnsmasq::start()?;
    let work = tempfile::tempdir()?;
    std::fs::write(work.path().join("in.txt"), "text")?;
    let written = tempfile::tempdir()?;
    let (file, grouped) = (written.path().join("one.yaml"), written.path().join("grouped.yaml"));
    let attempt = attempt_path();
    let words = ["bash", "-c", WORK, "work", &attempt];
    {
        let guard = Guard::start(&[])?;
        for (file, more) in [(&file, &[][..]), (&grouped, &["--group"])] {
            let output = file.display().to_string();
            let options = [&["--output", &output], more].concat();
            let learned = learn(&options, work.path(), &words)?;
            let said = String::from_utf8_lossy(&learned.stderr).into_owned();
            assert!(learned.status.success(), "{said}");
            assert!(!said.contains("  not ") && !said.contains("lost"), "{said}");
            assert!(lines(&learned).contains(&"reach api.test:443 ok".into()), "{learned:?}");
            let check = agentguard(&["policy", "check", &output])?;
            assert!(check.status.success(), "{check:?}");
        }
        let begun = guard.events()?.into_iter().filter(|event| event["action"] == "session.learn");
        assert_eq!(begun.count(), 2);
        // What goes through there is no news, but for what it reached.
        let refused = guard.decisions()?;
        assert!(denied(&refused).is_empty(), "{refused:#?}");
    }
    let text = std::fs::read_to_string(&file)?;
    for part in [
        "- api.test ",
        "- a.wild.test ",
        "- b.wild.test ",
        "- target.test ",
        "\"10.77.0.3\" ",
        "- \"${workspace}\" ",
        "- /var/tmp ",
        "- /etc/hostname ",
        "- /etc ",
        "by attempt",
        "/usr/bin/cat ",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("10.77.0.2:") && !text.contains("*.wild.test"), "{text}");
    let text_of_groups = std::fs::read_to_string(&grouped)?;
    assert!(text_of_groups.contains("- \"*.wild.test\" "), "{text_of_groups}");

    for text in [text, text_of_groups] {
        let guard = Guard::start(&[&text])?;
        std::fs::write(work.path().join("in.txt"), "text")?;
        let before = (outside.received().0, server.asked("api.test")?);
        let mut run = guard.run("learner", &words);
        let output = run.current_dir(work.path()).output()?;
        assert!(output.status.success(), "{output:?}\n{text}");
        let decisions = guard.decisions()?;
        assert!(denied(&decisions).is_empty(), "{:#?}\n{text}", denied(&decisions));
        assert!(outside.received().0 > before.0 && server.asked("api.test")? > before.1);
        // And it is no more than that.
        let more = "\"$1\" connect 10.77.0.3:443; : >/etc/learned; /usr/bin/od /dev/null";
        let mut run = guard.run("learner", &["bash", "-c", more, "more", &attempt]);
        let output = run.current_dir(work.path()).output()?;
        let decisions = guard.decisions()?;
        let refused: Vec<_> =
            denied(&decisions).iter().map(|event| event["action"].clone()).collect();
        for action in ["connect", "file.create", "exec"] {
            assert!(refused.contains(&Value::from(action)), "{refused:?} {output:?}");
        }
    }
    Ok(())
}

#[test]
fn learning_goes_on_from_a_policy() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let work = tempfile::tempdir()?;
    let file = work.path().join("base.yaml");
    std::fs::write(
        &file,
        "version: 1\nagent: learner\nfiles:\n  default: read\n  rules:\n    - { deny: /etc/hostname, id: mine }\n",
    )?;
    let path = file.display().to_string();
    let _guard = Guard::start(&[])?;
    let options = ["--base", &path, "--output", &path];
    let command = ["bash", "-c", "cat /etc/hostname; : >/var/tmp/learned-new; exit 3"];
    let learned = learn(&options, work.path(), &command)?;
    assert_eq!(learned.status.code(), Some(3), "the command's own: {learned:?}");
    let text = std::fs::read_to_string(&file)?;
    for part in ["id: mine", "- /var/tmp ", "refused by rule mine"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("exec:"), "{text}");
    // What is there is not written over.
    let again = learn(&["--output", &path], work.path(), &["true"])?;
    assert_eq!(again.status.code(), Some(2), "{again:?}");
    Ok(())
}

#[test]
fn learning_is_no_way_past_a_policy() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let work = tempfile::tempdir()?;
    std::fs::set_permissions(work.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    let matched = "version: 1\nagent: matched\nmatch:\n  - exe: /usr/bin/no-such-program\n";
    let guard = Guard::start(&["version: 1\nagent: coder\negress: {}\n"])?;
    let words = ["agentguard", "learn", "--agent", "x", "--", "true"];
    // Not from inside of a session.
    let mut inside = guard.run("coder", &words);
    let inside = inside.current_dir(work.path()).output()?;
    assert_eq!(inside.status.code(), Some(68), "{inside:?}");
    let nobody = || {
        let mut command = std::process::Command::new(words[0]);
        command.args(&words[1..]).current_dir(work.path());
        as_nobody(&mut command).output()
    };
    let allowed = nobody()?;
    assert_eq!(allowed.status.code(), Some(0), "{allowed:?}");
    assert!(work.path().join("x.yaml").exists());
    drop(guard);
    std::fs::remove_file(work.path().join("x.yaml"))?;
    // Where a policy takes processes in by itself, only as root.
    let _guard = Guard::start(&[matched])?;
    let refused = nobody()?;
    assert_eq!(refused.status.code(), Some(68), "{refused:?}");
    assert!(!work.path().join("x.yaml").exists());
    Ok(())
}

#[test]
fn what_is_only_observed_of_files_is_not_told_again_and_again() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let guard =
        Guard::start(&["version: 1\nagent: coder\nmode: observe\nfiles: { default: deny }\n"])?;
    let script = "for _ in range(300): open('/etc/hostname').close()";
    let output = guard.run("coder", &["python3", "-I", "-S", "-c", script]).output()?;
    assert!(output.status.success(), "{output:?}");
    let decisions = guard.decisions()?;
    let told = decisions.iter().filter(|event| event["resource"] == "/etc/hostname").count();
    assert!((1..=20).contains(&told), "{told}");
    Ok(())
}
