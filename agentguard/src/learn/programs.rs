//! Rules on programs: each by its path; libraries by the directories that they come from.

use std::collections::{BTreeMap, BTreeSet};

use super::Given;
use super::draft::{Draft, Item, Rule, Section, in_words};
use super::files::{FEW, SYSTEM, TEMPORARY, of_program};
use super::place::{Places, Spot};
use super::seen::{Act, Seen, Use};
use crate::policy::Policy;

/// What libraries end with, before a number of their version.
const LIBRARY: &str = ".so";

type Uses = BTreeMap<Spot, Use>;

/// Puts the rules for what was seen into the draft.
pub(super) fn draft(seen: &Seen, given: &Given, base: Option<&Policy>, draft: &mut Draft) {
    let places = Places::new(given);
    let (mut programs, mut libraries) = (Uses::new(), Uses::new());
    for (act, used) in &seen.acts {
        match act {
            Act::Exec(path) | Act::Map(path) => {
                let spot = Spot::of(path);
                match library(&places, &spot, matches!(act, Act::Map(_))) {
                    Some(pattern) => libraries.entry(pattern).or_default().add(used),
                    None => programs.entry(spot).or_default().add(used),
                }
            }
            Act::Memory => memory(used, draft),
            _ => {}
        }
    }
    count(&places, &mut programs);
    let said = super::base::exec_patterns(base);
    let own = |spot: &Spot| is_writable(&places, spot);
    let (own, others): (Uses, Uses) = programs.into_iter().partition(|(spot, _)| own(spot));
    let comment = "The session may write these, or could: what it runs there is its own.";
    for (id, comment, uses) in
        [("programs", "", others), ("own-programs", comment, own), ("libraries", "", libraries)]
    {
        let items = uses.iter().map(|(spot, used)| Item::new(places.text(spot), in_words(used)));
        let items = items.filter(|item| !said.contains(&item.text)).collect();
        let (comment, id) = (comment.to_owned(), format!("learned-{id}"));
        let rule = Rule { comment, verdict: "allow", items, id, ..Rule::default() };
        draft.add(|draft: &mut Draft| -> Option<&mut Section> { draft.exec.as_mut() }, rule);
    }
}

/// Allows programs without a path.
fn memory(used: &Use, draft: &mut Draft) {
    let Some(exec) = &mut draft.exec else { return };
    exec.keys.retain(|(key, _)| *key != "memory");
    // In memory, or deleted before they were run.
    exec.keys.push(("memory", format!("allow # programs without a path: {}", in_words(used))));
}

/// Whether a program lies where sessions write.
fn is_writable(places: &Places, spot: &Spot) -> bool {
    let temporary = TEMPORARY.iter().any(|root| Spot::of(root).holds(spot));
    temporary || places.in_workspace(spot) || places.in_home(spot).is_some()
}

/// The libraries that a file is one of, as a pattern; `None` where it is none.
///
/// A library that is thrown away has another name each time; only its ending stays.
fn library(places: &Places, spot: &Spot, mapped: bool) -> Option<Spot> {
    let name = spot.last()?;
    let at = |roots: &[&str]| roots.iter().map(|root| Spot::of(root)).find(|root| root.holds(spot));
    if let Some(root) = at(TEMPORARY).filter(|_| mapped && !places.in_workspace(spot)) {
        let (before, ending) = name.rsplit_once('.')?;
        let plain = ending.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let kept = !before.is_empty() && !ending.is_empty() && plain;
        return kept.then(|| root.with("**").with(format!("*.{ending}")));
    }
    let is_library = name.ends_with(LIBRARY) || name.contains(&format!("{LIBRARY}."));
    if !is_library {
        return None;
    }
    let pattern = format!("*{LIBRARY}*");
    let root = if places.in_workspace(spot) {
        places.workspace.clone()
    } else {
        at(SYSTEM).or_else(|| of_program(places, spot))
    };
    Some(match root {
        Some(root) => root.with("**").with(pattern),
        None => spot.parent()?.with(pattern),
    })
}

/// Makes one line of a directory of the session's own from which many programs were run.
fn count(places: &Places, programs: &mut Uses) {
    let mut directories: BTreeMap<Spot, BTreeSet<Spot>> = BTreeMap::new();
    for spot in programs.keys().filter(|spot| is_writable(places, spot)) {
        let workspace = places.workspace.clone().filter(|_| places.in_workspace(spot));
        if let Some(directory) = workspace.or_else(|| spot.parent())
            && places.may_be_whole(&directory)
        {
            directories.entry(directory).or_default().insert(spot.clone());
        }
    }
    for (directory, within) in directories.into_iter().filter(|(_, within)| within.len() > FEW) {
        let mut all = Use::default();
        for spot in within {
            if let Some(used) = programs.remove(&spot) {
                all.add(&used);
            }
        }
        programs.entry(directory).or_default().add(&all);
    }
}
