//! Names of hosts as policies write them: `api.github.com`, `*.github.com`.

use std::fmt;
use std::net::IpAddr;

use agentguard_common::name::{Key, LABEL_MAX, NAME_MAX};

use super::error::Problem;
use super::network::Refusal;
use super::report::quoted;

/// What a pattern begins with.
const STAR: &str = "*.";

/// The name of a host, or all names below one.
///
/// It is held as the kernel's trie has it, reversed and with a dot or a NUL at its end. So
/// what covers a name is a beginning of it, and in order each name follows what covers it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName {
    reversed: String,
}

impl HostName {
    /// Whether a text is meant to be a name, a pattern of names or a URL, rather than an
    /// address.
    pub(super) fn is_one(text: &str) -> bool {
        if text.contains("://") {
            return true;
        }
        let host = text.split_once('/').map_or(text, |(host, _)| host);
        // With two colons it is a mistyped IPv6 address.
        if host.parse::<IpAddr>().is_ok()
            || text.matches(':').count() > 1
            || matches!(text, "any" | "all")
        {
            return false;
        }
        let lettered = |c: char| c.is_alphabetic() || c == '_' || !c.is_ascii();
        text == "*" || text.starts_with(STAR) || text.chars().any(lettered)
    }

    /// Reads a name or, after `*.`, a name that those are below.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        refuse_url(text)?;
        if text == "*" {
            let mend = "write *.example.com for the names below one, or default: allow for all";
            return Err(bad(text, "is every name there is", mend));
        }
        let (name, below) = text.strip_prefix(STAR).map_or((text, false), |name| (name, true));
        if name.contains('*') {
            let mend = "write *.example.com for all names below example.com, at any depth";
            return Err(bad(text, "has a star where none can be", mend));
        }
        let name = normal(name)
            .ok_or_else(|| bad(text, "is no name by IDNA's rules", "write it as xn--…"))?;
        let name = name.strip_suffix('.').unwrap_or(&name);
        check(name).map_err(|(why, mend)| bad(text, why, mend))?;
        let end = if below { '.' } else { '\0' };
        Ok(Self { reversed: name.chars().rev().chain([end]).collect() })
    }

    /// Whether it is all names below one, and not one itself.
    #[must_use]
    pub fn is_below(&self) -> bool {
        self.reversed.ends_with('.')
    }

    /// The name, without a star: itself, or what the others are below.
    #[must_use]
    pub fn name(&self) -> String {
        self.reversed.chars().rev().skip(1).collect()
    }

    /// Whether every name of `other` is one of this.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self == other || (self.is_below() && other.reversed.starts_with(&self.reversed))
    }

    /// The key that it has in a policy's slot; `None` where it is too long, which none is
    /// that was read.
    #[must_use]
    pub fn key(&self, slot: u16) -> Option<Key> {
        let name = self.name();
        if self.is_below() { Key::below(slot, &name) } else { Key::exact(slot, &name) }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.is_below() { STAR } else { "" };
        write!(f, "{star}{}", self.name())
    }
}

/// Small letters, and letters beyond ASCII as they are asked for (UTS 46). `None` where
/// there is no such way.
///
/// Names in ASCII are taken as they are: servers answer to more of them than IDNA allows.
fn normal(text: &str) -> Option<String> {
    if text.is_ascii() {
        return Some(text.to_ascii_lowercase());
    }
    idna::domain_to_ascii(text).ok()
}

/// Holds a name in small letters against what can be asked of a resolver, and would be.
fn check(name: &str) -> Result<(), (&'static str, &'static str)> {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    for label in name.split('.') {
        if label.is_empty() {
            return Err(("has an empty label in it", "write one dot between labels"));
        }
        if !label.bytes().all(plain) {
            let mend = "write letters, digits, hyphens and underscores, with dots between";
            return Err(("has a character in it that no name has", mend));
        }
        if label.len() > LABEL_MAX {
            return Err(("has a label that is too long", "a label has at most 63 bytes"));
        }
    }
    if name.len() > NAME_MAX {
        return Err(("is too long", "a name has at most 253 bytes"));
    }
    let last = name.rsplit_once('.').map_or(name, |(_, last)| last);
    if is_number(last) {
        let mend = "write all four numbers of an address, or a name that ends in a word";
        return Err(("ends in a number, as addresses do", mend));
    }
    if last == "localhost" {
        let mend = "write 127.0.0.1 and ::1: for this host's own name no resolver is asked";
        return Err(("is this host", mend));
    }
    Ok(())
}

/// Whether programs take a name's last label for a part of an IPv4 address (`inet_aton`).
fn is_number(label: &str) -> bool {
    let hex = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    label.bytes().all(|byte| byte.is_ascii_digit()) || label.strip_prefix("0x").is_some_and(hex)
}

/// Refuses what belongs elsewhere, or nowhere: a scheme, a path, a port.
fn refuse_url(text: &str) -> Result<(), Refusal> {
    let (is_url, rest) = text.split_once("://").map_or((false, text), |(_, rest)| (true, rest));
    let (place, path) =
        rest.split_once(['/', '?', '#']).map_or((rest, false), |(at, _)| (at, true));
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let why = match port {
        _ if is_url => "is a URL",
        _ if path => "has a path in it",
        Some(_) => "has a port in it",
        None => return Ok(()),
    };
    let host = quoted(host);
    Err(match port {
        Some(port) if port.parse().is_ok_and(|port: u16| port > 0) => {
            bad(text, why, format!("write {host} here, and ports: [{port}]"))
        }
        _ => bad(text, why, format!("write {host}")),
    })
}

fn bad(text: &str, why: &'static str, mend: impl Into<String>) -> Refusal {
    (Problem::BadName { text: quoted(text), why }, mend.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> HostName {
        HostName::parse(text).unwrap_or_else(|(problem, _)| panic!("{problem}"))
    }

    #[test]
    fn names_are_written_as_they_are_read() {
        let long = format!("{}.com", [&*"a".repeat(63); 3].join("."));
        for text in [
            "api.github.com",
            "*.github.com",
            "intranet",
            "_acme.x.com",
            "a--b.com",
            "-a.b-.com",
            "0x.com",
            "1.2.3.com",
            "xn--bcher-kva.example",
            &long,
        ] {
            assert_eq!(parsed(text).to_string(), text);
        }
        for (text, normal) in [
            ("API.GitHub.com", "api.github.com"),
            ("github.com.", "github.com"),
            ("*.GitHub.com.", "*.github.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("*.Bücher.example", "*.xn--bcher-kva.example"),
            ("faß.example", "xn--fa-hia.example"),
            ("\u{ff47}ithub。com", "github.com"),
        ] {
            assert_eq!(parsed(text).to_string(), normal);
            assert_eq!(parsed(text), parsed(normal));
        }
    }

    #[test]
    fn a_star_covers_what_is_below() {
        let star = parsed("*.b.com");
        for (other, covered) in [
            ("a.b.com", true),
            ("x.a.b.com", true),
            ("*.a.b.com", true),
            ("*.b.com", true),
            ("b.com", false),
            ("*.com", false),
            ("ab.com", false),
            ("b.com.x", false),
        ] {
            assert_eq!(star.covers(&parsed(other)), covered, "{other}");
        }
        assert!(!parsed("com").covers(&parsed("a.com")));
        assert!(parsed("*.com").covers(&star));
    }

    #[test]
    fn in_order_each_name_follows_what_covers_it() {
        let mut names =
            ["b.com", "a.b.com", "*.com", "a-b.com", "*.b.com", "com", "ab.com"].map(parsed);
        names.sort_unstable();
        let names = names.map(|name| name.to_string());
        assert_eq!(names, ["com", "*.com", "b.com", "a-b.com", "*.b.com", "a.b.com", "ab.com"]);
    }

    #[test]
    fn names_are_told_from_addresses() {
        for text in ["a", "*", "*.1", "a:1", "https://1.2.3.4/", "☃.example", "_x", "dead", "0xa"]
        {
            assert!(HostName::is_one(text), "{text}");
        }
        for text in
            ["any", "1.2.3", "1.2.3.4/x", "fe80::1", "fe80::1%eth0", "[::1]:4", "::g", "1-2"]
        {
            assert!(!HostName::is_one(text), "{text}");
        }
    }
}
