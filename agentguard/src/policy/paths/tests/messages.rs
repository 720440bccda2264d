//! What is said about sections that are not in order.

use std::path::Path;

use super::super::super::Policy;

/// Holds the first line that is said against what is expected.
fn says(sections: &str, expected: &str) {
    let text = format!("version: 1\nagent: a\n{sections}");
    match Policy::parse(Path::new("p.yaml"), text.as_bytes()) {
        Ok(_) => panic!("no error in\n{text}"),
        Err(errors) => {
            let said = errors.to_string();
            assert!(said.contains(expected), "expected: {expected}\nsaid: {said}\nabout:\n{text}");
        }
    }
}

#[test]
fn paths_that_are_none() {
    for (path, why) in [
        ("etc/passwd", "p.yaml:5:13: bad path: etc/passwd is not absolute"),
        ("/a/../b", "has . or .. in it"),
        ("/a/[.]/b", "has . or .. in it"),
        ("/a/\\../b", "has . or .. in it"),
        ("/a//b", "has an empty part"),
        ("/tmp/", "has an empty part"),
        ("~bob/x", "speaks of another user's home"),
        ("${workspace", "has a ${ without its }"),
        ("${a-b}/x", "has a variable with a bad name"),
        ("${workspace}x", "has something right behind its variable"),
        ("/srv/${workspace}", "has a variable within it"),
        ("/srv/\\\\${workspace}", "has a variable within it"),
        ("/a/b**", "has ** within a name"),
        ("/a/[b", "has a [ without its ]"),
        ("/a/[]", "has brackets with nothing in them"),
        ("/a/[z-a]", "has a range that runs backwards"),
    ] {
        says(&format!("files:\n  rules:\n    - deny: '{path}'\n"), why);
    }
    let long = "a".repeat(256);
    says(&format!("secrets: /{long}\n"), "has a part that no name is as long as");
    says(&format!("secrets: {}\n", "/a".repeat(129)), "is deeper than any path");
    says(&format!("secrets: {}\n", "/aa".repeat(1400)), "is longer than any path");
}

#[test]
fn rules_that_are_none() {
    for (sections, why) in [
        ("files:\n  rules:\n    - reed: /a\n", "unknown key: reed in a rule on files"),
        ("files:\n  rules:\n    - reed: /a\n", "did you mean read?"),
        ("files:\n  rules:\n    - {}\n", "missing: read, write, ask or deny in the rule"),
        ("exec:\n  rules:\n    - {}\n", "missing: allow, ask or deny in the rule"),
        ("files:\n  rules:\n    - read: []\n", "lists nothing: read is empty"),
        ("files:\n  rules:\n    - { read: /a, deny: /b }\n", "two verdicts in one rule"),
        ("files:\n  default: allow\n", "bad value: default is allow"),
        ("exec:\n  default: read\n", "bad value: default is read"),
        ("exec:\n  memory: maybe\n", "bad value: memory is maybe"),
        ("exec:\n  sha256: x\n", "not supported yet: the key sha256"),
        ("exec:\n  rules:\n    - kill: /a\n", "not supported yet: the key kill"),
        ("files: x\n", "wrong type: files takes a map"),
        ("secrets: []\n", "lists nothing: secrets is empty"),
        ("workspace: work\n", "bad path: work is no absolute path"),
        ("workspace: /\n", "bad path: / is no absolute path of a directory below the root"),
    ] {
        says(sections, why);
    }
}

#[test]
fn what_stands_twice() {
    for (sections, why) in [
        (
            "files:\n  rules:\n    - deny: [/a, /b, /a]\n",
            "repeated rule: deny /a is already on line 5",
        ),
        (
            "files:\n  rules:\n    - deny: '/a/**'\n    - read: '/a/**/*'\n",
            "contradiction: read /a/**, but line 5 says deny",
        ),
        (
            "exec:\n  rules:\n    - deny: /a/[b]\n    - allow: /a/b\n",
            "contradiction: allow /a/b, but line 5 says deny",
        ),
        ("secrets: [~/.ssh, ~/.ssh]\n", "repeated rule: secret ~/.ssh is already on line 3"),
        (
            "egress:\n  rules:\n    - deny: 10.0.0.1\n      id: x\nfiles:\n  rules:\n    - deny: /a\n      id: x\n",
            "duplicate id: x is the rule on line 5",
        ),
    ] {
        says(sections, why);
    }
    // A file and a program of one path are two things.
    super::policy(
        "files:\n  rules:\n    - deny: /a\nexec:\n  rules:\n    - allow: /a\nsecrets: /a\n",
    );
}

#[test]
fn variables_of_processes_that_are_taken_in() {
    let matched = "match:\n  - exe: /bin/x\n";
    says(
        &format!("{matched}files:\n  rules:\n    - write: \"${{workspace}}\"\n"),
        "${workspace} stands for nothing in sessions that `match` takes in",
    );
    says(
        &format!("{matched}workspace: /srv\nsecrets: \"${{KEYS}}\"\n"),
        "${KEYS} stands for nothing in sessions that `match` takes in",
    );
    super::policy(&format!(
        "{matched}workspace: /srv/work\nfiles:\n  rules:\n    - write: [\"${{workspace}}\", ~/x]\n"
    ));
}
