//! What the sections on paths mean: see [`super::super::meaning`].

use std::collections::HashMap;
use std::path::PathBuf;

use agentguard_common::verdict::Verdict;

use super::super::MAX_RULES;
use super::super::error::Problem;
use super::super::meaning::{bad_word, id, read_all};
use super::super::place::{Place, Sited};
use super::super::report::{Report, quoted};
use super::super::shape::{PathText, Several};
use super::bind::names_of;
use super::document::{ExecDocument, FilesDocument};
use super::model::{ExecSection, FilesSection, Grant, PathRule};
use super::pattern::{Base, PathPattern};

/// The sections.
#[derive(Debug, Default)]
pub(in super::super) struct Sections {
    pub(in super::super) files: Option<FilesSection>,
    pub(in super::super) exec: Option<ExecSection>,
    pub(in super::super) secrets: Vec<Sited<PathPattern>>,
    pub(in super::super) workspace: Option<PathBuf>,
}

/// The sections as they are written.
#[derive(Debug, Default)]
pub(in super::super) struct Written {
    pub(in super::super) files: Option<FilesDocument>,
    pub(in super::super) exec: Option<ExecDocument>,
    pub(in super::super) secrets: Option<Several<PathText>>,
    pub(in super::super) workspace: Option<Sited<String>>,
}

/// A rule as it is written, of either section.
struct Draft<'d, V> {
    place: Option<Place>,
    broken: bool,
    texts: Vec<(V, &'d Several<PathText>)>,
    id: Option<&'d Sited<String>>,
}

/// Finds out what the sections mean. Rules are numbered after `before` others; `matched` says
/// that processes are taken in of which nothing is known beforehand.
pub(in super::super) fn sections(
    written: &Written,
    before: usize,
    matched: bool,
    report: &mut Report<'_>,
) -> Sections {
    let workspace = written.workspace.as_ref().and_then(|text| workspace(text, report));
    let files = written.files.as_ref().map(|files| of_files(files, before, report));
    let drafted = |rules: Option<usize>| rules.unwrap_or(0);
    let listed = written.files.as_ref().and_then(|files| Some(files.rules.as_ref()?.len()));
    let before = before.saturating_add(drafted(listed));
    let exec = written.exec.as_ref().map(|exec| of_exec(exec, before, report));
    let secrets = written.secrets.as_ref();
    let secrets = secrets.map(|texts| read_all(&texts.texts, PathPattern::parse, report));
    let secrets = secrets.unwrap_or_default();
    clashes(secrets.iter().map(|path| ("secret", path)), report);
    let found = Sections { files, exec, secrets, workspace };
    if matched {
        found.paths().for_each(|path| refuse_unknown(path, found.workspace.is_some(), report));
    }
    found
}

impl Sections {
    fn paths(&self) -> impl Iterator<Item = &Sited<PathPattern>> {
        let files = self.files.iter().flat_map(|files| &files.rules).flat_map(|rule| &rule.paths);
        let exec = self.exec.iter().flat_map(|exec| &exec.rules).flat_map(|rule| &rule.paths);
        files.chain(exec).chain(&self.secrets)
    }
}

/// Of a process that is taken in nobody says what the variables stand for.
fn refuse_unknown(path: &Sited<PathPattern>, has_workspace: bool, report: &mut Report<'_>) {
    let (variable, mend) = match path.value.base() {
        Base::Workspace if !has_workspace => {
            ("${workspace}".to_owned(), "give the policy workspace: PATH, or write the path here")
        }
        Base::Variable(name) => (format!("${{{name}}}"), "write the path here, or remove match"),
        _ => return,
    };
    report.at(path.place, Problem::UnboundVariable { variable }, mend);
}

fn workspace(text: &Sited<String>, report: &mut Report<'_>) -> Option<PathBuf> {
    match names_of(text.value.as_bytes()) {
        Some(names) if !names.is_empty() => Some(PathBuf::from(&text.value)),
        _ => {
            let why = "is no absolute path of a directory below the root";
            let problem = Problem::BadPath { text: quoted(&text.value), why };
            report.at(text.place, problem, "write it without ., .., empty parts and variables");
            None
        }
    }
}

fn of_files(document: &FilesDocument, before: usize, report: &mut Report<'_>) -> FilesSection {
    let default = match document.default.as_ref().map(|word| word.value.as_str()) {
        None | Some("read") => Grant::Read,
        Some("write") => Grant::Write,
        Some("deny") => Grant::Deny,
        Some(_) => {
            let mend = "write read, write or deny";
            bad_word(document.default.as_ref(), "default", mend, report);
            Grant::Deny
        }
    };
    let drafts = document.rules.iter().flatten().map(|rule| Draft {
        place: rule.place,
        broken: rule.broken,
        texts: given([
            (Grant::Read, &rule.read),
            (Grant::Write, &rule.write),
            (Grant::Ask, &rule.ask),
            (Grant::Deny, &rule.deny),
        ]),
        id: rule.id.as_ref(),
    });
    let rules = rules(("files", "read, write, ask or deny"), drafts.collect(), before, report);
    let paths =
        rules.iter().flat_map(|rule| rule.paths.iter().map(|path| (rule.verdict.as_str(), path)));
    clashes(paths, report);
    FilesSection { default, rules }
}

fn of_exec(document: &ExecDocument, before: usize, report: &mut Report<'_>) -> ExecSection {
    let default = verdict(document.default.as_ref(), "default", Verdict::Allow, report);
    let from_writable =
        verdict(document.from_writable.as_ref(), "from_writable", Verdict::Allow, report);
    let memory = verdict(document.memory.as_ref(), "memory", Verdict::Deny, report);
    let drafts = document.rules.iter().flatten().map(|rule| Draft {
        place: rule.place,
        broken: rule.broken,
        texts: given([
            (Verdict::Allow, &rule.allow),
            (Verdict::Ask, &rule.ask),
            (Verdict::Deny, &rule.deny),
        ]),
        id: rule.id.as_ref(),
    });
    let rules = rules(("exec", "allow, ask or deny"), drafts.collect(), before, report);
    let paths =
        rules.iter().flat_map(|rule| rule.paths.iter().map(|path| (rule.verdict.as_str(), path)));
    clashes(paths, report);
    ExecSection { default, rules, from_writable, memory }
}

fn verdict(
    word: Option<&Sited<String>>,
    key: &'static str,
    missing: Verdict,
    report: &mut Report<'_>,
) -> Verdict {
    match word.map(|word| word.value.as_str()) {
        None => missing,
        Some("allow") => Verdict::Allow,
        Some("deny") => Verdict::Deny,
        Some(_) => {
            bad_word(word, key, "write allow or deny", report);
            Verdict::Deny
        }
    }
}

fn given<V, const N: usize>(
    all: [(V, &Option<Several<PathText>>); N],
) -> Vec<(V, &Several<PathText>)> {
    all.into_iter().filter_map(|(verdict, texts)| Some((verdict, texts.as_ref()?))).collect()
}

/// The rules that are in order by themselves.
fn rules<V: Copy>(
    (section, verdicts): (&'static str, &'static str),
    drafts: Vec<Draft<'_, V>>,
    before: usize,
    report: &mut Report<'_>,
) -> Vec<PathRule<V>> {
    let all = before.saturating_add(drafts.len());
    if all > MAX_RULES {
        let place = drafts.first().and_then(|draft| draft.place);
        let mend = "write fewer rules, or split the agent's work";
        report.at(place.unwrap_or(Place { line: 1, column: 1 }), Problem::TooManyRules(all), mend);
        return Vec::new();
    }
    let mut rules = Vec::with_capacity(drafts.len());
    for (at, draft) in (1usize..).zip(drafts) {
        let Some(place) = draft.place else { continue };
        let errors = report.count();
        let id = id(section, at, draft.id, report);
        let mut texts = draft.texts.into_iter();
        let (verdict, texts) = match (texts.next(), texts.next()) {
            (Some(one), None) => one,
            (Some(_), Some(_)) => {
                report.at(place, Problem::TwoVerdicts, "write two rules, one for each");
                continue;
            }
            (None, _) => {
                if !draft.broken {
                    let problem = Problem::Missing { key: verdicts, section: "the rule" };
                    report.at(place, problem, "say what it is for");
                }
                continue;
            }
        };
        let paths = read_all(&texts.texts, PathPattern::parse, report);
        if report.count() == errors && !draft.broken {
            let number = u32::try_from(before.saturating_add(at)).unwrap_or(u32::MAX);
            rules.push(PathRule { number, id, verdict, paths, place });
        }
    }
    rules
}

/// Refuses paths that stand twice in a section.
fn clashes<'p>(
    paths: impl Iterator<Item = (&'static str, &'p Sited<PathPattern>)>,
    report: &mut Report<'_>,
) {
    let mut seen: HashMap<&PathPattern, (&'static str, Place)> = HashMap::new();
    for (verdict, path) in paths {
        let (other, first) = *seen.entry(&path.value).or_insert((verdict, path.place));
        if first == path.place {
            continue;
        }
        let what = format!("{verdict} {}", path.value);
        let problem = if other == verdict {
            Problem::Repeated { what, first: first.line }
        } else {
            Problem::Contradiction { what, first: first.line, other }
        };
        report.at(path.place, problem, "keep one of the two");
    }
}
