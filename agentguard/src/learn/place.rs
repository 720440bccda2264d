//! Places in the tree, on their way from paths that were seen to paths that rules name.

use std::path::Path;

use super::Given;

/// What stands for the number of a process.
const NUMBER: &str = "[0-9]*";

/// A part of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// A name as it is.
    Name(String),
    /// A pattern, as policies write it.
    Glob(String),
}

impl Part {
    /// As it stands in a rule.
    fn text(&self) -> String {
        let name = match self {
            Self::Glob(pattern) => return pattern.clone(),
            Self::Name(name) => name,
        };
        let mut text = String::new();
        name.chars().for_each(|sign| escape(&mut text, sign));
        text.replace("${", "\\${")
    }
}

/// Adds a sign as it is.
fn escape(text: &mut String, sign: char) {
    if matches!(sign, '*' | '?' | '[' | '\\') {
        text.push('\\');
    }
    text.push(sign);
}

/// What a name fits of which something could not be read.
fn fitting(name: &str) -> String {
    let (mut pattern, mut starred) = (String::new(), false);
    for sign in name.chars() {
        let missing = sign == char::REPLACEMENT_CHARACTER;
        match missing {
            // Of several that are missing one behind the other, one star is enough.
            true if starred => {}
            true => pattern.push('*'),
            false => escape(&mut pattern, sign),
        }
        starred = missing;
    }
    pattern.replace("${", "\\${")
}

/// A path, in parts; a rule's once parts of it are patterns.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot(Vec<Part>);

impl Spot {
    /// Reads an absolute path. A name that is no UTF-8 is known only in part: what is missing
    /// of it is whatever fits. Of what stands below `/proc`, processes and threads are any.
    pub(super) fn of(path: &str) -> Self {
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        let is_proc = names.first() == Some(&"proc");
        let part = |(at, name): (usize, &&str)| {
            let number = name.bytes().all(|byte| byte.is_ascii_digit());
            let before = at.checked_sub(1).and_then(|before| names.get(before));
            if is_proc && number && (at == 1 || before == Some(&"task")) {
                return Part::Glob(NUMBER.into());
            }
            if name.contains(char::REPLACEMENT_CHARACTER) {
                return Part::Glob(fitting(name));
            }
            Part::Name((*name).to_owned())
        };
        Self(names.iter().enumerate().map(part).collect())
    }

    /// How deep it is.
    pub(super) fn depth(&self) -> usize {
        self.0.len()
    }

    /// The first `depth` parts of it.
    pub(super) fn top(&self, depth: usize) -> Self {
        Self(self.0.iter().take(depth).cloned().collect())
    }

    /// What it is in; `None` for the root.
    pub(super) fn parent(&self) -> Option<Self> {
        Some(self.top(self.depth().checked_sub(1)?))
    }

    /// The name at a depth, if it is one as it is.
    pub(super) fn name(&self, at: usize) -> Option<&str> {
        match self.0.get(at)? {
            Part::Name(name) => Some(name),
            Part::Glob(_) => None,
        }
    }

    /// The last name.
    pub(super) fn last(&self) -> Option<&str> {
        self.name(self.depth().checked_sub(1)?)
    }

    /// A path within it.
    pub(super) fn within(&self, path: &str) -> Self {
        Self(self.0.iter().cloned().chain(Self::of(path).0).collect())
    }

    /// A pattern within it.
    pub(super) fn with(&self, pattern: impl Into<String>) -> Self {
        let mut parts = self.0.clone();
        parts.push(Part::Glob(pattern.into()));
        Self(parts)
    }

    /// The same with a pattern in place of the last name: that name, and what begins like it.
    pub(super) fn beginning(&self, rest: &str) -> Option<Self> {
        let pattern = format!("{}{rest}", Part::Name(self.last()?.to_owned()).text());
        Some(self.parent()?.with(pattern))
    }

    /// Whether another one is this, or lies in it.
    pub(super) fn holds(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }
}

/// Where the agent works and lives.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    pub(super) workspace: Option<Spot>,
    pub(super) home: Option<Spot>,
}

impl Places {
    pub(super) fn new(given: &Given) -> Self {
        let spot = |path: &Path| Some(Spot::of(path.to_str()?)).filter(|spot| spot.depth() > 0);
        Self {
            workspace: given.workspace.as_deref().and_then(spot),
            home: given.home.as_deref().and_then(spot),
        }
    }

    /// How deep a place lies in the home; `None` where it does not.
    pub(super) fn in_home(&self, spot: &Spot) -> Option<usize> {
        let home = self.home.as_ref().filter(|home| home.holds(spot))?;
        Some(spot.depth() - home.depth())
    }

    /// Whether it is in the workspace.
    pub(super) fn in_workspace(&self, spot: &Spot) -> bool {
        self.workspace.as_ref().is_some_and(|workspace| workspace.holds(spot))
    }

    /// Whether everything below a place may be meant, where a part of it was: not for the root
    /// and what stands there, nor for what holds the home or the workspace, or is the home.
    pub(super) fn may_be_whole(&self, spot: &Spot) -> bool {
        let held = |place: &Option<Spot>| place.as_ref().is_some_and(|place| spot.holds(place));
        spot.depth() >= 2
            && spot.name(0) != Some("proc")
            && !held(&self.home)
            && (self.workspace.as_ref() == Some(spot) || !held(&self.workspace))
    }

    /// As it stands in a rule: from the workspace or the home on, where it lies in there.
    pub(super) fn text(&self, spot: &Spot) -> String {
        let within = |base: &Option<Spot>| {
            let base = base.as_ref().filter(|base| base.holds(spot))?;
            Some(spot.0.iter().skip(base.depth()).map(Part::text).collect::<Vec<_>>())
        };
        let (base, parts) = if let Some(parts) = within(&self.workspace) {
            ("${workspace}", parts)
        } else if let Some(parts) = within(&self.home) {
            ("~", parts)
        } else {
            ("", spot.0.iter().map(Part::text).collect())
        };
        if base.is_empty() && parts.is_empty() {
            return "/".into();
        }
        // A star at the end is everything below, which policies write so.
        let mut parts = parts;
        if let Some(last) = parts.last_mut().filter(|last| *last == "*") {
            last.push('*');
        }
        let parts: String = parts.iter().map(|part| format!("/{part}")).collect();
        format!("{base}{parts}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places::new(&Given {
            workspace: Some("/home/bob/code".into()),
            home: Some("/home/bob".into()),
            ..Given::default()
        })
    }

    #[test]
    fn paths_begin_where_the_agent_works_and_lives() {
        for (path, text) in [
            ("/home/bob/code", "${workspace}"),
            ("/home/bob/code/a b/[x]", "${workspace}/a b/\\[x]"),
            ("/home/bob/.ssh/id", "~/.ssh/id"),
            ("/home/bobby", "/home/bobby"),
            ("/", "/"),
            ("/a/*/${b}", "/a/\\*/\\${b}"),
            ("/a/$${b}", "/a/$\\${b}"),
            ("/proc/12/status", "/proc/[0-9]*/status"),
            ("/proc/12/task/13/comm", "/proc/[0-9]*/task/[0-9]*/comm"),
            ("/proc/sys/kernel/1", "/proc/sys/kernel/1"),
            ("/a/x\u{fffd}\u{fffd}y", "/a/x*y"),
        ] {
            assert_eq!(places().text(&Spot::of(path)), text);
        }
    }

    #[test]
    fn what_holds_others_places_is_never_meant_whole() {
        let may = |path: &str| places().may_be_whole(&Spot::of(path));
        for path in ["/", "/usr", "/home", "/home/bob", "/proc/1"] {
            assert!(!may(path), "{path}");
        }
        for path in ["/home/bob/code", "/home/bob/.cache", "/home/al", "/usr/lib"] {
            assert!(may(path), "{path}");
        }
    }
}
