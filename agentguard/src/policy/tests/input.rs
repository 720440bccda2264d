//! Whatever is fed in, nothing panics; and files as they lie on a disk.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::super::cases::parse as parse_cases;
use super::super::{MAX_BYTES, Policy, PolicyErrors, PolicySet, Problem, explain};
use super::cases;

const SEED: &str = "version: 1
agent: coder
description: |
  text
mode: observe
match:
  - exe: /bin/sh
  - {user: 0}
egress:
  default: allow
  rules:
    - allow: [10.0.0.0/8, \"::/0\", 169.254.169.254]
      ports: [1, 2-3, any, '4']
      protocol: [tcp, udp]
      id: x
    - deny: ::ffff:10.1.0.0/112
";

/// Everything that can be done with what may be a policy.
fn use_up(bytes: &[u8]) {
    match Policy::parse(Path::new("p.yaml"), bytes) {
        Ok(policy) => {
            let _ = explain(&policy);
            let _ = policy.compile().map_err(|errors| errors.to_string());
        }
        Err(errors) => {
            assert!(!errors.errors.is_empty());
            let _ = errors.to_string();
        }
    }
    let _ = parse_cases(Path::new("c.yaml"), bytes, true).map_err(|errors| errors.to_string());
}

/// Pieces of the language in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "version: 1\n",
        "agent: a\n",
        "egress:\n",
        "  rules:\n",
        "    - ",
        "allow: ",
        "deny: ",
        "ports: ",
        "protocol: ",
        "id: ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        ": ",
        "\n",
        "  ",
        "\t",
        "\"",
        "'",
        "|\n",
        ">-\n",
        "&a ",
        "*a",
        "!!str ",
        "--- ",
        "...\n",
        "# c\n",
        "? ",
        "- ",
        "~",
        "10.0.0.0/8",
        "::/0",
        "80",
        "1-2",
        "any",
        "\u{feff}",
        "\u{85}",
        "\r",
        "é",
        "%YAML 1.2\n",
        "match:\n",
        "exe: /x",
        "<<: ",
        "1.5",
        "true",
        "\\x",
        "connect: ",
        "expect: ",
        "ask: ",
        "  dns:\n",
        "resolvers: ",
        "inside: ",
        "floor: ",
        "cap: ",
        "5m",
        "system",
        "*.",
        "a.test",
        ".",
        "dns:",
        "tcp://",
        "\u{1f980}",
        "xn--",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        use_up(&bytes);
    }

    #[test]
    fn arbitrary_text(text in "\\PC{0,200}") {
        use_up(text.as_bytes());
    }

    #[test]
    fn pieces_of_the_language(text in pieces()) {
        use_up(text.as_bytes());
    }

    #[test]
    fn a_policy_with_some_of_it_changed(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..6),
    ) {
        let mut bytes = SEED.as_bytes().to_vec();
        for (at, byte, how) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte & 0x7f),
                _ => drop(bytes.remove(at)),
            }
        }
        use_up(&bytes);
    }

    #[test]
    fn a_policy_with_a_piece_put_in(at in any::<prop::sample::Index>(), piece in pieces()) {
        let mut text = SEED.to_owned();
        text.insert_str(at.index(SEED.len()), &piece);
        use_up(text.as_bytes());
    }
}

fn only(errors: &PolicyErrors) -> &Problem {
    assert_eq!(errors.errors.len(), 1, "{errors}");
    &errors.errors[0].problem
}

#[test]
fn the_seed_is_in_order() {
    Policy::parse(Path::new("p.yaml"), SEED.as_bytes()).unwrap().compile().unwrap();
}

#[test]
fn not_utf8() {
    let errors = Policy::parse(Path::new("p.yaml"), b"version: 1\nagent: \xff\n").unwrap_err();
    assert_eq!(
        errors.to_string(),
        "p.yaml: not UTF-8 text\n      = save the file as UTF-8; the first bad byte is on line 2"
    );
}

#[test]
fn too_big_to_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("p.yaml");
    let file = fs::File::create(&path).unwrap();
    file.set_len(u64::try_from(MAX_BYTES).unwrap() * 1000).unwrap();
    assert_eq!(only(&Policy::load(&path).unwrap_err()), &Problem::TooBig);
}

#[test]
fn files_that_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().join("missing.yaml"), directory.path().to_owned()] {
        let errors = Policy::load(&path).unwrap_err();
        assert!(matches!(only(&errors), Problem::Unreadable(_)), "{errors}");
    }
    let errors = PolicySet::load_dir(&directory.path().join("missing")).unwrap_err();
    assert!(matches!(only(&errors), Problem::Unreadable(_)), "{errors}");
}

#[test]
fn a_directory_of_policies() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    assert!(PolicySet::load_dir(directory.path()).unwrap().is_empty());
    write("b.yaml", "version: 1\nagent: two\n");
    write("a.yml", "version: 1\nagent: one\n");
    write(".#a.yml", "not a policy");
    write("notes.txt", "not a policy");
    let set = PolicySet::load_dir(directory.path()).unwrap();
    let agents: Vec<&str> = set.iter().map(|policy| policy.agent.as_str()).collect();
    assert_eq!(agents, ["one", "two"]);
    assert_eq!(set.len(), 2);
    assert!(set.get("two").is_some() && set.get("three").is_none());

    write("c.yaml", "version: 1\nagent: one\n");
    write("d.yaml", "version: 3\nagent: d\n");
    let errors = PolicySet::load_dir(directory.path()).unwrap_err();
    let problems: Vec<&Problem> = errors.errors.iter().map(|error| &error.problem).collect();
    let other = directory.path().join("a.yml").display().to_string();
    assert_eq!(
        problems,
        [
            &Problem::DuplicateAgent { agent: "one".to_owned(), other },
            &Problem::BadVersion("3".to_owned())
        ]
    );
}
