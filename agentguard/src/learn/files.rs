//! Rules on files: what was used, folded into directories by rules of thumb that are written
//! down in `docs/policy.md` under "Learning".

use std::collections::{BTreeMap, BTreeSet};

use super::Given;
use super::draft::{Draft, Item, Rule, Section, in_words};
use super::place::{Places, Spot};
use super::secrets;
use super::seen::{Act, Seen, Use};
use crate::policy::Policy;

/// Of how many files in a directory at most each has a line of its own.
pub(super) const FEW: usize = 8;
/// What is thrown away: one line for each.
pub(super) const TEMPORARY: &[&str] = &["/tmp", "/var/tmp", "/dev/shm"];
/// Programs and libraries, which everybody may read.
pub(super) const SYSTEM: &[&str] =
    &["/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/nix/store", "/snap"];
/// What programs write to and that keeps nothing; every policy allows it.
const HARMLESS: &[&str] = &[
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
];
/// Where in the home programs have directories of their own, and how deep those are.
const OF_PROGRAMS: &[(&str, usize)] = &[(".config", 2), (".cache", 2), (".local", 3)];
/// What others run later, in a workspace that may be written otherwise.
const RUN_LATER: &[&str] = &[".git/hooks", ".vscode", ".idea"];

/// What may be done; the greater includes the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Right {
    Read,
    Write,
}

/// How often places were used, and how.
type Uses = BTreeMap<Spot, (Right, Use)>;

/// Adds a use of a place.
fn put(uses: &mut Uses, spot: Spot, right: Right, used: &Use) {
    let (most, all) = uses.entry(spot).or_insert_with(|| (right, Use::default()));
    *most = right.max(*most);
    all.add(used);
}

/// What becomes of the paths.
#[derive(Default)]
struct Folded {
    /// Directories, with everything below.
    trees: Uses,
    /// Files, each for itself.
    single: Uses,
    /// Secrets, each for itself.
    secret: Uses,
    /// Of what others run later, what was written.
    later: BTreeSet<&'static str>,
}

/// Puts the rules for what was seen into the draft.
pub(super) fn draft(seen: &Seen, given: &Given, base: Option<&Policy>, draft: &mut Draft) {
    let places = Places::new(given);
    let mut folded = Folded::default();
    for (act, used) in &seen.acts {
        match act {
            Act::Read(path) => folded.add(&places, path, Right::Read, false, used),
            Act::Write { path, made } => folded.add(&places, path, Right::Write, *made, used),
            _ => {}
        }
    }
    folded.count(&places);
    folded.siblings();
    folded.cover();
    let said = super::base::file_patterns(base);
    let known = secrets::known(&places);
    Written { places: &places, said, known, folded }.draft(base.is_none(), draft);
}

impl Folded {
    fn add(&mut self, places: &Places, path: &str, right: Right, made: bool, used: &Use) {
        let spot = Spot::of(path);
        if HARMLESS.iter().any(|harmless| Spot::of(harmless).holds(&spot)) {
            return;
        }
        if secrets::is_one(places, &spot) {
            return put(&mut self.secret, spot, right, used);
        }
        if let Some(workspace) = places.workspace.as_ref().filter(|_| right == Right::Write) {
            self.later.extend(RUN_LATER.iter().filter(|path| workspace.within(path).holds(&spot)));
        }
        match tree(places, &spot, right, made) {
            Some(tree) => put(&mut self.trees, tree, right, used),
            None => put(&mut self.single, spot, right, used),
        }
    }

    /// Makes one line of a directory of which many files were used.
    fn count(&mut self, places: &Places) {
        let mut folded: BTreeMap<Right, BTreeSet<Spot>> = BTreeMap::new();
        loop {
            let mut directories: BTreeMap<(Right, Spot), usize> = BTreeMap::new();
            for (spot, (right, _)) in &self.single {
                if let Some(parent) = spot.parent().filter(|parent| places.may_be_whole(parent)) {
                    *directories.entry((*right, parent)).or_default() += 1;
                }
            }
            directories.retain(|_, count| *count > FEW);
            // The deepest first, which may make one of those above unneeded.
            let deepest = directories.into_keys().max_by_key(|(_, spot)| spot.depth());
            let Some((right, directory)) = deepest else { break };
            let mut all = Use::default();
            self.single.retain(|spot, (of, used)| {
                let within = directory.holds(spot) && *of <= right;
                if within {
                    all.add(used);
                }
                !within
            });
            folded.entry(right).or_default().insert(directory.clone());
            put(&mut self.single, directory, right, &all);
        }
        for (right, spots) in folded {
            for spot in spots {
                if let Some((_, used)) = self.single.remove(&spot) {
                    put(&mut self.trees, spot, right, &used);
                }
            }
        }
    }

    /// Makes one line of files that are written beside another and begin with its name and a
    /// dot: `settings.json.tmp.4711`.
    fn siblings(&mut self) {
        let written: Vec<Spot> = self
            .single
            .iter()
            .filter(|(_, (right, _))| *right == Right::Write)
            .map(|(spot, _)| spot.clone())
            .collect();
        for file in &written {
            let (Some(name), Some(parent)) = (file.last(), file.parent()) else { continue };
            let beside = |other: &Spot| {
                let name_of = other.last().and_then(|last| last.strip_prefix(name));
                other.parent().as_ref() == Some(&parent)
                    && name_of.is_some_and(|rest| rest.len() > 1 && rest.starts_with('.'))
            };
            let mut all = Use::default();
            self.single.retain(|spot, (_, used)| {
                let is = beside(spot);
                if is {
                    all.add(used);
                }
                !is
            });
            if all.count > 0
                && let Some(pattern) = file.beginning(".*")
            {
                put(&mut self.single, pattern, Right::Write, &all);
            }
        }
    }

    /// Leaves out what a directory includes.
    fn cover(&mut self) {
        let trees: Vec<(Spot, Right)> =
            self.trees.iter().map(|(spot, (right, _))| (spot.clone(), *right)).collect();
        let covered = |spot: &Spot, right: Right| {
            trees.iter().any(|(tree, most)| tree != spot && tree.holds(spot) && *most >= right)
        };
        self.trees.retain(|spot, (right, _)| !covered(spot, *right));
        self.single.retain(|spot, (right, _)| {
            let same = trees.iter().any(|(tree, most)| tree == spot && most >= right);
            !same && !covered(spot, *right)
        });
    }
}

/// The directory that a file stands for, where it is one by where it lies.
fn tree(places: &Places, spot: &Spot, right: Right, made: bool) -> Option<Spot> {
    let at = |roots: &[&str]| roots.iter().map(|root| Spot::of(root)).find(|root| root.holds(spot));
    if places.in_workspace(spot) {
        return places.workspace.clone();
    }
    if let Some(root) = at(TEMPORARY) {
        return Some(root);
    }
    if right == Right::Read
        && let Some(root) = at(SYSTEM)
    {
        return Some(root);
    }
    if right == Right::Write
        && let Some(own) = of_program(places, spot)
    {
        return Some(own);
    }
    let parent = spot.parent().filter(|_| made)?;
    places.may_be_whole(&parent).then_some(parent)
}

/// The directory that a program has for itself in the home: `~/.NAME`, `~/.config/NAME`,
/// `~/.local/share/NAME`. For a file in a directory of all of them there is none.
pub(super) fn of_program(places: &Places, spot: &Spot) -> Option<Spot> {
    let depth = places.in_home(spot)?;
    let home = spot.depth() - depth;
    let first = spot.name(home).filter(|name| name.starts_with('.'))?;
    let own = OF_PROGRAMS.iter().find(|(name, _)| *name == first).map_or(1, |(_, depth)| *depth);
    (depth > own).then(|| spot.top(home + own))
}

/// The rules, once it is known what is folded.
struct Written<'w> {
    places: &'w Places,
    /// Patterns that an existing policy speaks of.
    said: BTreeSet<String>,
    /// Where secrets usually lie.
    known: Vec<Spot>,
    folded: Folded,
}

impl Written<'_> {
    fn draft(&self, whole: bool, draft: &mut Draft) {
        let Folded { trees, single, secret, .. } = &self.folded;
        let (directories, files): (Uses, Uses) =
            single.clone().into_iter().partition(|(spot, _)| self.is_directory(spot));
        let mut opened = trees.clone();
        opened.retain(|spot, _| !directories.contains_key(spot));
        for (right, verdict) in [(Right::Write, "write"), (Right::Read, "read")] {
            let mut items = self.items(&opened, right);
            items.extend(self.items(&files, right));
            items.sort_unstable();
            self.rule(verdict, verdict, "", items, draft);
        }
        let comment =
            "Directories that were listed or changed themselves; what is in them stays as it is.";
        for (right, verdict) in [(Right::Write, "write"), (Right::Read, "read")] {
            self.rule(verdict, "directories", comment, self.items(&directories, right), draft);
        }
        // Where any file of a directory was used of which the name could not be read.
        let opened_below = |spot: &Spot| {
            let below = self.below(spot);
            files.keys().any(|file| self.places.text(file) == below)
        };
        let any = |spot: &Spot| single.contains_key(&spot.with("*")) || opened_below(spot);
        let below = directories.keys().filter(|spot| !any(spot));
        let (read, closed): (Vec<&Spot>, Vec<&Spot>) =
            below.partition(|spot| trees.keys().any(|tree| tree.holds(spot)));
        for (verdict, spots) in [("read", read), ("deny", closed)] {
            let items = spots.into_iter().map(|spot| Item::new(self.below(spot), "")).collect();
            self.rule(verdict, "below", "", items, draft);
        }
        let comment = "Secrets, by where they lie. Each is one file: think twice.";
        for (right, verdict) in [(Right::Write, "write"), (Right::Read, "read")] {
            self.rule(verdict, "secrets", comment, self.items(secret, right), draft);
        }
        if whole {
            self.closed(draft);
        }
    }

    /// What stays closed in what is opened as a whole.
    fn closed(&self, draft: &mut Draft) {
        let Folded { trees, single, secret, later } = &self.folded;
        // A pattern opens whatever in its directory fits.
        let patterns = single.keys().filter(|spot| spot.last().is_none());
        let directories: Vec<Spot> = patterns.filter_map(Spot::parent).collect();
        let opened =
            |spot: &Spot| trees.keys().chain(&directories).any(|opened| opened.holds(spot));
        let used = |spot: &Spot| secret.contains_key(spot);
        let known = self.known.iter().filter(|spot| opened(spot) && !used(spot));
        let mut items: Vec<Item> =
            known.map(|spot| Item::new(self.places.text(spot), "")).collect();
        items.extend(secrets::by_name().map(|name| Item::new(name, "")));
        let comment = "Secrets that were not used, wherever they are.";
        self.rule("deny", "closed", comment, items, draft);
        let workspace = self.places.workspace.as_ref();
        let written =
            |spot: &Spot| trees.get(spot).is_some_and(|(right, _)| *right == Right::Write);
        if workspace.is_some_and(written) {
            let closed = RUN_LATER.iter().filter(|path| !later.contains(*path));
            let items = closed.map(|path| Item::new(format!("${{workspace}}/{path}"), ""));
            let comment =
                "What others run later, unguarded. `git init` and `git clone` write there.";
            self.rule("read", "run-by-others", comment, items.collect(), draft);
        }
    }

    fn rule(
        &self,
        verdict: &'static str,
        id: &str,
        comment: &str,
        items: Vec<Item>,
        draft: &mut Draft,
    ) {
        let new = items.into_iter().filter(|item| !self.said.contains(&item.text)).collect();
        let (comment, id) = (comment.to_owned(), format!("learned-{id}"));
        let rule = Rule { comment, verdict, items: new, id, ..Rule::default() };
        draft.add(|draft: &mut Draft| -> Option<&mut Section> { draft.files.as_mut() }, rule);
    }

    fn items(&self, uses: &Uses, right: Right) -> Vec<Item> {
        let of = uses.iter().filter(|(_, (most, _))| *most == right);
        of.map(|(spot, (_, used))| Item::new(self.places.text(spot), in_words(used))).collect()
    }

    /// Everything in a directory, and not itself.
    fn below(&self, spot: &Spot) -> String {
        format!("{}/**", self.places.text(spot).trim_end_matches('/'))
    }

    /// Whether it is a directory: one that is there, or that something lies in which is known.
    fn is_directory(&self, spot: &Spot) -> bool {
        let is_process = spot.name(0) == Some("proc") && spot.last().is_none();
        let names: Option<Vec<&str>> = (0..spot.depth()).map(|at| spot.name(at)).collect();
        let Some(names) = names else { return is_process };
        let Places { workspace, home } = self.places;
        let within = |other: &Spot| other != spot && spot.holds(other);
        workspace.iter().chain(home).chain(self.folded.trees.keys()).any(|of| spot.holds(of))
            || self.known.iter().chain(self.folded.single.keys()).any(within)
            || std::path::Path::new(&format!("/{}", names.join("/"))).is_dir()
    }
}
