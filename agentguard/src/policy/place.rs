//! Where in a policy file something stands, so that every message can point at it.

/// A position in a file, for people: lines and columns count from 1, columns in
/// characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sited<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub place: Place,
}

impl<T> Sited<T> {
    /// A value at its place.
    pub const fn new(value: T, place: Place) -> Self {
        Self { value, place }
    }
}
