//! Rules on paths: what may be read, written and executed, and what is secret.
//!
//! The way through: `document` and `meaning` read the sections, `pattern` and `glob` the
//! paths in them, `bind` puts in what a session gives, `graph` joins the patterns by their
//! beginnings, and `automaton` makes of that what the kernel walks, with `classifier` for
//! names that only fit a pattern. `table` is the same in memory.

mod automaton;
mod bind;
mod classifier;
mod compile;
mod document;
mod explain;
mod glob;
mod graph;
mod meaning;
mod model;
mod pattern;
mod table;
#[cfg(test)]
mod tests;

pub use automaton::{Automaton, MAX_PATH_EDGES, MAX_PATH_ROWS, TooLarge, rows_at};
pub(super) use bind::names_of;
pub use bind::{BindError, Bindings, HostLinks, Links, NoLinks, check_workspace, real_place};
pub use compile::BoundPaths;
pub(super) use document::{ExecDocument, FilesDocument, PathText, read_paths};
pub(super) use explain::explain;
pub(super) use meaning::{Written, sections};
pub use model::{ExecSection, FilesSection, Grant, PathRule};
pub(crate) use pattern::is_variable;
pub use pattern::{Base, PATH_MAX, PathPattern};
pub use table::{Access, PathTable};
