//! From a policy and what its variables stand for to the automaton of its paths.

use std::collections::BTreeSet;

use agentguard_common::session::program;
use agentguard_common::verdict::Verdict;
use sha2::{Digest as _, Sha256};

use super::super::error::{PolicyErrors, Problem};
use super::super::model::Policy;
use super::super::report::Report;
use super::automaton::{Automaton, Defaults, MAX_PATH_EDGES, MAX_PATH_ROWS, TooLarge};
use super::bind::{BindError, Bindings, Links, NoLinks, bind};
use super::graph::{Graph, Use};
use super::model::Grant;
use super::pattern::{Base, PathPattern, Step};

/// How many patterns an error names.
const NAMED: usize = 3;

/// The rules of a policy on paths, with everything put in that a session gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundPaths {
    patterns: Vec<(Vec<Step>, Use)>,
    defaults: Defaults,
    /// What tells them from others: the policy, and where its rules really are.
    pub key: [u8; 32],
}

impl Policy {
    /// Whether it says anything of files, programs or secrets.
    #[must_use]
    pub fn has_paths(&self) -> bool {
        self.files.is_some() || self.exec.is_some() || !self.secrets.is_empty()
    }

    /// How many rules on files and programs it has.
    #[must_use]
    pub fn path_rules(&self) -> usize {
        let files = self.files.as_ref().map_or(0, |files| files.rules.len());
        files + self.exec.as_ref().map_or(0, |exec| exec.rules.len())
    }

    /// What else it says of programs: any of [`program`].
    #[must_use]
    pub fn exec_flags(&self) -> u32 {
        let Some(exec) = &self.exec else { return program::MEMORY_ALLOWED };
        let memory = if exec.memory == Verdict::Allow { program::MEMORY_ALLOWED } else { 0 };
        let writable =
            if exec.from_writable == Verdict::Allow { 0 } else { program::WRITABLE_DENIED };
        memory | writable
    }

    /// The variables in its paths that have to be given, `${workspace}` apart.
    #[must_use]
    pub fn variables(&self) -> BTreeSet<&str> {
        let bases = self.patterns().map(|(pattern, _)| pattern.base());
        bases
            .filter_map(|base| match base {
                Base::Variable(name) => Some(name.as_str()),
                _ => None,
            })
            .collect()
    }

    /// Whether its rules speak of `${workspace}`.
    #[must_use]
    pub fn uses_workspace(&self) -> bool {
        self.patterns().any(|(pattern, _)| *pattern.base() == Base::Workspace)
    }

    /// Puts in what a session gives. `None` where the policy says nothing of paths.
    ///
    /// # Errors
    ///
    /// Where a variable is missing, unknown or no place.
    pub fn bind(
        &self,
        bindings: &Bindings,
        links: &dyn Links,
    ) -> Result<Option<BoundPaths>, BindError> {
        let known = self.variables();
        if let Some(name) = bindings.variables.keys().find(|name| !known.contains(name.as_str())) {
            return Err(BindError::Unknown(name.clone()));
        }
        if !self.has_paths() {
            return Ok(None);
        }
        let mut patterns = Vec::new();
        let mut key = Sha256::new();
        key.update(self.hash);
        for (pattern, to) in self.patterns() {
            for steps in bind(pattern, bindings, links, frees(to))? {
                key.update(format!("{to:?}{steps:?}\0"));
                patterns.push((steps, to));
            }
        }
        // Where only the other section is there, nothing is said of files (or programs).
        let defaults = Defaults {
            files: self.files.as_ref().map_or(Grant::Write, |files| files.default),
            exec: self.exec.as_ref().map_or(Verdict::Allow, |exec| exec.default),
        };
        Ok(Some(BoundPaths { patterns, defaults, key: key.finalize().into() }))
    }

    /// Finds out whether the rules on paths can be compiled, whatever the variables stand for.
    ///
    /// # Errors
    ///
    /// Where the automaton would be too large; the patterns that multiply are named.
    pub fn check_paths(&self) -> Result<Option<Automaton>, PolicyErrors> {
        match self.bind(&Bindings::stand_in(self), &NoLinks) {
            Ok(bound) => bound.map(|bound| bound.compile(self)).transpose(),
            Err(_) => Ok(None),
        }
    }

    /// All patterns, and what for.
    fn patterns(&self) -> impl Iterator<Item = (&PathPattern, Use)> {
        let files = self.files.iter().flat_map(|files| &files.rules).flat_map(|rule| {
            rule.paths.iter().map(|path| (&path.value, Use::Files(rule.verdict, rule.number)))
        });
        let exec = self.exec.iter().flat_map(|exec| &exec.rules).flat_map(|rule| {
            rule.paths.iter().map(|path| (&path.value, Use::Exec(rule.verdict, rule.number)))
        });
        files.chain(exec).chain(self.secrets.iter().map(|path| (&path.value, Use::Secret)))
    }
}

/// Whether a rule gives more freedom, so that it must not be led astray by links.
const fn frees(to: Use) -> bool {
    matches!(to, Use::Files(Grant::Read | Grant::Write, _) | Use::Exec(Verdict::Allow, _))
}

impl BoundPaths {
    /// Compiles them.
    ///
    /// # Errors
    ///
    /// Where the automaton would be too large; the patterns that multiply are named.
    pub fn compile(&self, policy: &Policy) -> Result<Automaton, PolicyErrors> {
        let mut graph = Graph::new();
        for (steps, to) in &self.patterns {
            graph.add(steps, *to);
        }
        Automaton::new(&graph, self.defaults).map_err(|error| too_large(policy, error))
    }
}

/// Names the patterns that multiply: those that may begin anywhere, and those with wildcards.
fn too_large(policy: &Policy, error: TooLarge) -> PolicyErrors {
    let mut report = Report::new(&policy.path, &policy.source);
    let (what, max) = match error {
        TooLarge::Edges => ("edges of the automaton of paths", MAX_PATH_EDGES),
        TooLarge::Rows => ("rows of patterns of names", MAX_PATH_ROWS),
    };
    let places = policy.sited_paths();
    let mut suspects: Vec<_> = places.collect();
    suspects.sort_by_key(|path| std::cmp::Reverse(path.value.multiplies()));
    for path in suspects.iter().take(NAMED).filter(|path| path.value.multiplies() > 0) {
        let problem = Problem::PathsTooLarge { pattern: path.value.to_string(), what, max };
        let mend =
            "write fewer ** and wildcards, or say where they begin: every rule below meets them";
        report.at(path.place, problem, mend);
    }
    if report.count() == 0 {
        let max = u32::try_from(max).unwrap_or(u32::MAX);
        let count = max.saturating_add(1) as usize;
        report.whole(Problem::TooLarge { count, what, max }, Some("write fewer rules on paths"));
    }
    report.finish()
}
