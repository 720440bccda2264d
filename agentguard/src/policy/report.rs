//! Collects what is wrong with a file and puts it into words.
//!
//! Reading goes on after an error wherever it can, so that one run shows all
//! that has to be mended.

use std::fmt;
use std::path::Path;

use super::MAX_ERRORS;
use super::error::{Excerpt, PolicyError, PolicyErrors, Problem};
use super::place::Place;

/// How much of a long line is shown, and how much of it before the caret.
const SHOWN: usize = 120;
const SHOWN_BEFORE: usize = 60;
/// How much of a text from the file is shown within a message.
const QUOTED: usize = 80;

/// The findings about one file.
pub(super) struct Report<'s> {
    path: &'s Path,
    text: &'s str,
    found: Vec<(Option<Place>, Problem, Option<String>)>,
    left_out: usize,
}

impl<'s> Report<'s> {
    /// An empty report about the file at `path`, which holds `text`.
    pub(super) const fn new(path: &'s Path, text: &'s str) -> Self {
        Self { path, text, found: Vec::new(), left_out: 0 }
    }

    /// Notes a problem at a place, and how to mend it.
    pub(super) fn at(&mut self, place: Place, problem: Problem, mend: impl Into<String>) {
        self.add(Some(place), problem, Some(mend.into()));
    }

    /// How many problems have been noted.
    pub(super) const fn count(&self) -> usize {
        self.found.len() + self.left_out
    }

    /// Whether further problems are only counted, so that a mend is not worth
    /// looking for.
    pub(super) const fn is_full(&self) -> bool {
        self.found.len() >= MAX_ERRORS
    }

    /// Notes a problem of the file as a whole.
    pub(super) fn whole(&mut self, problem: Problem, mend: Option<&str>) {
        self.add(None, problem, mend.map(str::to_owned));
    }

    fn add(&mut self, place: Option<Place>, problem: Problem, mend: Option<String>) {
        if self.found.len() < MAX_ERRORS {
            self.found.push((place, problem, mend));
        } else {
            self.left_out += 1;
        }
    }

    /// The errors found, or `value` where there are none.
    pub(super) fn or<T>(self, value: Option<T>) -> Result<T, PolicyErrors> {
        match value {
            Some(value) if self.found.is_empty() => Ok(value),
            _ => Err(self.finish()),
        }
    }

    /// The errors found, in the order of their lines.
    pub(super) fn finish(mut self) -> PolicyErrors {
        self.found.sort_by_key(|(place, ..)| *place);
        let lines = lines(self.text);
        let errors = self.found.into_iter().map(|(place, problem, mend)| PolicyError {
            path: self.path.to_owned(),
            place,
            excerpt: place.and_then(|place| excerpt(&lines, place)),
            problem,
            mend,
        });
        PolicyErrors { errors: errors.collect(), left_out: self.left_out }
    }
}

/// The lines of a text as YAML counts them: a lone carriage return ends one too.
fn lines(text: &str) -> Vec<&str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r')).collect()
}

fn excerpt(lines: &[&str], place: Place) -> Option<Excerpt> {
    let line = lines.get(usize::try_from(place.line).ok()?.checked_sub(1)?)?;
    let before = usize::try_from(place.column).ok()?.saturating_sub(1);
    let skipped = if before > SHOWN { before - SHOWN_BEFORE } else { 0 };
    let text: String = line.chars().skip(skipped).take(SHOWN).map(visible).collect();
    Some(Excerpt { text: text.trim_end().to_owned(), before: before - skipped })
}

/// A character as it can be shown in a terminal: a policy file must not be able
/// to move the cursor of whoever checks it.
pub(super) fn visible(character: char) -> char {
    match character {
        '\t' => ' ',
        other if other.is_control() => char::REPLACEMENT_CHARACTER,
        other => other,
    }
}

/// A text from the file, fit to stand in a message.
pub(super) fn quoted(text: &str) -> String {
    if text.is_empty() {
        return "\"\"".to_owned();
    }
    let mut shown: String = text.chars().take(QUOTED).map(visible).collect();
    if text.chars().nth(QUOTED).is_some() {
        shown.push('…');
    }
    shown
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path: String = self.path.to_string_lossy().chars().map(visible).collect();
        match self.place {
            Some(place) => write!(f, "{path}:{}:{}: {}", place.line, place.column, self.problem)?,
            None => write!(f, "{path}: {}", self.problem)?,
        }
        if let (Some(place), Some(excerpt)) = (self.place, &self.excerpt) {
            write!(f, "\n{:5} | {}", place.line, excerpt.text)?;
            write!(f, "\n      | {:before$}^", "", before = excerpt.before)?;
        }
        match &self.mend {
            Some(mend) => write!(f, "\n      = {mend}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.errors.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        match self.left_out {
            0 => Ok(()),
            more => write!(f, "\nand {more} more errors"),
        }
    }
}

impl PolicyErrors {
    /// One error about a file as a whole.
    pub(super) fn whole(path: &Path, problem: Problem, mend: Option<&str>) -> Self {
        let mut report = Report::new(path, "");
        report.whole(problem, mend);
        report.finish()
    }

    /// Adds the errors of another file.
    pub(super) fn extend(&mut self, other: Self) {
        self.errors.extend(other.errors);
        self.left_out += other.left_out;
    }
}
