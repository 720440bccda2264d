//! What is said about files that are not policies, or not by their keys and types.

use super::{messages, says};

#[test]
fn text_that_is_no_yaml() {
    says(
        "version: 1\nagent: \"coder\n",
        r#"
p.yaml:2:8: not YAML: unclosed quote
    2 | agent: "coder
      |        ^
      = look at the indentation, quotes, brackets and colons here and on the line before
"#,
    );
    says(
        "version: 1\n\tagent: x\n",
        r"
p.yaml:2:1: not YAML: while scanning a plain scalar, found a tab
    2 |  agent: x
      | ^
      = indent with spaces: YAML takes no tabs there
",
    );
}

#[test]
fn nothing_at_all() {
    for text in ["", "# only a comment\n", "---\n", "---\n...\n", "~"] {
        says(text, "p.yaml: lists nothing: the file is empty");
    }
}

#[test]
fn more_than_one_document() {
    says(
        "version: 1\nagent: a\n---\nversion: 1\nagent: b\n",
        r"
p.yaml:3:1: a second document: a file holds one policy
    3 | ---
      | ^
      = give each policy its own file
",
    );
}

#[test]
fn anchors_aliases_and_tags() {
    says(
        "version: 1\nagent: &a coder\ndescription: *a\n",
        r"
p.yaml:2:8: anchors (&name) are not part of the policy language
    2 | agent: &a coder
      |        ^
      = write the value out
",
    );
    says(
        "version: !!int 1\nagent: a\n",
        r"
p.yaml:1:10: tags (!name) are not part of the policy language
    1 | version: !!int 1
      |          ^
      = write the value out
",
    );
    assert!(messages("a: *nowhere\n").starts_with("p.yaml:1:4: not YAML: "));
}

#[test]
fn deeper_than_any_policy() {
    let said = messages(&"[".repeat(1 << 20));
    assert!(said.starts_with("p.yaml:1:17: not YAML: recursion limit exceeded\n"), "{said}");
    assert!(said.len() < 500, "the line is cut: {said}");
}

#[test]
fn a_root_that_is_no_map() {
    says(
        "- version: 1\n",
        r"
p.yaml:1:1: wrong type: a policy file takes a map of keys and values, not a list
    1 | - version: 1
      | ^
      = write a map of keys and values
",
    );
    says(
        "version: 1\nagent: a\n? [x, y]\n: z\n",
        r"
p.yaml:3:3: wrong type: a key takes a word, not a list
    3 | ? [x, y]
      |   ^
      = write a word
",
    );
}

#[test]
fn keys_twice_and_keys_that_are_missing() {
    says(
        "version: 1\nagent: a\n\"agent\": b\n",
        r#"
p.yaml:3:1: duplicate key: agent, first on line 2
    3 | "agent": b
      | ^
      = keep one of the two
"#,
    );
    says(
        "mode: enforce\n",
        r"
p.yaml:1:1: missing: version in the policy
    1 | mode: enforce
      | ^
      = write version: 1
p.yaml:1:1: missing: agent in the policy
    1 | mode: enforce
      | ^
      = write agent: NAME, the agent it is for
",
    );
}

#[test]
fn unknown_keys_at_every_level() {
    says(
        "version: 1
agent: a
agnet: b
egress:
  defualt: deny
  rules:
    - allow: 10.0.0.1
      prots: [1]
      flavour: sweet
match:
  - exec: /bin/sh
",
        r"
p.yaml:3:1: unknown key: agnet in the policy
    3 | agnet: b
      | ^
      = did you mean agent?
p.yaml:5:3: unknown key: defualt in egress
    5 |   defualt: deny
      |   ^
      = did you mean default?
p.yaml:8:7: unknown key: prots in a rule
    8 |       prots: [1]
      |       ^
      = did you mean ports?
p.yaml:9:7: unknown key: flavour in a rule
    9 |       flavour: sweet
      |       ^
      = a rule takes: allow, ask, deny, ports, protocol, id
p.yaml:11:5: unknown key: exec in a match
   11 |   - exec: /bin/sh
      |     ^
      = did you mean exe?
",
    );
}

#[test]
fn values_of_the_wrong_type() {
    says(
        "version: {}
agent: 12
description: 1.5
mode: true
match: {exe: /bin/x}
egress: []
",
        r"
p.yaml:1:10: wrong type: version takes the number 1, not a map
    1 | version: {}
      |          ^
      = write the number 1
p.yaml:2:8: wrong type: agent takes a name (in quotes), not a number
    2 | agent: 12
      |        ^
      = write a name (in quotes)
p.yaml:3:14: wrong type: description takes text (in quotes), not a fraction
    3 | description: 1.5
      |              ^
      = write text (in quotes)
p.yaml:4:7: wrong type: mode takes enforce or observe, not true or false
    4 | mode: true
      |       ^
      = write enforce or observe
p.yaml:5:8: wrong type: match takes a list, not a map
    5 | match: {exe: /bin/x}
      |        ^
      = write each on its own line, after a dash
p.yaml:6:9: wrong type: egress takes a map of keys and values, not a list
    6 | egress: []
      |         ^
      = write a map of keys and values
",
    );
}

#[test]
fn keys_without_a_value() {
    says(
        "version:
agent: ~
match: []
egress: null
",
        r"
p.yaml:1:1: lists nothing: version is empty
    1 | version:
      | ^
      = give version a value, or remove it
p.yaml:2:1: lists nothing: agent is empty
    2 | agent: ~
      | ^
      = give agent a value, or remove it
p.yaml:3:8: lists nothing: match is empty
    3 | match: []
      |        ^
      = give match a value, or remove it
p.yaml:4:1: lists nothing: egress is empty
    4 | egress: null
      | ^
      = give egress a value, or remove it
",
    );
}

#[test]
fn bad_words() {
    says(
        "version: 2
agent: Coder!
mode: loud
",
        r"
p.yaml:1:10: bad version: 2
    1 | version: 2
      |          ^
      = write version: 1, the only one there is so far
p.yaml:2:8: bad agent name: Coder!
    2 | agent: Coder!
      |        ^
      = write 1 to 63 of a-z, 0-9, _ and -, a letter or digit first
p.yaml:3:7: bad value: mode is loud
    3 | mode: loud
      |       ^
      = write enforce or observe
",
    );
}

#[test]
fn names_of_agents() {
    for good in ["a", "0", "coder-2_x", &"a".repeat(63)] {
        super::valid(&format!("version: 1\nagent: \"{good}\"\n"));
    }
    for bad in ["-a", "_a", "A", "a.b", "a b", "ä", "", "../x", "a/b", &"a".repeat(64)] {
        let said = messages(&format!("version: 1\nagent: \"{bad}\"\n"));
        assert!(said.starts_with("p.yaml:2:8: bad agent name: "), "{bad}: {said}");
    }
}

#[test]
fn a_message_cannot_move_the_cursor() {
    let said = messages("version: 1\nagent: \"\\e[2J\\r\"\nmode: \"x\ty\"\n");
    assert!(said.chars().all(|c| c == '\n' || !c.is_control()), "{said:?}");
}

#[test]
fn a_long_line_is_cut_around_the_place() {
    let said = messages(&format!("version: 1\nagent: {{{}x: 1}}\n", "a: b, ".repeat(50_000)));
    assert!(said.lines().all(|line| line.len() < 200), "{said}");
}

#[test]
fn lines_are_counted_as_yaml_counts_them() {
    let expected = "p.yaml:2:7: bad value: mode is x
    2 | mode: x
      |       ^
      = write enforce or observe";
    for line_break in ["\n", "\r\n", "\r"] {
        says(&format!("version: 1{line_break}mode: x{line_break}agent: a{line_break}"), expected);
    }
}
