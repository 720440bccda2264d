//! From patterns to the automaton that the kernel walks: each of its states is a set of
//! places in the tree of patterns, and what the rules passed so far say.
//!
//! See [`agentguard_common::path`] for what the tables are.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use agentguard_common::path::{CHUNK, EdgeKey, Node, Right, Row, edge, flag};
use agentguard_common::verdict::Verdict;

use super::classifier::Classifier;
use super::graph::Graph;
use super::model::Grant;

/// How many edges the automaton of a policy may have.
pub const MAX_PATH_EDGES: usize = 262_144;
/// How many rows its classifiers may have.
pub const MAX_PATH_ROWS: usize = 4_096;
/// How many places of patterns may be looked at while it is made.
const MAX_WORK: usize = 16 << 20;

/// What an automaton would have too many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLarge {
    /// Edges.
    Edges,
    /// Rows of classifiers.
    Rows,
}

/// A compiled set of rules on paths. Its states are counted from 0, and so are its
/// classifiers: where they stand in the kernel's tables is for whoever puts them there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Automaton {
    /// The edges, the one to the root's state among them.
    pub(super) edges: Vec<(EdgeKey, Node)>,
    /// How many states there are.
    pub(super) states: u32,
    /// The rows of each classifier. Where they lead is counted from 1.
    pub(super) classifiers: Vec<Vec<Row>>,
}

/// What holds where no rule says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Defaults {
    pub(super) files: Grant,
    pub(super) exec: Verdict,
}

/// What tells states apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    /// Places from which names lead on, in order.
    places: Rc<[u32]>,
    files: (Grant, u32),
    exec: (Verdict, u32),
    secret: bool,
}

impl Automaton {
    /// Compiles a tree of patterns.
    ///
    /// # Errors
    ///
    /// Where it would be too large for the kernel's tables.
    pub(super) fn new(graph: &Graph<'_>, defaults: Defaults) -> Result<Self, TooLarge> {
        let mut maker = Maker {
            graph,
            states: HashMap::new(),
            open: Vec::new(),
            edges: Vec::new(),
            nodes: Vec::new(),
            parts: 0,
            part_edges: HashMap::new(),
            classifiers: Vec::new(),
            known: HashMap::new(),
            rows: 0,
            work: 0,
        };
        let nothing = State {
            places: Rc::from([]),
            files: (defaults.files, 0),
            exec: (defaults.exec, 0),
            secret: false,
        };
        let start = maker.state(&nothing, &[0]);
        maker.edge(To::State(start), 0, edge::START, [0; CHUNK])?;
        let mut at = 0;
        while let Some(state) = maker.open.get(at).cloned() {
            maker.expand(at, &state)?;
            at += 1;
        }
        Ok(maker.finish())
    }

    /// How many edges it has.
    #[must_use]
    pub fn edges(&self) -> usize {
        self.edges.len()
    }

    /// How many rows its classifiers have.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.classifiers.iter().map(Vec::len).sum()
    }

    /// How many states it has.
    #[must_use]
    pub const fn states(&self) -> u32 {
        self.states
    }

    /// The rows of its classifiers.
    pub fn classifiers(&self) -> impl ExactSizeIterator<Item = &[Row]> {
        self.classifiers.iter().map(Vec::as_slice)
    }

    /// The edges as they are where the first state has this number, and the classifiers
    /// begin in these rows.
    pub fn edges_at(&self, first: u32, rows: &[u32]) -> impl Iterator<Item = (EdgeKey, Node)> {
        self.edges.iter().map(move |(key, node)| {
            let classes = match node.classes.checked_sub(1) {
                Some(classifier) => rows.get(classifier as usize).copied().unwrap_or(0),
                None => 0,
            };
            let key = EdgeKey { from: first.wrapping_add(key.from), ..*key };
            (key, Node { state: first.wrapping_add(node.state), classes, ..*node })
        })
    }
}

/// A classifier's rows as they are where the first has this number.
pub fn rows_at(rows: &[Row], first: u32) -> impl Iterator<Item = (u32, Row)> {
    (first..).zip(rows).map(move |(number, row)| {
        let there = |next: u16| match u32::from(next).checked_sub(1) {
            Some(next) => u16::try_from(first + next).unwrap_or(0),
            None => 0,
        };
        (number, Row { next: row.next.map(there), class: row.class })
    })
}

/// Where an edge leads.
#[derive(Clone, Copy)]
enum To {
    State(u32),
    /// The middle of a long name.
    Part(u32),
}

struct Maker<'g, 'p> {
    graph: &'g Graph<'p>,
    states: HashMap<State, u32>,
    /// States by their numbers.
    open: Vec<State>,
    edges: Vec<(EdgeKey, To)>,
    /// What is known of the states that have been expanded.
    nodes: Vec<Node>,
    /// How many middles of long names there are.
    parts: u32,
    part_edges: HashMap<(To2, [u8; CHUNK]), u32>,
    classifiers: Vec<Classifier>,
    known: HashMap<Vec<u32>, u32>,
    rows: usize,
    work: usize,
}

/// Where a part of a long name begins: a state, or (true) the middle of a name.
type To2 = (bool, u32);

impl Maker<'_, '_> {
    /// The state that follows when names lead to some places.
    fn state(&mut self, from: &State, targets: &[u32]) -> u32 {
        let mut places = Vec::with_capacity(targets.len());
        let (mut files, mut exec, mut secret) = (None, None, from.secret);
        for target in targets {
            let Some(knot) = self.graph.knot(*target) else { continue };
            files = files.max(knot.files);
            exec = exec.max(knot.exec);
            secret |= knot.secret;
            places.extend(knot.leads_on().then_some(*target));
            places.extend(knot.anywhere);
        }
        self.work += targets.len() + 1;
        places.sort_unstable();
        places.dedup();
        let state = State {
            places: places.into(),
            files: files.map_or(from.files, |says| (says.verdict, says.rule())),
            exec: exec.map_or(from.exec, |says| (says.verdict, says.rule())),
            secret,
        };
        if let Some(number) = self.states.get(&state) {
            return *number;
        }
        let number = u32::try_from(self.open.len()).unwrap_or(u32::MAX);
        self.states.insert(state.clone(), number);
        self.open.push(state);
        number
    }

    /// Adds the edges of a state.
    fn expand(&mut self, number: usize, state: &State) -> Result<(), TooLarge> {
        let graph = self.graph;
        let from = u32::try_from(number).unwrap_or(u32::MAX);
        let knots = || state.places.iter().filter_map(|at| Some((*at, graph.knot(*at)?)));
        let mut all: Vec<u32> = Vec::new();
        let mut globs: Vec<(u32, u32)> = Vec::new();
        let mut names: BTreeMap<&[u8], Vec<u32>> = BTreeMap::new();
        for (at, knot) in knots() {
            all.extend(knot.stays.then_some(at));
            all.extend(knot.star);
            globs.extend(&knot.globs);
            for (name, to) in &knot.names {
                names.entry(name).or_default().push(*to);
            }
        }
        self.work += state.places.len();
        let (mut flags, mut classes) = (0, 0);
        if state.secret {
            flags |= flag::SECRET;
        }
        if state.places.is_empty() {
            flags |= flag::FINAL;
        } else {
            let other = self.state(state, &all);
            if other == from {
                flags |= flag::STAYS;
            } else {
                self.edge(To::State(other), from, edge::OTHER, [0; CHUNK])?;
            }
            if !globs.is_empty() {
                classes = self.classes(from, state, &all, &globs)?;
            }
            for (name, mut targets) in names {
                targets.extend(&all);
                targets.extend(self.fitting(classes, &globs, name));
                let to = self.state(state, &targets);
                if to != other || classes != 0 {
                    self.name(from, name, to)?;
                }
            }
        }
        let (read, write) = state.files.0.rights(state.files.1);
        let exec = Right::new(state.exec.0, state.exec.1);
        self.nodes.push(Node { state: from, flags, classes, read, write, exec });
        if self.work > MAX_WORK { Err(TooLarge::Edges) } else { Ok(()) }
    }

    /// Adds the edges of classes; returns the number of the classifier, from 1.
    fn classes(
        &mut self,
        from: u32,
        state: &State,
        all: &[u32],
        globs: &[(u32, u32)],
    ) -> Result<u32, TooLarge> {
        let number = self.classifier(globs)?;
        let classes = self.classifiers.get(number as usize).map(|of| of.classes.clone());
        for (class, fitting) in (1u32..).zip(classes.unwrap_or_default()) {
            let mut targets = all.to_vec();
            targets.extend(reached(globs, &fitting));
            let to = self.state(state, &targets);
            let mut bytes = [0; CHUNK];
            bytes.iter_mut().zip(class.to_ne_bytes()).for_each(|(to, byte)| *to = byte);
            self.edge(To::State(to), from, edge::CLASS, bytes)?;
        }
        Ok(number + 1)
    }

    /// The classifier that tells some patterns apart.
    fn classifier(&mut self, globs: &[(u32, u32)]) -> Result<u32, TooLarge> {
        let numbers = distinct(globs);
        if let Some(number) = self.known.get(&numbers) {
            return Ok(*number);
        }
        let patterns = numbers.iter().filter_map(|number| self.graph.globs.get(*number as usize));
        let patterns: Vec<_> = patterns.copied().collect();
        let room = MAX_PATH_ROWS.saturating_sub(self.rows);
        let made = Classifier::new(&patterns, room).map_err(|_| TooLarge::Rows)?;
        self.rows += made.rows.len();
        let number = u32::try_from(self.classifiers.len()).unwrap_or(u32::MAX);
        // From places in the list to the numbers of the patterns.
        let named = |class: &Vec<u32>| {
            class.iter().filter_map(|at| numbers.get(*at as usize).copied()).collect()
        };
        let classes = made.classes.iter().map(named).collect();
        self.classifiers.push(Classifier { rows: made.rows, classes });
        self.known.insert(numbers, number);
        Ok(number)
    }

    /// Where patterns lead that a name fits.
    fn fitting(&self, classes: u32, globs: &[(u32, u32)], name: &[u8]) -> Vec<u32> {
        let classifier = classes.checked_sub(1).and_then(|at| self.classifiers.get(at as usize));
        classifier.map(|of| reached(globs, of.fitting(name))).unwrap_or_default()
    }

    /// Adds the edges of a name: one for each part of it that is compared at once.
    fn name(&mut self, from: u32, name: &[u8], to: u32) -> Result<(), TooLarge> {
        let mut at = (false, from);
        let mut chunks = name.chunks(CHUNK).peekable();
        while let Some(chunk) = chunks.next() {
            let mut bytes = [0; CHUNK];
            bytes.iter_mut().zip(chunk).for_each(|(to, byte)| *to = *byte);
            if chunks.peek().is_none() {
                return self.part(at, edge::NAME, bytes, To::State(to));
            }
            let known = self.part_edges.get(&(at, bytes)).copied();
            let next = match known {
                Some(part) => part,
                None => {
                    let part = self.parts;
                    self.parts += 1;
                    self.part_edges.insert((at, bytes), part);
                    self.part(at, edge::PART, bytes, To::Part(part))?;
                    part
                }
            };
            at = (true, next);
        }
        Ok(())
    }

    fn part(
        &mut self,
        (middle, from): To2,
        what: u32,
        bytes: [u8; CHUNK],
        to: To,
    ) -> Result<(), TooLarge> {
        // Middles are counted from the end until the number of states is known.
        self.edge(to, if middle { u32::MAX - from } else { from }, what, bytes)
    }

    fn edge(&mut self, to: To, from: u32, what: u32, bytes: [u8; CHUNK]) -> Result<(), TooLarge> {
        if self.edges.len() >= MAX_PATH_EDGES {
            return Err(TooLarge::Edges);
        }
        self.edges.push((EdgeKey { from, what, bytes }, to));
        Ok(())
    }

    fn finish(self) -> Automaton {
        let states = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let middle = |part: u32| states.saturating_add(part);
        let nothing = Right::new(Verdict::Deny, 0);
        let blank =
            Node { state: 0, flags: 0, classes: 0, read: nothing, write: nothing, exec: nothing };
        let edges = self.edges.into_iter().map(|(key, to)| {
            let from = if key.from >= states { middle(u32::MAX - key.from) } else { key.from };
            let node = match to {
                To::State(state) => self.nodes.get(state as usize).copied().unwrap_or(blank),
                To::Part(part) => Node { state: middle(part), ..blank },
            };
            (EdgeKey { from, ..key }, node)
        });
        Automaton {
            edges: edges.collect(),
            states: states.saturating_add(self.parts),
            classifiers: self.classifiers.into_iter().map(|of| of.rows).collect(),
        }
    }
}

/// The numbers of patterns, each once.
fn distinct(globs: &[(u32, u32)]) -> Vec<u32> {
    let mut numbers: Vec<u32> = globs.iter().map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Where some patterns lead.
fn reached(globs: &[(u32, u32)], fitting: &[u32]) -> Vec<u32> {
    let fits = |(number, _): &&(u32, u32)| fitting.contains(number);
    globs.iter().filter(fits).map(|(_, to)| *to).collect()
}
