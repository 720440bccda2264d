//! The names in a policy: of agents, rules and the processes it is for.

use std::path::PathBuf;

use super::document::MatchDocument;
use super::error::Problem;
use super::model::{Match, User};
use super::place::Sited;
use super::report::{Report, quoted};

/// The longest name of an agent, and the longest id of a rule.
const LONGEST_NAME: usize = 63;
/// The longest path that the kernel takes, with its closing zero.
const PATH_MAX: usize = 4096;
/// The longest name of a systemd unit.
const LONGEST_UNIT: usize = 255;
/// What ids that stand in no file begin with.
const BUILTIN: &str = "builtin.";

/// Whether a text is a name of an agent.
pub(super) fn is_agent(text: &str) -> bool {
    is_name(text, b"_-")
}

/// Why a text is no id, if it is none.
pub(super) fn refuse_id(text: &str) -> Option<&'static str> {
    if !is_name(text, b"._-") {
        return Some("write 1 to 63 of a-z, 0-9, dot, _ and -, a letter or digit first");
    }
    text.starts_with(BUILTIN).then_some("choose another: ids that begin with builtin. are taken")
}

fn is_name(text: &str, also: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= LONGEST_NAME
        && bytes.first().is_some_and(plain)
        && bytes.iter().all(|byte| plain(byte) || also.contains(byte))
}

/// Reads one match.
pub(super) fn read_match(document: &MatchDocument, report: &mut Report<'_>) -> Option<Match> {
    let given = [
        document.exe.as_ref().map(read_exe),
        document.user.as_ref().map(|user| read_user(&user.value.0, user.place)),
        document.cgroup.as_ref().map(read_cgroup),
        document.unit.as_ref().map(read_unit),
    ];
    let mut given = given.into_iter().flatten();
    let first = match (given.next(), given.next(), document.place) {
        (Some(first), None, _) => first,
        (Some(_), Some(_), Some(place)) => {
            let mend = "write each on its own line, after its own dash: one of them is enough";
            report.at(place, Problem::TwoMatches, mend);
            return None;
        }
        (None, _, Some(place)) if !document.broken => {
            let problem =
                Problem::Missing { key: "exe, user, cgroup or unit", section: "the match" };
            report.at(place, problem, "say how to recognise the process");
            return None;
        }
        // Where the one value was of a wrong type, that has been said.
        _ => return None,
    };
    match first.value {
        Ok(found) => Some(found),
        Err((text, why, mend)) => {
            report.at(first.place, Problem::BadMatch { text: quoted(&text), why }, mend);
            None
        }
    }
}

/// What a text names, or the text, why it names nothing, and the mend.
type Read = Sited<Result<Match, (String, &'static str, &'static str)>>;

fn read_exe(text: &Sited<String>) -> Read {
    let found = check_path(&text.value).and_then(|()| {
        if text.value.contains(['*', '?', '[']) {
            return Err(("has a pattern in it", "name each program by its own path"));
        }
        Ok(Match::Exe(PathBuf::from(&text.value)))
    });
    Sited::new(found.map_err(|(why, mend)| (text.value.clone(), why, mend)), text.place)
}

fn read_cgroup(text: &Sited<String>) -> Read {
    let found = check_path(&text.value).map(|()| Match::Cgroup(PathBuf::from(&text.value)));
    Sited::new(found.map_err(|(why, mend)| (text.value.clone(), why, mend)), text.place)
}

/// Holds a path against what the kernel reports: absolute and without detours.
fn check_path(text: &str) -> Result<(), (&'static str, &'static str)> {
    let Some(rest) = text.strip_prefix('/') else {
        return Err(("is not an absolute path", "write it from the root, with / first"));
    };
    if rest.is_empty() {
        return Err(("is the root", "name what is below it"));
    }
    if rest.split('/').any(|part| matches!(part, "." | ".." | "")) {
        return Err(("has an empty part, . or .. in it", "write the path without detours"));
    }
    if text.len() >= PATH_MAX || text.chars().any(char::is_control) {
        return Err(("is no path on this system", "write a path of at most 4095 bytes"));
    }
    Ok(())
}

fn read_user(text: &str, place: super::place::Place) -> Read {
    let bytes = text.as_bytes();
    let found = if bytes.iter().all(u8::is_ascii_digit) && !bytes.is_empty() {
        // The last number is the kernel's "no user".
        text.parse().ok().filter(|id| *id != u32::MAX).map(|id| Match::User(User::Id(id)))
    } else {
        let start = bytes.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
        let rest = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-$".contains(byte);
        let name = start && bytes.len() <= 32 && bytes.iter().all(rest);
        name.then(|| Match::User(User::Name(text.to_owned())))
    };
    let refusal = || (text.to_owned(), "is no user", "write a user's name or number");
    Sited::new(found.ok_or_else(refusal), place)
}

fn read_unit(text: &Sited<String>) -> Read {
    let (name, kind) = text.value.rsplit_once('.').unwrap_or((&text.value, ""));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    let found = if text.value.len() > LONGEST_UNIT || name.is_empty() || !name.bytes().all(allowed)
    {
        Err(("is no name of a unit", "write the unit's full name, such as agent.service"))
    } else if !matches!(kind, "service" | "scope" | "slice") {
        Err(("is no unit that has processes", "name a .service, a .scope or a .slice"))
    } else {
        Ok(Match::Unit(text.value.clone()))
    };
    Sited::new(found.map_err(|(why, mend)| (text.value.clone(), why, mend)), text.place)
}
