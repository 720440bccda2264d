//! Tells what a pattern matched from what only looks like it.

/// What a pattern matched: bytes `start..end` of `text`.
pub(super) struct Match<'t> {
    pub(super) text: &'t str,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl<'t> Match<'t> {
    fn value(&self) -> &'t str {
        self.text.get(self.start..self.end).unwrap_or_default()
    }

    fn before(&self) -> Option<char> {
        self.text.get(..self.start)?.chars().next_back()
    }

    fn after(&self) -> Option<char> {
        self.text.get(self.end..)?.chars().next()
    }
}

/// Always.
pub(super) const fn any(_: &Match<'_>) -> bool {
    true
}

/// Not the inside of a longer word.
pub(super) fn apart(found: &Match<'_>) -> bool {
    !found.before().is_some_and(|before| before.is_ascii_alphanumeric())
}

/// A value, and not a stand-in for one: `$TOKEN`, `<token>`, `***`, `null`, nothing.
pub(super) fn secret(found: &Match<'_>) -> bool {
    let value = found.value();
    let stand_in = value.starts_with(['$', '<', '%'])
        || value.starts_with("{{")
        || value.starts_with("[redacted:")
        || value.bytes().all(|byte| matches!(byte, b'*' | b'.' | b'x' | b'X' | b'-'))
        || ["true", "false", "null", "none", "yes", "no", "nil", "undefined"]
            .iter()
            .any(|word| value.eq_ignore_ascii_case(word));
    // The shell's working directory is no password, though its name is.
    let place = value.starts_with('/') && of_working_directory(found);
    !stand_in && !place
}

fn of_working_directory(found: &Match<'_>) -> bool {
    let name = found.text.get(..found.start).unwrap_or_default().trim_end_matches(['=', '"', '\'']);
    name.ends_with("PWD")
}

/// What is written after a colon: a value, and no word of a sentence.
pub(super) fn written(found: &Match<'_>) -> bool {
    let value = found.value();
    let odd = |byte: u8| !byte.is_ascii_lowercase() && !matches!(byte, b'.' | b')' | b':');
    secret(found) && value.bytes().any(odd) && !value.starts_with("//")
}

/// What follows a flag: a value, and not the next flag.
pub(super) fn argument(found: &Match<'_>) -> bool {
    secret(found) && !is_flag(found.value())
}

/// A word like `--name` or `-n`.
pub(super) fn is_flag(word: &str) -> bool {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
    name.is_some_and(|name| name.starts_with(|first: char| first.is_ascii_lowercase()))
}

/// What follows `Bearer`: a token, and no word of a sentence.
pub(super) fn bearer(found: &Match<'_>) -> bool {
    let value = found.value();
    value.len() >= 24 || value.bytes().any(|byte| byte.is_ascii_digit())
}

/// The last part of what looks like the domain of a mail address and is none: names of
/// files (`icon@2x.png`) and of units of systemd (`getty@tty1.service`).
const NO_DOMAINS: &[&str] = &[
    "css", "device", "exe", "gif", "gz", "html", "jpeg", "jpg", "js", "json", "jsx", "lock", "mjs",
    "mount", "path", "png", "rs", "scope", "service", "slice", "socket", "svg", "swap", "tar",
    "target", "tgz", "timer", "ts", "tsx", "txt", "webp", "yaml", "yml", "zip",
];

/// A mail address, and not `git@host:path`, a package with its version or a unit.
pub(super) fn email(found: &Match<'_>) -> bool {
    let Some((user, domain)) = found.value().split_once('@') else { return false };
    let last = domain.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let remote = matches!(user, "git" | "hg" | "svn" | "anonymous" | "root") || copies(found);
    let begun = found.before().is_some_and(|before| matches!(before, '@' | '\\'));
    !remote && !begun && !NO_DOMAINS.contains(&last.as_str())
}

/// `user@host:path`, as ssh, scp and git take it, and `scheme://user@host`.
fn copies(found: &Match<'_>) -> bool {
    let rest = found.text.get(found.end..).unwrap_or_default();
    let path = rest.strip_prefix(':').and_then(|rest| rest.chars().next());
    let before = found.text.get(..found.start).unwrap_or_default();
    let word = before.rsplit(char::is_whitespace).next().unwrap_or_default();
    let authority = word.rsplit_once("://").is_some_and(|(_, rest)| !rest.contains('/'));
    path.is_some_and(|first| !first.is_whitespace()) || authority
}

/// A card's number: the right length for its issuer, and the digit that checks it.
pub(super) fn card(found: &Match<'_>) -> bool {
    let near = |near: Option<char>| {
        near.is_some_and(|near| {
            near.is_ascii_alphanumeric() || matches!(near, '.' | '_' | '-' | '/')
        })
    };
    if near(found.before()) || found.after().is_some_and(|after| after.is_ascii_alphanumeric()) {
        return false;
    }
    let digits: Vec<u8> = digits(found.value()).collect();
    let number =
        |len: usize| digits.iter().take(len).fold(0, |sum, digit| sum * 10 + u32::from(*digit));
    let (two, four) = (number(2), number(4));
    let issued = match digits.len() {
        13 | 19 => two / 10 == 4,
        14 => matches!(two, 36 | 38 | 39) || matches!(four / 10, 300..=305),
        15 => matches!(two, 34 | 37),
        16 => {
            two / 10 == 4
                || matches!(two, 51..=55 | 65)
                || matches!(four, 2221..=2720 | 6011 | 3528..=3589 | 6440..=6499)
        }
        _ => false,
    };
    issued && luhn(&digits)
}

fn digits(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().filter(u8::is_ascii_digit).map(|byte| byte - b'0')
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(*digit) * 2) {
            (0, double) => double / 2,
            (_, double) if double > 9 => double - 9,
            (_, double) => double,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// An account's number (ISO 13616): a remainder of one when divided by 97.
pub(super) fn iban(found: &Match<'_>) -> bool {
    let near = |near: Option<char>| near.is_some_and(|near| near.is_ascii_alphanumeric());
    if near(found.before()) || near(found.after()) {
        return false;
    }
    let packed: Vec<u8> = found.value().bytes().filter(|byte| *byte != b' ').collect();
    let Some((head, account)) = packed.split_at_checked(4) else { return false };
    let remainder = account.iter().chain(head).fold(0u32, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    packed.len() <= 34 && remainder == 1
}
