//! Arguments that are secrets because of the argument before them, or because of the
//! program: `--password X`, `curl -u user:X`, `sshpass -p X`.

use std::borrow::Cow;

use super::Redactor;
use super::check::{self, Match, is_flag};

const PASSWORD: &str = "[redacted:password]";

/// The ends of the names of flags that a secret follows.
const NAMES: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pass",
    "passwort",
    "pwd",
    "secret",
    "token",
    "api-key",
    "apikey",
    "access-key",
    "accesskey",
    "secret-key",
    "secretkey",
    "account-key",
    "auth-key",
    "authkey",
    "credential",
    "secret-access-key",
    "session-token",
    "connection-string",
];

/// Short flags of programs, and what follows them.
const SHORT: &[(&[&str], &[&str], Shape)] = &[
    (
        &["curl", "wget", "http", "https", "xh"],
        &["-u", "--user", "--proxy-user", "-a", "--auth", "-U"],
        Shape::User,
    ),
    (&["sshpass"], &["-p"], Shape::Whole),
    (&["redis-cli"], &["-a"], Shape::Whole),
    (
        &["ldapsearch", "ldapadd", "ldapmodify", "ldapdelete", "ldappasswd", "ldapwhoami"],
        &["-w", "-s"],
        Shape::Whole,
    ),
    (&["docker", "podman", "buildah", "skopeo", "helm", "oc", "az"], &["-p"], Shape::Login),
    (&["mysql", "mysqldump", "mysqladmin", "mariadb", "mariadb-dump"], &["-p"], Shape::Joined),
    (&["smbclient"], &["-U"], Shape::Samba),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// All of it, also joined to the flag.
    Whole,
    /// What follows the colon in `user:password`.
    User,
    /// All of it, after the word `login`.
    Login,
    /// Only joined to the flag (`-pX`).
    Joined,
    /// What follows the percent sign in `user%password`.
    Samba,
}

impl Redactor {
    /// The arguments of a program, its name first, without their secrets; `None` where
    /// they have none.
    #[must_use]
    pub fn arguments(&self, args: &[String]) -> Option<Vec<String>> {
        let mut reader = Reader::default();
        // Made with the first argument that changes; most commands have none.
        let mut out: Option<Vec<String>> = None;
        for (number, arg) in args.iter().enumerate() {
            let paired = reader.next(arg).filter(|_| self.pairs && !self.allowed(arg));
            let clean = paired.map_or_else(|| self.text(arg), Cow::Owned);
            match (&mut out, clean) {
                (None, Cow::Borrowed(_)) => {}
                (None, Cow::Owned(clean)) => {
                    let before = args.iter().take(number).cloned();
                    out = Some(before.chain([clean]).collect());
                }
                (Some(out), clean) => out.push(clean.into_owned()),
            }
        }
        out
    }
}

/// Reads arguments in their order.
#[derive(Default)]
struct Reader<'a> {
    /// The last program that is known here: `curl` in `sudo curl -u …`.
    program: &'a str,
    before: Option<&'a str>,
    /// Whether `login` was among them.
    login: bool,
}

impl<'a> Reader<'a> {
    /// What an argument becomes because of what stands before it, or of its own name.
    fn next(&mut self, arg: &'a str) -> Option<String> {
        let before = self.before.replace(arg);
        let name = arg.rsplit('/').next().unwrap_or_default();
        if SHORT.iter().any(|(programs, ..)| programs.contains(&name)) {
            self.program = name;
        }
        self.login |= arg == "login";
        let flag = before?;
        follows(self.program, flag, arg, self.login)
            .or_else(|| joined(self.program, arg))
            .or_else(|| assigned(arg))
    }
}

/// What an argument becomes because of the one before it.
fn follows(program: &str, flag: &str, arg: &str, login: bool) -> Option<String> {
    if names_secret(flag) {
        return (!is_flag(arg) && !arg.is_empty()).then(|| PASSWORD.to_owned());
    }
    let fits =
        |entry: &&(&[&str], &[&str], Shape)| entry.0.contains(&program) && entry.1.contains(&flag);
    match SHORT.iter().find(fits)?.2 {
        Shape::Whole => Some(PASSWORD.to_owned()),
        Shape::Login => login.then(|| PASSWORD.to_owned()),
        Shape::User => after(arg, ':'),
        Shape::Samba => after(arg, '%'),
        Shape::Joined => None,
    }
}

/// What an argument becomes that is flag and secret in one.
fn joined(program: &str, arg: &str) -> Option<String> {
    let (_, flags, shape) = SHORT.iter().find(|(programs, ..)| programs.contains(&program))?;
    let flag =
        flags.iter().find(|flag| flag.len() == 2 && arg.len() > 2 && arg.starts_with(**flag))?;
    match shape {
        Shape::Whole | Shape::Joined => Some(format!("{flag}{PASSWORD}")),
        Shape::User => after(arg, ':'),
        Shape::Samba => after(arg, '%'),
        Shape::Login => None,
    }
}

/// `NAME=secret`, all of which is one argument, and so one secret.
fn assigned(arg: &str) -> Option<String> {
    let (name, secret) = arg.split_once('=')?;
    // Without a dash and with spaces, it may be a line for a shell: see the rules.
    let whole = name.starts_with('-') || !arg.contains(char::is_whitespace);
    let place = Match { text: arg, start: name.len() + 1, end: arg.len() };
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let found =
        whole && is_name && !secret.is_empty() && ends_in_secret(name) && check::secret(&place);
    found.then(|| format!("{name}={PASSWORD}"))
}

fn after(arg: &str, mark: char) -> Option<String> {
    let (user, secret) = arg.split_once(mark)?;
    (!secret.is_empty()).then(|| format!("{user}{mark}{PASSWORD}"))
}

/// Whether a flag's name is that of a secret: `--password`, `--registry-token`, `-passwd`.
/// Some tools take names without dashes: `aws configure set aws_secret_access_key X`.
fn names_secret(flag: &str) -> bool {
    let known = matches!(flag, "aws_secret_access_key" | "aws_session_token");
    known || (flag.starts_with('-') && !flag.contains('=') && ends_in_secret(flag))
}

/// Whether a name ends in that of a secret, in whatever way its words are joined.
fn ends_in_secret(name: &str) -> bool {
    let name = name.trim_start_matches('-').as_bytes();
    let same = |(one, other): (&u8, &u8)| match one {
        b'_' | b'.' => *other == b'-',
        one => one.eq_ignore_ascii_case(other),
    };
    NAMES.iter().any(|end| {
        let Some((before, tail)) = name.split_at_checked(name.len().wrapping_sub(end.len())) else {
            return false;
        };
        let apart = before.last().is_none_or(|last| matches!(last, b'-' | b'_' | b'.'));
        apart && tail.iter().zip(end.as_bytes()).all(same)
    })
}
