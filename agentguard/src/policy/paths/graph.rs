//! Patterns put together by their beginnings: a tree whose branches are names, patterns of
//! names, and "any number of components".

use std::collections::{BTreeMap, HashMap};

use agentguard_common::verdict::Verdict;

use super::glob::Glob;
use super::model::Grant;
use super::pattern::{Part, Step};

/// How specific a pattern is among those that match equally far down; the greatest decides.
/// In this order: a name at its end, fewer parts that are no names, more bytes given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    named: bool,
    wild: std::cmp::Reverse<usize>,
    bytes: usize,
}

impl Rank {
    pub(super) fn of(steps: &[Step]) -> Self {
        let wild = |step: &Step| {
            usize::from(step.anywhere) + usize::from(matches!(step.part, Part::Glob(_)))
        };
        let bytes = |step: &Step| match &step.part {
            Part::Name(name) => name.len(),
            Part::Glob(glob) => glob.literal_bytes(),
        };
        Self {
            named: steps.last().is_none_or(|step| matches!(step.part, Part::Name(_))),
            wild: std::cmp::Reverse(steps.iter().map(wild).sum()),
            bytes: steps.iter().map(bytes).sum(),
        }
    }
}

/// What a pattern's end says in a column; the greatest decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Says<V> {
    rank: Rank,
    pub(super) verdict: V,
    /// The earlier rule comes first.
    rule: std::cmp::Reverse<u32>,
}

impl<V> Says<V> {
    pub(super) const fn rule(&self) -> u32 {
        self.rule.0
    }
}

/// What a pattern is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Files(Grant, u32),
    Exec(Verdict, u32),
    Secret,
}

/// A place in the tree.
#[derive(Debug, Default)]
pub(super) struct Knot<'p> {
    pub(super) names: BTreeMap<&'p [u8], u32>,
    /// By the number of the pattern in [`Graph::globs`].
    pub(super) globs: Vec<(u32, u32)>,
    /// Where every name leads.
    pub(super) star: Option<u32>,
    /// Where "any number of components" begins.
    pub(super) anywhere: Option<u32>,
    /// Whether every name stays here.
    pub(super) stays: bool,
    pub(super) files: Option<Says<Grant>>,
    pub(super) exec: Option<Says<Verdict>>,
    pub(super) secret: bool,
}

impl Knot<'_> {
    /// Whether something below it may matter.
    pub(super) fn leads_on(&self) -> bool {
        self.stays || !self.names.is_empty() || !self.globs.is_empty() || self.star.is_some()
    }
}

/// The tree.
#[derive(Debug)]
pub(super) struct Graph<'p> {
    pub(super) knots: Vec<Knot<'p>>,
    pub(super) globs: Vec<&'p Glob>,
    numbers: HashMap<&'p Glob, u32>,
}

impl<'p> Graph<'p> {
    pub(super) fn new() -> Self {
        Self { knots: vec![Knot::default()], globs: Vec::new(), numbers: HashMap::new() }
    }

    /// Adds a pattern from the root on.
    pub(super) fn add(&mut self, steps: &'p [Step], to: Use) {
        let mut at = 0;
        for step in steps {
            if step.anywhere {
                at = self.anywhere(at);
            }
            at = match &step.part {
                Part::Name(name) => self.name(at, name),
                Part::Glob(glob) if glob.is_star() => self.star(at),
                Part::Glob(glob) => self.glob(at, glob),
            };
        }
        let rank = Rank::of(steps);
        let Some(knot) = self.knots.get_mut(at as usize) else { return };
        match to {
            Use::Files(verdict, rule) => {
                let says = Says { rank, verdict, rule: std::cmp::Reverse(rule) };
                knot.files = knot.files.max(Some(says));
            }
            Use::Exec(verdict, rule) => {
                let says = Says { rank, verdict, rule: std::cmp::Reverse(rule) };
                knot.exec = knot.exec.max(Some(says));
            }
            Use::Secret => knot.secret = true,
        }
    }

    pub(super) fn knot(&self, at: u32) -> Option<&Knot<'p>> {
        self.knots.get(at as usize)
    }

    fn name(&mut self, at: u32, name: &'p [u8]) -> u32 {
        let new = self.next();
        let Some(knot) = self.knots.get_mut(at as usize) else { return at };
        let to = *knot.names.entry(name).or_insert(new);
        self.made(to)
    }

    fn glob(&mut self, at: u32, glob: &'p Glob) -> u32 {
        let fresh = u32::try_from(self.globs.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(glob).or_insert(fresh);
        if number == fresh {
            self.globs.push(glob);
        }
        let new = self.next();
        let Some(knot) = self.knots.get_mut(at as usize) else { return at };
        let known = knot.globs.iter().find(|(known, _)| *known == number).map(|(_, to)| *to);
        let to = known.unwrap_or_else(|| {
            knot.globs.push((number, new));
            new
        });
        self.made(to)
    }

    fn star(&mut self, at: u32) -> u32 {
        let new = self.next();
        let Some(knot) = self.knots.get_mut(at as usize) else { return at };
        let to = *knot.star.get_or_insert(new);
        self.made(to)
    }

    fn anywhere(&mut self, at: u32) -> u32 {
        let new = self.next();
        let Some(knot) = self.knots.get_mut(at as usize) else { return at };
        let to = *knot.anywhere.get_or_insert(new);
        let to = self.made(to);
        if let Some(knot) = self.knots.get_mut(to as usize) {
            knot.stays = true;
        }
        to
    }

    fn next(&self) -> u32 {
        u32::try_from(self.knots.len()).unwrap_or(u32::MAX)
    }

    /// Sees to it that the place is there.
    fn made(&mut self, to: u32) -> u32 {
        if to == self.next() {
            self.knots.push(Knot::default());
        }
        to
    }
}
