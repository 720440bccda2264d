//! Patterns of one name of a path: `*`, `?`, `[a-z]`, `[!a-z]`, and `\` before what is meant
//! as it is.
//!
//! Names are bytes to the kernel and characters to people. `*` stands for any bytes; `?` and
//! brackets stand for one character of UTF-8, and never for a byte that is part of none.

use std::fmt;

/// What part of a pattern a name is held against.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Item {
    /// This byte.
    Byte(u8),
    /// One character of these ranges, which are in order and do not touch.
    Set(Vec<(char, char)>),
    /// Any bytes, also none.
    Star,
}

/// A pattern of a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Glob {
    items: Vec<Item>,
}

/// What a component of a path is: `Ok` with the name it can only be, or the pattern.
pub(super) type Read = Result<Vec<u8>, Glob>;

impl Glob {
    /// The pattern that fits every name.
    pub(super) fn star() -> Self {
        Self { items: vec![Item::Star] }
    }

    /// Whether it fits every name.
    pub(super) fn is_star(&self) -> bool {
        self.items == [Item::Star]
    }

    /// Its parts.
    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    /// How many bytes it gives as they are.
    pub(super) fn literal_bytes(&self) -> usize {
        self.items.iter().filter(|item| matches!(item, Item::Byte(_))).count()
    }

    /// A name that it fits: `other` where any bytes do.
    pub(super) fn example(&self, other: &str) -> Vec<u8> {
        let mut name = Vec::new();
        for item in &self.items {
            match item {
                Item::Byte(byte) => name.push(*byte),
                Item::Star => name.extend(other.bytes()),
                Item::Set(ranges) => {
                    let holds = |sign: &char| {
                        ranges.iter().any(|(first, last)| (first..=last).contains(&sign))
                    };
                    let first = ranges.first().map_or('x', |(first, _)| *first);
                    let sign = ['x', 'c', 'X', '0'].into_iter().find(holds).unwrap_or(first);
                    name.extend(sign.encode_utf8(&mut [0; 4]).bytes());
                }
            }
        }
        name
    }

    /// Reads a component.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what to write instead.
    pub(super) fn read(text: &str) -> Result<Read, (&'static str, &'static str)> {
        let mut items = Vec::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' => {
                    let next = characters.next().ok_or((
                        "has a part that ends with a single backslash",
                        "write \\\\ for a backslash that is part of the name",
                    ))?;
                    push(&mut items, next);
                }
                '*' if items.last() == Some(&Item::Star) => {
                    let why = "has ** within a name";
                    return Err((why, "write * within a name, and ** as a whole part of the path"));
                }
                '*' => items.push(Item::Star),
                '?' => items.push(Item::Set(vec![(char::MIN, char::MAX)])),
                '[' => {
                    let set = brackets(&mut characters)?;
                    match set.as_slice() {
                        [(one, other)] if one == other => push(&mut items, *one),
                        _ => items.push(Item::Set(set)),
                    }
                }
                other => push(&mut items, other),
            }
        }
        let bytes: Option<Vec<u8>> = items.iter().map(Item::byte).collect();
        Ok(bytes.ok_or(Self { items }))
    }
}

impl Item {
    const fn byte(&self) -> Option<u8> {
        match self {
            Self::Byte(byte) => Some(*byte),
            _ => None,
        }
    }
}

fn push(items: &mut Vec<Item>, character: char) {
    let mut bytes = [0; 4];
    items.extend(character.encode_utf8(&mut bytes).bytes().map(Item::Byte));
}

/// The characters that stand between brackets, of which the first has been read.
fn brackets(
    characters: &mut std::str::Chars<'_>,
) -> Result<Vec<(char, char)>, (&'static str, &'static str)> {
    const OPEN: (&str, &str) =
        ("has a [ without its ]", "close it, or write \\[ for a bracket that is part of the name");
    let mut rest = characters.clone();
    let negated = rest.next() == Some('!');
    if negated {
        *characters = rest;
    } else if characters.as_str().starts_with('^') {
        return Err(("has [^ for what is not meant", "write [!…], or [\\^…] for the sign itself"));
    }
    let mut ranges = Vec::new();
    loop {
        let first = match characters.next().ok_or(OPEN)? {
            ']' => break,
            '\\' => characters.next().ok_or(OPEN)?,
            other => other,
        };
        let mut rest = characters.clone();
        let mut last = first;
        if rest.next() == Some('-') && !rest.as_str().starts_with(']') {
            last = match rest.next().ok_or(OPEN)? {
                '\\' => rest.next().ok_or(OPEN)?,
                other => other,
            };
            *characters = rest;
        }
        if last < first {
            return Err(("has a range that runs backwards", "write the smaller one first"));
        }
        ranges.push((first, last));
    }
    if ranges.is_empty() {
        return Err(("has brackets with nothing in them", "write \\[ and \\] for the signs"));
    }
    let ranges = joined(ranges);
    Ok(if negated { others(&ranges) } else { ranges })
}

/// Ranges in order, those that overlap or touch made one.
fn joined(mut ranges: Vec<(char, char)>) -> Vec<(char, char)> {
    ranges.sort_unstable();
    let mut all: Vec<(char, char)> = Vec::new();
    for (first, last) in ranges {
        match all.last_mut() {
            Some((_, end)) if first <= *end || after(*end) == Some(first) => {
                *end = (*end).max(last);
            }
            _ => all.push((first, last)),
        }
    }
    all
}

/// The characters that are in none of some ranges.
fn others(ranges: &[(char, char)]) -> Vec<(char, char)> {
    let mut all = Vec::new();
    let mut next = Some(char::MIN);
    for (first, last) in ranges {
        if let (Some(from), Some(to)) = (next, before(*first))
            && from <= to
        {
            all.push((from, to));
        }
        next = after(*last);
    }
    all.extend(next.map(|from| (from, char::MAX)));
    all
}

/// The next character; those of the surrogates are none.
fn after(character: char) -> Option<char> {
    (character..=char::MAX).nth(1)
}

fn before(character: char) -> Option<char> {
    (char::MIN..=character).rev().nth(1)
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::new();
        for item in &self.items {
            match item {
                Item::Byte(byte) => bytes.push(*byte),
                other => {
                    f.write_str(&escaped(&std::mem::take(&mut bytes)))?;
                    match other {
                        Item::Set(ranges) => write_set(f, ranges)?,
                        _ => f.write_str("*")?,
                    }
                }
            }
        }
        f.write_str(&escaped(&bytes))
    }
}

fn write_set(f: &mut fmt::Formatter<'_>, ranges: &[(char, char)]) -> fmt::Result {
    if ranges == [(char::MIN, char::MAX)] {
        return f.write_str("?");
    }
    // What holds nearly everything was written as what it does not hold.
    let negated = ranges.last().is_some_and(|(_, last)| *last == char::MAX);
    let shown = if negated { others(ranges) } else { ranges.to_vec() };
    f.write_str(if negated { "[!" } else { "[" })?;
    for (first, last) in shown {
        write_sign(f, first)?;
        if last != first {
            f.write_str("-")?;
            write_sign(f, last)?;
        }
    }
    f.write_str("]")
}

fn write_sign(f: &mut fmt::Formatter<'_>, sign: char) -> fmt::Result {
    if matches!(sign, '\\' | ']' | '-' | '!' | '^') {
        f.write_str("\\")?;
    }
    write!(f, "{sign}")
}

/// A name as a pattern has it that means just this name.
pub(super) fn escaped(name: &[u8]) -> String {
    let mut text = String::new();
    for character in String::from_utf8_lossy(name).chars() {
        if matches!(character, '*' | '?' | '[' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(text: &str) -> Glob {
        Glob::read(text).unwrap().unwrap_err()
    }

    #[test]
    fn what_can_be_only_one_name_is_no_pattern() {
        for (text, name) in
            [("a", "a"), ("\\*", "*"), ("[a]", "a"), ("a\\[b\\]", "a[b]"), ("é", "é"), ("]", "]")]
        {
            assert_eq!(Glob::read(text), Ok(Ok(name.as_bytes().to_vec())), "{text}");
        }
    }

    #[test]
    fn patterns_are_written_as_they_are_read() {
        for text in ["*", "?", "*.key", "[a-z]*", "[!a-z]", "[a\\-]?", "[\\]]x*", "[!.]*", "[ä-ü]"]
        {
            let shown = glob(text).to_string();
            assert_eq!(glob(&shown), glob(text), "{text} {shown}");
        }
        assert_eq!(glob("[!b-ya]").to_string(), "[!a-y]");
        assert_eq!(glob("[a-cb-d]*").to_string(), "[a-d]*");
    }

    #[test]
    fn what_is_no_pattern() {
        for text in ["a\\", "[a", "[", "[]", "[z-a]", "a**", "[^a]", "[!]", "[a\\"] {
            assert!(Glob::read(text).is_err(), "{text}");
        }
    }
}
