//! Limits that a host cannot enforce: an error where the policy says them.

use super::super::error::{PolicyErrors, Problem};
use super::super::model::Policy;
use super::super::place::Place;
use super::super::report::Report;

/// A limit that this host cannot enforce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotHere {
    /// Its key in `limits:`.
    pub key: &'static str,
    /// What is missing.
    pub why: String,
    /// What to do about it.
    pub mend: &'static str,
}

impl Policy {
    /// Refuses limits that cannot be enforced; `cannot` says which.
    ///
    /// # Errors
    ///
    /// Those, with their places.
    pub fn refuse_limits(&self, cannot: &[NotHere]) -> Result<(), PolicyErrors> {
        let mut report = Report::new(&self.path, &self.source);
        for found in cannot {
            let place = self.limits.places.get(found.key).copied();
            let place = place.unwrap_or(Place { line: 1, column: 1 });
            let (key, why) = (found.key, found.why.clone());
            report.at(place, Problem::NotOnThisHost { key, why }, found.mend);
        }
        report.or(Some(()))
    }
}
