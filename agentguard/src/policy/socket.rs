//! Unix sockets as policies write them: `unix:/run/db.sock`, `unix:/run/db/**`,
//! `unix:/tmp/ssh-*`, `unix:@name`, `unix:@name*`.

use std::fmt;

use agentguard_common::unix::{Key, NAME_LEN};

use super::error::Problem;
use super::network::Refusal;
use super::report::quoted;

/// What texts of unix sockets begin with.
const SCHEME: &str = "unix:";
/// Two names of one directory.
const RUN: [&[u8]; 2] = [b"/run/", b"/var/run/"];

/// The name of a unix socket, or the beginning of names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketName {
    /// As the kernel has it: a path, or after a NUL an abstract name.
    bytes: Vec<u8>,
    /// Whether it is a whole name.
    whole: bool,
}

impl SocketName {
    /// Whether a text is meant to be a unix socket.
    pub(super) fn is_one(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// A name that is known to be in order: a path or, after `@`, an abstract name. It
    /// ends with `*` where it is the beginning of names, with `/**` where it is all below
    /// a directory, which is the same with a slash at its end.
    pub(super) fn known(text: &str) -> Self {
        let (text, whole) = text.strip_suffix('*').map_or((text, true), |text| (text, false));
        let text = text.strip_suffix('*').unwrap_or(text);
        let bytes = match text.strip_prefix('@') {
            Some(name) => [b"\0", name.as_bytes()].concat(),
            None => text.as_bytes().to_vec(),
        };
        Self { bytes, whole }
    }

    /// Reads what stands in a policy.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let bad = |why, mend: &str| (Problem::BadSocket { text: quoted(text), why }, mend.into());
        let name = text.strip_prefix(SCHEME).unwrap_or(text);
        if name.contains('\0') {
            return Err(bad("has a NUL in it", "leave it out"));
        }
        let inner = match name.strip_prefix('@') {
            Some(inner) => inner.strip_suffix('*').unwrap_or(inner),
            None => {
                let inner = name.strip_suffix("/**").or(name.strip_suffix('*')).unwrap_or(name);
                if !name.starts_with('/') {
                    let mend = "write unix:/the/whole/path, or unix:@name for an abstract name";
                    return Err(bad("is no absolute path", mend));
                }
                if inner.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
                    let mend = "write the path without empty parts, dots and a slash at its end";
                    return Err(bad("is no plain path", mend));
                }
                inner
            }
        };
        if inner.is_empty() {
            return Err(bad("is no name", "write unix:@name"));
        }
        if inner.contains('*') {
            let mend = "write a whole name, /a/directory/**, /a/beginning* or @beginning*";
            return Err(bad("has a star where none can be", mend));
        }
        if inner.len() + 1 >= NAME_LEN {
            return Err(bad("is longer than a unix socket's name can be", "no socket is there"));
        }
        Ok(Self::known(name))
    }

    /// The keys that it has in a policy's slot. `/run` and `/var/run` are one directory,
    /// and a server may have used either name.
    #[must_use]
    pub fn keys(&self, slot: u32) -> Vec<Key> {
        let mut names = vec![self.bytes.clone()];
        for (one, other) in [(RUN[0], RUN[1]), (RUN[1], RUN[0])] {
            if let Some(rest) = self.bytes.strip_prefix(one) {
                names.push([other, rest].concat());
            }
        }
        names.iter().filter_map(|name| Key::new(slot, name, self.whole)).collect()
    }
}

impl fmt::Display for SocketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.bytes);
        let star = match (self.whole, text.ends_with('/') && text.starts_with('/')) {
            (true, _) => "",
            (false, true) => "**",
            (false, false) => "*",
        };
        write!(f, "{SCHEME}{}{star}", text.replacen('\0', "@", 1))
    }
}
