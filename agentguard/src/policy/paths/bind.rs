//! What `~`, `${workspace}` and the other variables stand for in a session, and where the
//! places that rules name really are.
//!
//! Rules speak of real places. A symbolic link on the way to what a rule names makes it hold
//! for the place behind the link too. What makes a session *more* free is put behind links of
//! root alone: others could have been laid by an earlier session, to where it had no right.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use agentguard_common::path::{DEPTH_MAX, NAME_MAX};
use serde::{Deserialize, Serialize};

use super::pattern::{Base, PATH_MAX, Part, PathPattern, Step};

/// How many links are followed on the way to one place, as the kernel does (`MAXSYMLINKS` of
/// `linux/namei.h`).
const LINKS: usize = 40;

/// What the variables of a session stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bindings {
    /// What `~` stands for; several where the session's user is not known.
    pub homes: Vec<PathBuf>,
    /// What `${workspace}` stands for.
    pub workspace: Option<PathBuf>,
    /// What the others stand for.
    pub variables: BTreeMap<String, String>,
}

impl Bindings {
    /// For finding out whether a policy can be compiled at all: every variable stands for
    /// some place.
    #[must_use]
    pub fn stand_in(policy: &super::super::Policy) -> Self {
        let names = policy.variables();
        Self {
            homes: vec![PathBuf::from("/home/user")],
            workspace: Some(PathBuf::from("/home/user/workspace")),
            variables: names
                .into_iter()
                .map(|name| (name.to_owned(), format!("/{name}")))
                .collect(),
        }
    }
}

/// What is wrong with what a session was given for the variables of its policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// A variable of the policy was not given.
    #[error(
        "the policy speaks of {variable}, and nothing was given for it\n  = give it with {option}"
    )]
    Missing {
        /// As the policy has it.
        variable: String,
        /// How to give it.
        option: String,
    },
    /// Something was given for a variable that the policy does not have.
    #[error("the policy has no variable ${{{0}}}\n  = leave out --set {0}=…")]
    Unknown(String),
    /// What was given is no place.
    #[error(
        "{variable} is {value:?}, which is no absolute path without ., .. and empty parts\n  = give such a path"
    )]
    BadPath {
        /// As the policy has it.
        variable: String,
        /// What was given.
        value: String,
    },
    /// The directory that the agent works in holds what it must not write.
    #[error(
        "the workspace {workspace} holds {what}, so that the policy's rules on ${{workspace}} would reach it\n  = work in a directory of its own: --workspace DIR", workspace = workspace.display()
    )]
    TooWide {
        /// The workspace.
        workspace: PathBuf,
        /// What it holds.
        what: String,
    },
}

/// Refuses a workspace that holds what no workspace may hold: everything, the home itself, or
/// what is agentguard's own.
///
/// # Errors
///
/// [`BindError::TooWide`].
pub fn check_workspace(
    workspace: &Path,
    homes: &[PathBuf],
    own: &[&Path],
) -> Result<(), BindError> {
    let too_wide = |what: String| Err(BindError::TooWide { workspace: workspace.to_owned(), what });
    if workspace == Path::new("/") {
        return too_wide("everything".into());
    }
    if let Some(home) = homes.iter().find(|home| *home != workspace && home.starts_with(workspace))
    {
        return too_wide(format!("the home {}", home.display()));
    }
    let meets = |own: &&&Path| own.starts_with(workspace) || workspace.starts_with(own);
    match own.iter().find(meets) {
        Some(own) => too_wide(format!("agentguard's own {}", own.display())),
        None => Ok(()),
    }
}

/// Where links lead.
pub trait Links {
    /// Where the link at a place leads, and who owns it; `None` where there is none.
    fn link(&self, place: &[u8]) -> Option<(Vec<u8>, u32)>;
}

/// A tree without links.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLinks;

impl Links for NoLinks {
    fn link(&self, _: &[u8]) -> Option<(Vec<u8>, u32)> {
        None
    }
}

/// Where a link leads, and who owns it.
type Link = (Vec<u8>, u32);

/// The tree of the host's first process.
#[derive(Debug)]
pub struct HostLinks {
    root: PathBuf,
    known: RefCell<HashMap<Vec<u8>, Option<Link>>>,
}

impl HostLinks {
    /// The tree as `/proc/1/root` shows it.
    #[must_use]
    pub fn new() -> Self {
        Self::below(PathBuf::from("/proc/1/root"))
    }

    /// The tree below a directory.
    #[must_use]
    pub fn below(root: PathBuf) -> Self {
        Self { root, known: RefCell::default() }
    }

    /// Where a place of the tree is found.
    #[must_use]
    pub fn found(&self, place: &Path) -> PathBuf {
        self.root.join(place.strip_prefix("/").unwrap_or(place))
    }
}

impl Default for HostLinks {
    fn default() -> Self {
        Self::new()
    }
}

impl Links for HostLinks {
    fn link(&self, place: &[u8]) -> Option<(Vec<u8>, u32)> {
        if let Some(known) = self.known.borrow().get(place) {
            return known.clone();
        }
        let path = self.found(Path::new(OsStr::from_bytes(place)));
        let link = std::fs::read_link(&path).ok().and_then(|to| {
            let owner = std::fs::symlink_metadata(&path).ok()?.uid();
            Some((to.into_os_string().into_encoded_bytes(), owner))
        });
        self.known.borrow_mut().insert(place.to_owned(), link.clone());
        link
    }
}

/// Where a place really is; `None` for what is no place.
#[must_use]
pub fn real_place(place: &Path, links: &dyn Links) -> Option<PathBuf> {
    let names = names_of(place.as_os_str().as_bytes())?;
    let real = joined(&resolved(&names, links, false, true));
    let real = if real.is_empty() { b"/".to_vec() } else { real };
    Some(PathBuf::from(OsStr::from_bytes(&real)))
}

/// The names of an absolute path, where it is one as the kernel has them.
pub(in super::super) fn names_of(path: &[u8]) -> Option<Vec<Vec<u8>>> {
    let below = path.strip_prefix(b"/")?;
    if path.len() > PATH_MAX {
        return None;
    }
    if below.is_empty() {
        return Some(Vec::new());
    }
    let is_name = |name: &&[u8]| {
        (1..=NAME_MAX).contains(&name.len()) && !matches!(*name, b"." | b"..") && !name.contains(&0)
    };
    let names: Vec<&[u8]> = below.split(|byte| *byte == b'/').collect();
    let good = names.len() <= DEPTH_MAX as usize && names.iter().all(is_name);
    good.then(|| names.into_iter().map(<[u8]>::to_vec).collect())
}

/// The patterns that one stands for in a session. `frees` says that the rule gives more
/// freedom.
///
/// # Errors
///
/// Where its variable was not given, or is no place.
pub(super) fn bind(
    pattern: &PathPattern,
    bindings: &Bindings,
    links: &dyn Links,
    frees: bool,
) -> Result<Vec<Vec<Step>>, BindError> {
    let mut bound: Vec<Vec<Step>> = Vec::new();
    for base in bases(&pattern.base, bindings)? {
        let mut names = base;
        let fixed = |step: &&Step| !step.anywhere && matches!(step.part, Part::Name(_));
        let many = pattern.steps.iter().take_while(fixed).count();
        let (before, rest) = pattern.steps.split_at_checked(many).unwrap_or((&[], &[]));
        names.extend(before.iter().filter_map(|step| match &step.part {
            Part::Name(name) => Some(name.clone()),
            Part::Glob(_) => None,
        }));
        let mut places = vec![names.clone(), resolved(&names, links, frees, true)];
        if rest.is_empty() {
            places.push(resolved(&names, links, frees, false));
        }
        for place in places {
            let names =
                place.into_iter().map(|name| Step { anywhere: false, part: Part::Name(name) });
            let steps: Vec<Step> = names.chain(rest.iter().cloned()).collect();
            if steps.len() <= DEPTH_MAX as usize && !bound.contains(&steps) {
                bound.push(steps);
            }
        }
    }
    Ok(bound)
}

impl PathPattern {
    /// A path that it fits, with `other` for whatever can be anything. `None` where a variable
    /// in it stands for nothing.
    #[must_use]
    pub fn example(&self, bindings: &Bindings, other: &str) -> Option<Vec<u8>> {
        let mut names = bases(&self.base, bindings).ok()?.into_iter().next()?;
        for step in &self.steps {
            if step.anywhere {
                names.push(other.into());
            }
            names.push(match &step.part {
                Part::Name(name) => name.clone(),
                Part::Glob(glob) => glob.example(other),
            });
        }
        Some(if names.is_empty() { b"/".to_vec() } else { joined(&names) })
    }
}

/// The places that a base stands for.
fn bases(base: &Base, bindings: &Bindings) -> Result<Vec<Vec<Vec<u8>>>, BindError> {
    let missing = |variable: &str, option: String| BindError::Missing {
        variable: variable.to_owned(),
        option,
    };
    let place = |variable: &str, path: &[u8]| {
        names_of(path).ok_or_else(|| BindError::BadPath {
            variable: variable.to_owned(),
            value: String::from_utf8_lossy(path).into_owned(),
        })
    };
    match base {
        Base::Root => Ok(vec![Vec::new()]),
        Base::Home if bindings.homes.is_empty() => {
            Err(missing("~", "a home in /etc/passwd for the session's user".into()))
        }
        Base::Home => {
            let homes = bindings.homes.iter();
            homes.map(|home| place("~", home.as_os_str().as_bytes())).collect()
        }
        Base::Workspace => {
            let option = "--workspace DIR, or in the policy with workspace: DIR";
            let path = bindings.workspace.as_ref();
            let path = path.ok_or_else(|| missing("${workspace}", option.into()))?;
            Ok(vec![place("${workspace}", path.as_os_str().as_bytes())?])
        }
        Base::Variable(name) => {
            let shown = format!("${{{name}}}");
            let value = bindings.variables.get(name);
            let value = value.ok_or_else(|| missing(&shown, format!("--set {name}=PATH")))?;
            Ok(vec![place(&shown, value.as_bytes())?])
        }
    }
}

/// Where a place really is. Without `last`, what its last name is a link to is left alone.
/// The place as it is, where links lead round and round.
fn resolved(names: &[Vec<u8>], links: &dyn Links, frees: bool, last: bool) -> Vec<Vec<u8>> {
    let mut open: VecDeque<Vec<u8>> = names.iter().cloned().collect();
    let mut done: Vec<Vec<u8>> = Vec::new();
    let mut left = LINKS;
    while let Some(name) = open.pop_front() {
        match name.as_slice() {
            b"" | b"." => continue,
            b".." => {
                done.pop();
                continue;
            }
            _ => done.push(name),
        }
        if open.is_empty() && !last {
            break;
        }
        let Some((to, owner)) = links.link(&joined(&done)) else { continue };
        if left == 0 || frees && owner != 0 {
            return names.to_vec();
        }
        left -= 1;
        done.pop();
        if to.starts_with(b"/") {
            done.clear();
        }
        let parts: Vec<Vec<u8>> = to.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
        parts.into_iter().rev().for_each(|part| open.push_front(part));
    }
    done
}

fn joined(names: &[Vec<u8>]) -> Vec<u8> {
    names.iter().flat_map(|name| [b"/".as_slice(), name].concat()).collect()
}
