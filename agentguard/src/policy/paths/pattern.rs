//! Paths as rules write them: absolute, or from `~`, `${workspace}`, `${NAME}` or `**` on.

use std::fmt;

use agentguard_common::path::{DEPTH_MAX, NAME_MAX};

use super::super::error::Problem;
use super::super::network::Refusal;
use super::super::report::quoted;
use super::glob::{Glob, escaped};

/// The longest path that is written, in bytes (`PATH_MAX` of `linux/limits.h`, less the zero
/// at its end).
pub const PATH_MAX: usize = 4095;

/// Where a pattern begins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Base {
    /// At the root.
    Root,
    /// At the home of the session's user.
    Home,
    /// At the directory that the agent works in.
    Workspace,
    /// At what is given when the session begins.
    Variable(String),
}

/// One step down a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Step {
    /// Whether any number of other components may come before.
    pub(super) anywhere: bool,
    /// What the component is.
    pub(super) part: Part,
}

/// A component of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Part {
    /// This name.
    Name(Vec<u8>),
    /// A name that fits.
    Glob(Glob),
}

/// A path that a rule speaks of: what it names, and everything below.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPattern {
    pub(super) base: Base,
    pub(super) steps: Vec<Step>,
}

impl PathPattern {
    /// Where it begins.
    #[must_use]
    pub const fn base(&self) -> &Base {
        &self.base
    }

    /// Whether some of it may stand for any number of components.
    #[must_use]
    pub fn is_anywhere(&self) -> bool {
        self.steps.iter().any(|step| step.anywhere)
    }

    /// How much it makes an automaton grow, roughly: 0 for a plain path.
    pub(super) fn multiplies(&self) -> usize {
        let of = |step: &Step| match &step.part {
            _ if step.anywhere => 16,
            Part::Glob(_) => 1,
            Part::Name(_) => 0,
        };
        self.steps.iter().map(of).sum()
    }

    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, (Problem, String)> {
        let bad = |why, mend: &str| -> Refusal { refusal(text, why, mend) };
        if text.contains('\0') {
            return Err(bad("has a zero byte in it", "remove it"));
        }
        if text.len() > PATH_MAX {
            return Err(bad("is longer than any path", "write at most 4095 bytes"));
        }
        let (base, rest) = base(text)?;
        let mut steps = Vec::new();
        let mut anywhere = false;
        if !(rest.is_empty() || rest == "/") {
            for part in rest.split('/').skip(1) {
                if part == "**" {
                    anywhere = true;
                    continue;
                }
                let part = component(text, part)?;
                steps.push(Step { anywhere, part });
                anywhere = false;
            }
        }
        below(&mut steps, anywhere);
        if steps.len() > DEPTH_MAX as usize {
            return Err(bad(
                "is deeper than any path that is looked at",
                "write at most 128 parts",
            ));
        }
        Ok(Self { base, steps })
    }
}

/// Makes of `/**` at the end, and of `/**/*`, a single step: everything below.
fn below(steps: &mut Vec<Step>, anywhere: bool) {
    let star = || Part::Glob(Glob::star());
    if anywhere {
        steps.push(Step { anywhere: false, part: star() });
    } else if let Some(last) = steps.last_mut()
        && last.part == star()
    {
        last.anywhere = false;
    }
}

/// Where a pattern begins, and the rest of it, which is empty or begins with a slash.
fn base(text: &str) -> Result<(Base, String), Refusal> {
    let bad = |why, mend: &str| -> Refusal { refusal(text, why, mend) };
    if text.is_empty() {
        return Err(bad("is empty", "write a path"));
    }
    if text == "**" || text.starts_with("**/") {
        return Ok((Base::Root, format!("/{text}")));
    }
    let (base, rest) = if text.starts_with('/') {
        (Base::Root, text)
    } else if let Some(rest) = text.strip_prefix('~') {
        (Base::Home, rest)
    } else if let Some(rest) = text.strip_prefix("${") {
        let (name, rest) = rest
            .split_once('}')
            .ok_or_else(|| bad("has a ${ without its }", "write ${workspace} or ${NAME}"))?;
        if name == "workspace" {
            (Base::Workspace, rest)
        } else if is_variable(name) {
            (Base::Variable(name.to_owned()), rest)
        } else {
            let mend = "write ${NAME}: letters, digits and _, no digit first";
            return Err(bad("has a variable with a bad name", mend));
        }
    } else {
        let mend = format!("write **/{text} for it anywhere, or ${{workspace}}/{text}, or /…");
        return Err(bad("is not absolute", &mend));
    };
    if !(rest.is_empty() || rest.starts_with('/')) {
        let (why, mend) = match base {
            Base::Home => ("speaks of another user's home", "write the path of that home"),
            _ => ("has something right behind its variable", "write a / behind the variable"),
        };
        return Err(bad(why, mend));
    }
    Ok((base, rest.to_owned()))
}

/// Whether a variable can be called so.
pub(crate) fn is_variable(name: &str) -> bool {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.len() <= 63
        && name.bytes().all(sign)
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

fn component(text: &str, part: &str) -> Result<Part, Refusal> {
    let bad = |why, mend: &str| -> Refusal { refusal(text, why, mend) };
    match part {
        "" => return Err(bad("has an empty part", "write each / once, and none at the end")),
        _ if has_variable(part) => {
            let mend = "write the variable at the beginning, or \\${ for the signs";
            return Err(bad("has a variable within it", mend));
        }
        _ => {}
    }
    let read = Glob::read(part).map_err(|(why, mend)| bad(why, mend))?;
    let (least, part) = match read {
        // Also where they were written as `[.]`, say.
        Ok(name) if matches!(name.as_slice(), b"." | b"..") => {
            return Err(bad("has . or .. in it", "write the path as it is without them"));
        }
        Ok(name) => (name.len(), Part::Name(name)),
        Err(glob) => (glob.literal_bytes(), Part::Glob(glob)),
    };
    if least > NAME_MAX {
        return Err(bad("has a part that no name is as long as", "write at most 255 bytes"));
    }
    Ok(part)
}

/// Whether `${` stands in a part, not counting what has a backslash before it.
fn has_variable(part: &str) -> bool {
    let (mut dollar, mut signs) = (false, part.chars());
    while let Some(sign) = signs.next() {
        if dollar && sign == '{' {
            return true;
        }
        dollar = sign == '$';
        if sign == '\\' {
            signs.next();
        }
    }
    false
}

fn refusal(text: &str, why: &'static str, mend: &str) -> Refusal {
    (Problem::BadPath { text: quoted(text), why }, mend.to_owned())
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.base {
            Base::Root if self.steps.is_empty() => f.write_str("/")?,
            Base::Root => {}
            Base::Home => f.write_str("~")?,
            Base::Workspace => f.write_str("${workspace}")?,
            Base::Variable(name) => write!(f, "${{{name}}}")?,
        }
        write_steps(f, &self.steps, self.base == Base::Root)
    }
}

/// Writes steps; `bare` where nothing stands before them.
pub(super) fn write_steps(f: &mut fmt::Formatter<'_>, steps: &[Step], bare: bool) -> fmt::Result {
    for (at, step) in steps.iter().enumerate() {
        if step.anywhere {
            f.write_str(if bare && at == 0 { "**" } else { "/**" })?;
        }
        match &step.part {
            Part::Name(name) => write!(f, "/{}", escaped(name).replace("${", "\\${"))?,
            Part::Glob(glob) if glob.is_star() && at + 1 == steps.len() => f.write_str("/**")?,
            Part::Glob(glob) => write!(f, "/{}", glob.to_string().replace("${", "\\${"))?,
        }
    }
    Ok(())
}
