//! The sections on paths as they are written: see [`super::super::document`].

use schemars::JsonSchema;

use super::super::error::Problem;
use super::super::fields::{Fields, text};
use super::super::place::{Place, Sited};
use super::super::report::Report;
use super::super::shape::Several;
use super::super::yaml::{Node, Value};

pub(in super::super) use super::super::shape::PathText;

/// Which files may be read and written.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "Files", deny_unknown_fields)]
pub(in super::super) struct FilesDocument {
    /// What may be done where no rule matches. write is reading and writing.
    #[schemars(extend("enum" = ["read", "write", "deny"], "default" = "read"))]
    pub(super) default: Option<Sited<String>>,
    /// The rules. The most specific one decides, wherever it stands.
    pub(super) rules: Option<Vec<FileRuleDocument>>,
}

/// One rule: `read`, `write`, `ask` or `deny`.
#[derive(Debug, Default, JsonSchema)]
#[schemars(
    rename = "FileRule",
    deny_unknown_fields,
    extend("oneOf" = [
        { "required": ["read"] }, { "required": ["write"] },
        { "required": ["ask"] }, { "required": ["deny"] }
    ])
)]
pub(super) struct FileRuleDocument {
    /// Where the rule stands.
    #[schemars(skip)]
    pub(super) place: Option<Place>,
    /// Whether an error was found in it.
    #[schemars(skip)]
    pub(super) broken: bool,
    /// What may be read and not written, with everything below.
    pub(super) read: Option<Several<PathText>>,
    /// What may be read and written, with everything below.
    pub(super) write: Option<Several<PathText>>,
    /// What may be read and written when a person says so; until that can be asked, neither.
    pub(super) ask: Option<Several<PathText>>,
    /// What may neither be read nor written.
    pub(super) deny: Option<Several<PathText>>,
    /// The name by which events speak of the rule. `files.N` for the Nth rule, where this is
    /// missing.
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9._-]{0,62}$"))]
    pub(super) id: Option<Sited<String>>,
}

/// Which programs may be executed.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "Exec", deny_unknown_fields)]
pub(in super::super) struct ExecDocument {
    /// What happens where no rule matches.
    #[schemars(extend("enum" = ["allow", "deny"], "default" = "allow"))]
    pub(super) default: Option<Sited<String>>,
    /// The rules. The most specific one decides, wherever it stands.
    pub(super) rules: Option<Vec<ExecRuleDocument>>,
    /// Whether what the session may write may be executed.
    #[schemars(extend("enum" = ["allow", "deny"], "default" = "allow"))]
    pub(super) from_writable: Option<Sited<String>>,
    /// Whether programs without a path may be executed: in memory, or deleted.
    #[schemars(extend("enum" = ["allow", "deny"], "default" = "deny"))]
    pub(super) memory: Option<Sited<String>>,
}

/// One rule: `allow`, `ask` or `deny`.
#[derive(Debug, Default, JsonSchema)]
#[schemars(
    rename = "ExecRule",
    deny_unknown_fields,
    extend("oneOf" = [{ "required": ["allow"] }, { "required": ["ask"] }, { "required": ["deny"] }])
)]
pub(super) struct ExecRuleDocument {
    /// Where the rule stands.
    #[schemars(skip)]
    pub(super) place: Option<Place>,
    /// Whether an error was found in it.
    #[schemars(skip)]
    pub(super) broken: bool,
    /// What may be executed, with everything below.
    pub(super) allow: Option<Several<PathText>>,
    /// What may be executed when a person says so; until that can be asked, it is denied.
    pub(super) ask: Option<Several<PathText>>,
    /// What may not be executed.
    pub(super) deny: Option<Several<PathText>>,
    /// The name by which events speak of the rule. `exec.N` for the Nth rule, where this is
    /// missing.
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9._-]{0,62}$"))]
    pub(super) id: Option<Sited<String>>,
}

/// Reads one path or a list of them.
pub(in super::super) fn read_paths(
    node: &Node<'_>,
    key: &'static str,
    report: &mut Report<'_>,
) -> Several<PathText> {
    Several::read(node, key, report, |node, report| text(node, key, "a path", report))
}

impl FilesDocument {
    pub(in super::super) fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, "files", "files", report)?;
        let default = fields.take("default", report);
        let rules = fields.take("rules", report);
        fields.close(report);
        Some(Self {
            default: default.and_then(|node| text(node, "default", "read, write or deny", report)),
            rules: rules.map(|node| read_rules(node, FileRuleDocument::read, report)),
        })
    }
}

impl FileRuleDocument {
    fn read(node: &Node<'_>, report: &mut Report<'_>) -> Self {
        let errors = report.count();
        let mut rule = Self::read_fields(node, report).unwrap_or_default();
        rule.broken = report.count() > errors;
        rule
    }

    fn read_fields(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, "rules", "a rule on files", report)?;
        let mut paths = |key, report: &mut Report<'_>| {
            let node = fields.take(key, report)?;
            Some(read_paths(node, key, report))
        };
        let [read, write] = ["read", "write"].map(|key| paths(key, report));
        let [ask, deny] = ["ask", "deny"].map(|key| paths(key, report));
        let id = fields.take("id", report);
        let place = Some(fields.place());
        fields.not_yet(&["audit", "kill"], report);
        fields.close(report);
        let id = id.and_then(|node| text(node, "id", "a name (in quotes)", report));
        Some(Self { place, broken: false, read, write, ask, deny, id })
    }
}

impl ExecDocument {
    pub(in super::super) fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, "exec", "exec", report)?;
        let default = fields.take("default", report);
        let rules = fields.take("rules", report);
        let from_writable = fields.take("from_writable", report);
        let memory = fields.take("memory", report);
        fields.not_yet(&["sha256"], report);
        fields.close(report);
        let word = |key, node, report: &mut Report<'_>| text(node, key, "allow or deny", report);
        Some(Self {
            default: default.and_then(|node| word("default", node, report)),
            rules: rules.map(|node| read_rules(node, ExecRuleDocument::read, report)),
            from_writable: from_writable.and_then(|node| word("from_writable", node, report)),
            memory: memory.and_then(|node| word("memory", node, report)),
        })
    }
}

impl ExecRuleDocument {
    fn read(node: &Node<'_>, report: &mut Report<'_>) -> Self {
        let errors = report.count();
        let mut rule = Self::read_fields(node, report).unwrap_or_default();
        rule.broken = report.count() > errors;
        rule
    }

    fn read_fields(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, "rules", "a rule on programs", report)?;
        let [allow, ask, deny] = ["allow", "ask", "deny"].map(|key| {
            let node = fields.take(key, report)?;
            Some(read_paths(node, key, report))
        });
        let id = fields.take("id", report);
        let place = Some(fields.place());
        fields.not_yet(&["audit", "kill", "sha256"], report);
        fields.close(report);
        let id = id.and_then(|node| text(node, "id", "a name (in quotes)", report));
        Some(Self { place, broken: false, allow, ask, deny, id })
    }
}

fn read_rules<T>(
    node: &Node<'_>,
    read: impl Fn(&Node<'_>, &mut Report<'_>) -> T,
    report: &mut Report<'_>,
) -> Vec<T> {
    let Value::List(items) = &node.value else {
        let (expected, found) = ("a list", node.described());
        let problem = Problem::WrongType { key: "rules", expected, found };
        report.at(node.place, problem, "write each rule after a dash; [] for none");
        return Vec::new();
    };
    items.iter().map(|item| read(item, report)).collect()
}
