//! What rules on paths say, case by case.

use agentguard_common::verdict::Verdict::{self, Allow, Ask, Deny};

use super::super::table::Access;
use super::{policy, said, table};

/// Holds what is said to reading and writing against what is expected.
fn expect(sections: &str, cases: &[(&str, Verdict, Verdict)]) {
    let policy = policy(sections);
    let table = table(&policy);
    for (path, read, write) in cases {
        let [(reading, by), (writing, _), _] = said(&policy, &table, path);
        assert_eq!((reading, writing), (*read, *write), "{path} by {by}\n{sections}");
    }
}

#[test]
fn what_the_four_verdicts_mean() {
    expect(
        "files:\n  default: deny\n  rules:\n    - read: /r\n    - write: /w\n    - ask: /a\n    \
         - deny: /w/d\n",
        &[
            ("/", Deny, Deny),
            ("/x", Deny, Deny),
            ("/r", Allow, Deny),
            ("/r/x/y", Allow, Deny),
            ("/w", Allow, Allow),
            ("/w/x", Allow, Allow),
            ("/w/d", Deny, Deny),
            ("/w/d/x", Deny, Deny),
            ("/a/x", Ask, Ask),
            ("/wx", Deny, Deny),
        ],
    );
}

#[test]
fn the_default_is_read() {
    expect("files: {}\n", &[("/", Allow, Deny), ("/etc/passwd", Allow, Deny)]);
}

#[test]
fn the_rule_that_matches_deepest_decides() {
    expect(
        "files:\n  rules:\n    - write: \"${workspace}\"\n    - deny: \"**/.env\"\n    \
         - deny: /home/*/.ssh\n    - write: /home/bob\n    - read: \"${workspace}/vendor/**\"\n",
        &[
            ("/home/bob/project", Allow, Allow),
            ("/home/bob/project/.env", Deny, Deny),
            ("/home/bob/project/a/b/.env", Deny, Deny),
            ("/home/bob/project/a/b/.env/x", Deny, Deny),
            ("/home/bob/project/a/b/.envrc", Allow, Allow),
            ("/.env", Deny, Deny),
            ("/home/bob/.ssh/id", Deny, Deny),
            ("/home/bob/x", Allow, Allow),
            ("/home/eve/x", Allow, Deny),
            ("/home/eve/.ssh", Deny, Deny),
            ("/home/bob/project/vendor", Allow, Allow),
            ("/home/bob/project/vendor/x", Allow, Deny),
            ("/home/bob/project/vendor/x/y", Allow, Deny),
            ("/home/bob/project/vendor/.env", Deny, Deny),
        ],
    );
}

#[test]
fn equally_deep_the_more_specific_decides() {
    expect(
        "files:\n  rules:\n    - write: /a/*\n    - deny: /a/*.key\n    - read: /a/x*.key\n    \
         - write: /a/xy.key\n    - deny: /*/b/c\n    - write: /a/b/c\n    - deny: \"**/d\"\n    \
         - write: /*/d\n    - deny: /q/[ab]\n    - write: /q/[bc]\n",
        &[
            ("/a", Allow, Deny),
            ("/a/f", Allow, Allow),
            ("/a/f.key", Deny, Deny),
            ("/a/x.key", Allow, Deny),
            ("/a/xy.key", Allow, Allow),
            ("/a/b/c", Allow, Allow),
            ("/z/b/c", Deny, Deny),
            // As many wildcards, and as many bytes: the stricter.
            ("/a/d", Deny, Deny),
            ("/a/e/d", Deny, Deny),
            ("/q/a", Deny, Deny),
            ("/q/b", Deny, Deny),
            ("/q/c", Allow, Allow),
        ],
    );
}

#[test]
fn a_name_at_the_end_beats_a_pattern_that_is_longer() {
    expect(
        "files:\n  rules:\n    - write: \"${workspace}/**\"\n    - deny: \"**/.env\"\n    \
         - deny: \"**/secret/**\"\n",
        &[
            ("/home/bob/project", Allow, Deny),
            ("/home/bob/project/x", Allow, Allow),
            ("/home/bob/project/.env", Deny, Deny),
            ("/home/bob/project/secret", Allow, Allow),
            ("/home/bob/project/secret/x", Deny, Deny),
        ],
    );
}

#[test]
fn names_longer_than_a_chunk_are_told_apart() {
    let long = "a".repeat(255);
    let other = format!("{}b", "a".repeat(254));
    let sections = format!(
        "files:\n  rules:\n    - deny: /{long}\n    - deny: /{}\n    - write: /{}\n    \
         - write: /*{}x\n",
        "c".repeat(24),
        "c".repeat(25),
        "d".repeat(40),
    );
    let (c24, c25, c26) = ("c".repeat(24), "c".repeat(25), "c".repeat(26));
    let d = format!("/zz{}x/y", "d".repeat(40));
    expect(
        &sections,
        &[
            (&format!("/{long}"), Deny, Deny),
            (&format!("/{other}"), Allow, Deny),
            (&format!("/{}", "a".repeat(24)), Allow, Deny),
            (&format!("/{c24}/x"), Deny, Deny),
            (&format!("/{c25}/x"), Allow, Allow),
            (&format!("/{c26}/x"), Allow, Deny),
            (&d, Allow, Allow),
        ],
    );
}

#[test]
fn patterns_read_characters_and_the_star_bytes() {
    let policy =
        policy("files:\n  rules:\n    - deny: /a/?\n    - deny: /b/[!a-z]x\n    - deny: /c/*.k\n");
    let table = table(&policy);
    let reads = |path: &[u8]| table.decide(path, Access::Read).verdict;
    for (path, verdict) in [
        ("/a/x".as_bytes(), Deny),
        ("/a/é".as_bytes(), Deny),
        ("/a/漢".as_bytes(), Deny),
        ("/a/😀".as_bytes(), Deny),
        (b"/a/\xff", Allow),
        ("/a/xx".as_bytes(), Allow),
        ("/b/éx".as_bytes(), Deny),
        ("/b/Ax".as_bytes(), Deny),
        ("/b/ax".as_bytes(), Allow),
        (b"/c/\xff\xfe.k", Deny),
        (b"/c/.k", Deny),
        (b"/c/.kk", Allow),
    ] {
        assert_eq!(reads(path), verdict, "{}", String::from_utf8_lossy(path));
    }
}

#[test]
fn programs_are_decided_apart_from_files() {
    let policy = policy(
        "exec:\n  rules:\n    - deny: [/usr/bin/sudo, /tmp/**]\n    - allow: /tmp/ok\n    \
         - ask: /opt\n",
    );
    let table = table(&policy);
    for (path, exec, by) in [
        ("/usr/bin/ls", Allow, "default"),
        ("/usr/bin/sudo", Deny, "exec.1"),
        ("/tmp/x/y", Deny, "exec.1"),
        ("/tmp/ok", Allow, "exec.2"),
        ("/opt/x", Ask, "exec.3"),
    ] {
        let [(read, _), (write, _), (verdict, rule)] = said(&policy, &table, path);
        assert_eq!((read, write), (Allow, Allow), "{path}");
        assert_eq!((verdict, rule.as_str()), (exec, by), "{path}");
    }
}

#[test]
fn secrets_are_marked_with_all_below() {
    let policy =
        policy("secrets: [\"~/.ssh\", /srv/tokens/*.key, \"**/.env\"]\nfiles:\n  default: write\n");
    let table = table(&policy);
    for (path, secret) in [
        ("/home/bob/.ssh", true),
        ("/home/bob/.ssh/id/x", true),
        ("/home/bob/.sshx", false),
        ("/srv/tokens/a.key", true),
        ("/srv/tokens/a", false),
        ("/x/.env", true),
        ("/x", false),
    ] {
        assert_eq!(table.is_secret(path.as_bytes()), secret, "{path}");
    }
}

#[test]
fn numbers_lead_to_ids_across_sections() {
    let policy = policy(
        "egress:\n  rules:\n    - allow: 10.0.0.1\n    - deny: 10.0.0.2\nfiles:\n  rules:\n    \
         - deny: /a\n    - deny: /b\n      id: bees\nexec:\n  rules:\n    - deny: /a\n",
    );
    let ids: Vec<_> = (1..=6).map(|number| policy.rule_id(number)).collect();
    let expected = ["egress.1", "egress.2", "files.1", "bees", "exec.1"].map(Some);
    assert_eq!(ids[..5], expected);
    assert_eq!(ids[5], None);
}
