//! What variables stand for, and links on the way.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agentguard_common::verdict::Verdict::{self, Allow, Deny};

use super::super::bind::{
    BindError, Bindings, HostLinks, Links, NoLinks, check_workspace, real_place,
};
use super::super::table::{Access, PathTable};
use super::{bob, policy};

/// Links by their places, and who owns them.
struct Laid(BTreeMap<&'static [u8], (&'static str, u32)>);

impl Links for Laid {
    fn link(&self, place: &[u8]) -> Option<(Vec<u8>, u32)> {
        self.0.get(place).map(|(to, owner)| (to.as_bytes().to_vec(), *owner))
    }
}

fn laid(links: &[(&'static str, &'static str, u32)]) -> Laid {
    Laid(links.iter().map(|(at, to, owner)| (at.as_bytes(), (*to, *owner))).collect())
}

/// What is said to reading, writing and executing a path.
fn said(sections: &str, bindings: &Bindings, links: &dyn Links, path: &str) -> [Verdict; 3] {
    let policy = policy(sections);
    let bound = policy.bind(bindings, links).unwrap_or_else(|error| panic!("{error}"));
    let table = PathTable::new(&bound.unwrap().compile(&policy).unwrap());
    [Access::Read, Access::Write, Access::Exec]
        .map(|access| table.decide(path.as_bytes(), access).verdict)
}

#[test]
fn a_rule_holds_behind_links_too() {
    let links = laid(&[
        ("/bin", "usr/bin", 0),
        ("/usr/bin/vi", "/etc/alternatives/vi", 0),
        ("/etc/alternatives/vi", "../../usr/bin/vim", 0),
    ]);
    let rules = "exec:\n  rules:\n    - deny: [/bin/su, /bin/vi, '/bin/x*']\n";
    for (path, exec) in [
        ("/bin/su", Deny),
        ("/usr/bin/su", Deny),
        ("/usr/bin/vi", Deny),
        ("/usr/bin/vim", Deny),
        ("/etc/alternatives/vi", Allow),
        ("/usr/bin/xz", Deny),
        ("/usr/bin/ls", Allow),
    ] {
        assert_eq!(said(rules, &bob(), &links, path)[2], exec, "{path}");
    }
}

#[test]
fn links_of_users_make_no_session_more_free() {
    let links = laid(&[("/home/bob/.cache", "/etc", 1000), ("/tmp", "/var/tmp", 0)]);
    let rules = "files:\n  rules:\n    - write: [~/.cache, /tmp]\n";
    assert_eq!(said(rules, &bob(), &links, "/etc/passwd")[1], Deny);
    assert_eq!(said(rules, &bob(), &links, "/var/tmp/x")[1], Allow);
    let rules = "files:\n  default: write\n  rules:\n    - deny: ~/.cache\n";
    assert_eq!(said(rules, &bob(), &links, "/etc/passwd")[0], Deny);
}

#[test]
fn links_that_lead_nowhere_change_nothing() {
    let links = laid(&[("/a", "/b", 0), ("/b", "/a", 0), ("/c", "../../../d/./e", 0)]);
    let rules = "files:\n  rules:\n    - deny: [/a/x, /c/y]\n";
    for (path, read) in [("/a/x", Deny), ("/b/x", Allow), ("/c/y", Deny), ("/d/e/y", Deny)] {
        assert_eq!(said(rules, &bob(), &links, path)[0], read, "{path}");
    }
}

#[test]
fn links_are_those_of_the_tree() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(directory.path().join("usr/bin")).unwrap();
    std::os::unix::fs::symlink("usr/bin", directory.path().join("bin")).unwrap();
    let links = HostLinks::below(directory.path().to_owned());
    assert_eq!(links.link(b"/bin").map(|(to, _)| to), Some(b"usr/bin".to_vec()));
    assert_eq!(links.link(b"/usr"), None);
    assert_eq!(links.link(b"/none/x"), None);
    assert_eq!(real_place(Path::new("/bin/su"), &links), Some(PathBuf::from("/usr/bin/su")));
    assert!(links.found(Path::new("/usr/bin")).is_dir());
}

#[test]
fn every_home_is_meant_where_the_user_is_unknown() {
    let homes = ["/root", "/home/bob", "/home/eve"].map(PathBuf::from).to_vec();
    let bindings = Bindings { homes, ..Bindings::default() };
    let rules = "files:\n  rules:\n    - deny: ~/.ssh\n";
    for (path, read) in
        [("/root/.ssh", Deny), ("/home/eve/.ssh/id", Deny), ("/home/.ssh", Allow), ("/x", Allow)]
    {
        assert_eq!(said(rules, &bindings, &NoLinks, path)[0], read, "{path}");
    }
}

#[test]
fn variables_are_names_and_no_patterns() {
    let variables = BTreeMap::from([("OUT".to_owned(), "/srv/o[ut]*".to_owned())]);
    let bindings = Bindings { variables, ..bob() };
    let rules = "files:\n  rules:\n    - write: \"${OUT}/x\"\n";
    assert_eq!(said(rules, &bindings, &NoLinks, "/srv/o[ut]*/x")[1], Allow);
    assert_eq!(said(rules, &bindings, &NoLinks, "/srv/out/x")[1], Deny);
}

#[test]
fn what_is_missing_unknown_or_no_place_is_said() {
    let policy = policy("files:\n  rules:\n    - write: [\"${OUT}\", \"${workspace}\", ~/x]\n");
    let bind = |bindings: Bindings| policy.bind(&bindings, &NoLinks).unwrap_err();
    let set = |name: &str, value: &str| {
        let variables = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        Bindings { variables, ..bob() }
    };
    assert!(matches!(bind(bob()), BindError::Missing { variable, .. } if variable == "${OUT}"));
    assert_eq!(bind(set("OT", "/a")), BindError::Unknown("OT".into()));
    assert!(matches!(bind(set("OUT", "/a/../b")), BindError::BadPath { .. }));
    let none = Bindings { homes: Vec::new(), ..set("OUT", "/a") };
    assert!(matches!(bind(none), BindError::Missing { variable, .. } if variable == "~"));
    let none = Bindings { workspace: None, ..set("OUT", "/a") };
    assert!(
        matches!(bind(none), BindError::Missing { variable, .. } if variable == "${workspace}")
    );
}

#[test]
fn a_workspace_holds_neither_home_nor_what_is_agentguards() {
    let homes = [PathBuf::from("/home/bob")];
    let own = [Path::new("/run/agentguard"), Path::new("/etc/agentguard")];
    for (workspace, good) in [
        ("/", false),
        ("/home", false),
        ("/home/bob", true),
        ("/home/bob/project", true),
        ("/run", false),
        ("/run/agentguard", false),
        ("/run/agentguard/x", false),
        ("/srv/work", true),
        ("/home/bobby", true),
    ] {
        let checked = check_workspace(Path::new(workspace), &homes, &own);
        assert_eq!(checked.is_ok(), good, "{workspace}");
    }
}

#[test]
fn equal_bindings_have_equal_keys() {
    let policy = policy("files:\n  rules:\n    - write: \"${workspace}\"\n");
    let key =
        |bindings: &Bindings, links: &dyn Links| policy.bind(bindings, links).unwrap().unwrap().key;
    let other = Bindings { workspace: Some("/srv".into()), ..bob() };
    assert_eq!(key(&bob(), &NoLinks), key(&bob(), &NoLinks));
    assert_ne!(key(&bob(), &NoLinks), key(&other, &NoLinks));
    // Where the same text leads elsewhere, the rules are others.
    let links = laid(&[("/home/bob/project", "/srv", 0)]);
    assert_ne!(key(&bob(), &NoLinks), key(&bob(), &links));
}
