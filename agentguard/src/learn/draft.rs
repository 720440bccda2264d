//! The file as it is written: sections, rules, and what was seen of each line beside it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use agentguard_common::verdict::Verdict;

use super::Given;
use super::seen::{Seen, Use};
use crate::policy::Policy;

/// How many programs a comment names.
const NAMED: usize = 4;
/// Where comments behind lines begin, where the line leaves room.
const COLUMN: usize = 48;

/// A line of a list, and what was seen of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    /// What stands in the list, without quotes.
    pub(super) text: String,
    /// What stands behind it; nothing, where it is empty.
    pub(super) note: String,
}

impl Item {
    pub(super) fn new(text: impl Into<String>, note: impl Into<String>) -> Self {
        Self { text: text.into(), note: note.into() }
    }
}

/// A rule.
#[derive(Clone, Debug, Default)]
pub(super) struct Rule {
    /// What stands above it.
    pub(super) comment: String,
    /// `allow`, `write`, …
    pub(super) verdict: &'static str,
    /// For what.
    pub(super) items: Vec<Item>,
    /// For which ports; none is written where there is none.
    pub(super) ports: Vec<String>,
    /// For which protocols.
    pub(super) protocols: Vec<&'static str>,
    /// Its id.
    pub(super) id: String,
}

/// A section with rules.
#[derive(Clone, Debug, Default)]
pub(super) struct Section {
    /// Its keys with one value each, `default` among them.
    pub(super) keys: Vec<(&'static str, String)>,
    pub(super) rules: Vec<Rule>,
}

/// How names are looked up.
#[derive(Clone, Debug, Default)]
pub(super) struct Lookups {
    pub(super) resolvers: Vec<String>,
    pub(super) inside: Vec<Item>,
    pub(super) times: Vec<(&'static str, String)>,
}

/// A policy that is being written.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    head: String,
    pub(super) egress: Section,
    pub(super) lookups: Option<Lookups>,
    pub(super) files: Option<Section>,
    pub(super) exec: Option<Section>,
    pub(super) secrets: Vec<String>,
    pub(super) workspace: Option<String>,
    /// Other sections, as they are written.
    pub(super) others: String,
    /// What was seen and no rule is for.
    tail: Vec<String>,
    /// Ids that are taken.
    ids: BTreeSet<String>,
}

impl Draft {
    /// With what an existing policy says.
    pub(super) fn new(given: &Given, seen: &Seen, base: Option<&Policy>) -> Self {
        let mut draft = Self { head: head(given, seen, base), ..Self::default() };
        match base {
            Some(base) => super::base::fill(&mut draft, base),
            None => {
                let deny = vec![("default", Verdict::Deny.as_str().to_owned())];
                draft.egress.keys = deny.clone();
                draft.files = Some(Section { keys: deny.clone(), rules: Vec::new() });
                draft.exec = Some(Section { keys: deny, rules: Vec::new() });
            }
        }
        for ((what, why), used) in &seen.refused {
            draft.tail.push(format!("{what} ({why}): {}", in_words(used)));
        }
        draft
    }

    /// An id that no rule has yet.
    pub(super) fn id(&mut self, wanted: &str) -> String {
        let numbered = (2u32..).map(|number| format!("{wanted}-{number}"));
        let mut all = std::iter::once(wanted.to_owned()).chain(numbered);
        let free = all.find(|id| !self.ids.contains(id)).unwrap_or_default();
        self.ids.insert(free.clone());
        free
    }

    /// Adds a rule with an id of its own to a section. One for nothing is none.
    pub(super) fn add(&mut self, section: fn(&mut Self) -> Option<&mut Section>, rule: Rule) {
        if rule.items.is_empty() {
            return;
        }
        let id = self.id(&rule.id);
        if let Some(section) = section(self) {
            section.rules.push(Rule { id, ..rule });
        }
    }

    /// What was seen and gets no rule.
    pub(super) fn leave_out(&mut self, what: String) {
        self.tail.push(what);
    }

    /// The file.
    pub(super) fn text(&self) -> String {
        let mut text = self.head.clone();
        text.push_str("egress:\n");
        section(&mut text, &self.egress);
        if let Some(found) = &self.lookups {
            lookups(&mut text, found);
        }
        for (name, found) in [("files", &self.files), ("exec", &self.exec)] {
            if let Some(found) = found {
                let _ = writeln!(text, "{name}:");
                section(&mut text, found);
            }
        }
        if !self.secrets.is_empty() {
            text.push_str("secrets:\n");
            for path in &self.secrets {
                let _ = writeln!(text, "  - {}", scalar(path));
            }
        }
        if let Some(workspace) = &self.workspace {
            let _ = writeln!(text, "workspace: {}", scalar(workspace));
        }
        text.push_str(&self.others);
        if !self.tail.is_empty() {
            text.push_str(
                "# Seen, and not allowed by this file, as no rule can, or none should without a \
                 thought:\n",
            );
            for line in &self.tail {
                let _ = writeln!(text, "#   {}", plain(line));
            }
        }
        text
    }
}

fn head(given: &Given, seen: &Seen, base: Option<&Policy>) -> String {
    let mut text = String::from("# Learned from one session, in which nothing was refused");
    let _ = writeln!(text, ":\n#   {}", plain(&given.command));
    text.push_str(
        "# It allows what was done there. Read it before you enforce it: what the session should\n\
         # not have done stands here too. The same file within two seconds was counted once.\n",
    );
    if seen.missed > 0 {
        let _ = writeln!(
            text,
            "# NOT COMPLETE: {} events were lost on the way. Learn again from this file (--base).",
            seen.missed
        );
    }
    if let Some(base) = base {
        let path = plain(&base.path.display().to_string());
        let _ = writeln!(text, "# Rules without a comment behind them are those of {path}.");
    }
    let _ = writeln!(text, "version: 1\nagent: {}", scalar(&given.agent));
    let description =
        base.map_or(Some("Learned from a session."), |base| base.description.as_deref());
    if let Some(description) = description {
        let _ = writeln!(text, "description: {}", scalar(description));
    }
    if let Some(base) = base {
        let _ = writeln!(text, "mode: {}", base.mode.as_str());
        super::base::matches(&mut text, base);
    }
    text
}

fn section(text: &mut String, section: &Section) {
    for (key, value) in &section.keys {
        let _ = writeln!(text, "  {key}: {value}");
    }
    if section.rules.is_empty() {
        text.push_str("  rules: []\n");
        return;
    }
    text.push_str("  rules:\n");
    for rule in &section.rules {
        if !rule.comment.is_empty() {
            let _ = writeln!(text, "    # {}", plain(&rule.comment));
        }
        let _ = writeln!(text, "    - {}:", rule.verdict);
        rule.items.iter().for_each(|item| line(text, "        - ", item));
        if !rule.ports.is_empty() {
            let _ = writeln!(text, "      ports: [{}]", rule.ports.join(", "));
        }
        if !rule.protocols.is_empty() {
            let _ = writeln!(text, "      protocol: [{}]", rule.protocols.join(", "));
        }
        let _ = writeln!(text, "      id: {}", scalar(&rule.id));
    }
}

fn lookups(text: &mut String, lookups: &Lookups) {
    let Lookups { resolvers, inside, times } = lookups;
    if resolvers.is_empty() && inside.is_empty() && times.is_empty() {
        text.push_str("  dns: {}\n");
        return;
    }
    text.push_str("  dns:\n");
    if !resolvers.is_empty() {
        text.push_str("    resolvers:\n");
        resolvers.iter().for_each(|at| line(text, "      - ", &Item::new(at, "")));
    }
    if !inside.is_empty() {
        text.push_str("    inside:\n");
        inside.iter().for_each(|item| line(text, "      - ", item));
    }
    for (key, value) in times {
        let _ = writeln!(text, "    {key}: {value}");
    }
}

fn line(text: &mut String, before: &str, item: &Item) {
    let start = format!("{before}{}", scalar(&item.text));
    let _ = match item.note.is_empty() {
        true => writeln!(text, "{start}"),
        false => writeln!(text, "{start:<COLUMN$} # {}", plain(&item.note)),
    };
}

/// How often and by whom, for a comment.
pub(super) fn in_words(used: &Use) -> String {
    let times = if used.count == 1 { "once".into() } else { format!("{} times", used.count) };
    let named: Vec<&str> = used.by.iter().take(NAMED).map(String::as_str).collect();
    let more = match used.by.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{times}, by {}{more}", named.join(", "))
}

/// A text as a value of YAML: as it is where it can be taken for nothing else.
pub(super) fn scalar(text: &str) -> String {
    let plain = |sign: char| sign.is_ascii_alphanumeric() || "/._-~".contains(sign);
    let safe = text.starts_with(|first: char| first == '/' || first.is_ascii_lowercase())
        || text.starts_with("~/");
    let word = matches!(text, "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n");
    // What could be a number written with letters (0x, 1e5) does not begin with a letter.
    if safe && !word && text.chars().all(plain) {
        return text.to_owned();
    }
    serde_json::Value::from(text).to_string()
}

/// A text fit to stand in a comment.
fn plain(text: &str) -> String {
    let fit = |sign: char| if sign.is_control() { char::REPLACEMENT_CHARACTER } else { sign };
    text.chars().map(fit).collect()
}
