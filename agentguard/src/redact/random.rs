//! Finds long random strings: what a generator made and nobody can say aloud.
//!
//! Not by entropy alone: a long identifier has as much of it as a short key. What tells
//! them apart is how soon lower case, upper case and digits take turns, and how much could
//! be words. Names and versions stay with one sort for some letters; random text seldom
//! does. Digests, ids of containers and UUIDs are hexadecimal and pass.

use std::ops::Range;

/// Random letters that make a secret, at least: 20 of base 64 are 120 bits.
const ENOUGH: usize = 20;
/// A piece that is shorter says nothing either way.
const SHORTEST: usize = 8;
/// Hexadecimal text of other lengths than digests have, from here on, is a key.
const LONG_HEX: usize = 36;
/// How long digests are, in hexadecimal digits; also without the first two or four, where
/// those name a directory.
const DIGESTS: &[usize] = &[32, 38, 40, 48, 56, 60, 62, 64, 96, 128];
/// What stands before digests that are not hexadecimal and before public keys, and how
/// the names of compiled functions begin.
const PUBLIC: &[&str] = &[
    "sha1-",
    "sha256-",
    "sha384-",
    "sha512-",
    "md5-",
    "h1",
    "AAAAB3NzaC1",
    "AAAAC3NzaC1",
    "AAAAE2VjZHNh",
    "_ZN",
    "SHA256",
    "sha256",
];

/// The places of random strings in a text.
pub(super) fn find(text: &str) -> impl Iterator<Item = Range<usize>> {
    runs(text.as_bytes()).filter_map(move |run| {
        let word = text.get(run.clone()).unwrap_or_default();
        if is_path(text, run.start) || is_public(text, run.start, word) {
            return None;
        }
        let random = within(word)?;
        Some(run.start + random.start..run.start + random.end)
    })
}

/// Stretches of letters, digits and what stands between them in base 64.
fn runs(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = bytes.get(at..)?;
            let start = at + rest.iter().position(|byte| is_of_run(*byte))?;
            let rest = bytes.get(start..)?;
            let len = rest.iter().position(|byte| !is_of_run(*byte)).unwrap_or(rest.len());
            at = start + len;
            if len >= ENOUGH {
                return Some(start..at);
            }
        }
    })
}

const fn is_of_run(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'_' | b'-' | b'.')
}

/// A path from the root, from here or from home, also as the compilers' flags have it
/// (`-I/usr/include`); no address of the web.
fn is_path(text: &str, start: usize) -> bool {
    let rest = text.get(start..).unwrap_or_default();
    let before = text.get(..start).unwrap_or_default();
    let web = rest.starts_with("//") && before.ends_with(':');
    let flag = rest.strip_prefix('-').and_then(|flag| flag.get(1..));
    !web && [Some(rest), flag].into_iter().flatten().any(begins_path) || before.ends_with('~')
}

fn begins_path(text: &str) -> bool {
    text.starts_with('/') || text.starts_with("./") || text.starts_with("../")
}

fn is_public(text: &str, start: usize, word: &str) -> bool {
    let before = text.get(..start).unwrap_or_default().trim_end_matches([':', '=']);
    PUBLIC.iter().any(|mark| word.starts_with(mark) || before.ends_with(mark))
}

/// The random part of a run: from its first random piece to its last, and what is joined
/// to them.
fn within(word: &str) -> Option<Range<usize>> {
    let mut at = 0;
    let mut random = 0;
    let mut place: Option<Range<usize>> = None;
    for piece in word.split(['+', '/', '_', '-', '.']) {
        let end = at + piece.len();
        if restless(piece.as_bytes()) {
            random += piece.len();
            place = Some(place.map_or(at, |place| place.start)..end);
        }
        at = end + 1;
    }
    let place = place.filter(|_| random >= ENOUGH)?;
    // Short pieces beside it are of the same key.
    let ends = ['/', '.'];
    let start = word.get(..place.start)?.rfind(ends).map_or(0, |mark| mark + 1);
    let end = word.get(place.end..)?.find(ends).map_or(word.len(), |mark| place.end + mark);
    Some(start..end)
}

/// Whether a piece without marks is no word, name, number or digest.
fn restless(piece: &[u8]) -> bool {
    if piece.len() < SHORTEST {
        return false;
    }
    let has = |is: fn(&u8) -> bool| piece.iter().any(is);
    let (lower, upper, digit) =
        (has(u8::is_ascii_lowercase), has(u8::is_ascii_uppercase), has(u8::is_ascii_digit));
    if piece.iter().all(u8::is_ascii_hexdigit) && !(lower && upper) {
        return digit && piece.len() >= LONG_HEX && !DIGESTS.contains(&piece.len());
    }
    // How many letters, on average, until the next change; random text has 2.4 in base 36
    // and 3.1 in base 32. In quarters, to stay with whole numbers.
    let stretches = 1 + piece.windows(2).filter(|pair| changes(pair)).count();
    let at_most = |quarters: usize| piece.len() * 4 <= stretches * quarters;
    match (lower, upper, digit) {
        (true, true, _) => wordy(piece) * 100 < piece.len() * 45,
        (true, false, true) => at_most(14),
        (false, true, true) => piece.len() >= ENOUGH && at_most(20),
        _ => false,
    }
}

/// How many of a piece's letters stand in what could be words: four letters of which only
/// the first may be a capital. Of random text in base 62 it is about one in seven.
fn wordy(piece: &[u8]) -> usize {
    let mut at = 0;
    let mut letters = 0;
    while let Some(rest) = piece.get(at..).filter(|rest| !rest.is_empty()) {
        let capital = usize::from(rest.first().is_some_and(u8::is_ascii_uppercase));
        let small = rest.iter().skip(capital).take_while(|byte| byte.is_ascii_lowercase()).count();
        let len = capital + small;
        if len >= 4 {
            letters += len;
        }
        at += len.max(1);
    }
    letters
}

/// Whether two neighbours are of different sorts. A capital before a small letter is how
/// a word begins.
fn changes(pair: &[u8]) -> bool {
    let sort = |byte: &u8| (byte.is_ascii_digit(), byte.is_ascii_uppercase());
    let [first, second] = pair else { return false };
    let begins = first.is_ascii_uppercase() && second.is_ascii_lowercase();
    sort(first) != sort(second) && !begins
}
