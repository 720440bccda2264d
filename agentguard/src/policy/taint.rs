//! What holds for the egress of a session once it has read a secret: a policy beside the
//! policy, with other rules for the network and all else the same.

use std::fmt::Write;
use std::sync::Arc;

use agentguard_common::verdict::Verdict;
use schemars::JsonSchema;

use super::document::RuleDocument;
use super::error::Problem;
use super::fields::{Fields, text};
use super::meaning::{bad_word, rules};
use super::model::{EgressSection, Policy};
use super::place::{Place, Sited};
use super::report::Report;
use super::shape::DenyText;
use super::yaml::{Node, Value};
use super::{check, explain};

/// The key in a policy.
const KEY: &str = "tainted";

/// What holds once a session is tainted.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "Tainted", deny_unknown_fields)]
pub(super) struct TaintedDocument {
    /// Where the map stands.
    #[schemars(skip)]
    pub(super) place: Option<Place>,
    /// What may be reached over the network from then on, in the place of the section
    /// egress: nothing (the word deny), or what other rules allow.
    #[schemars(required)]
    pub(super) egress: Option<TaintedEgress>,
}

/// What may be reached.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub(super) enum TaintedEgress {
    /// Nothing.
    Nothing(DenyText),
    /// What these rules allow.
    By(TaintedRules),
}

/// Rules for the network of a tainted session.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "TaintedEgress", deny_unknown_fields)]
pub(super) struct TaintedRules {
    /// What happens where no rule matches. allow only where the section egress says so.
    #[schemars(extend("enum" = ["deny", "allow"], "default" = "deny"))]
    pub(super) default: Option<Sited<String>>,
    /// The rules, as those of the section egress. Names are looked up as that says.
    pub(super) rules: Option<Vec<RuleDocument>>,
}

impl TaintedDocument {
    pub(super) fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, KEY, KEY, report)?;
        let mend = "write egress: deny, or egress: with the rules that hold from then on";
        let egress = fields.require("egress", mend, report);
        let place = fields.place();
        fields.close(report);
        let egress = egress.and_then(|node| TaintedEgress::read(node, report));
        Some(Self { place: Some(place), egress })
    }
}

impl TaintedEgress {
    fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        if !matches!(node.value, Value::Map(_)) {
            let word = text(node, "egress", "deny, or rules", report)?;
            match word.value.as_str() {
                "deny" => return Some(Self::Nothing(DenyText)),
                "ask" => {
                    let problem = Problem::NotSupported("egress: ask".to_owned());
                    report.at(word.place, problem, "write deny, or rules");
                }
                _ => bad_word(Some(&word), "egress", "write deny, or rules", report),
            }
            return None;
        }
        let mut fields = Fields::open(node, "egress", "the egress of tainted", report)?;
        let default = fields.take("default", report);
        let rules = fields.take("rules", report);
        fields.close(report);
        Some(Self::By(TaintedRules {
            default: default.and_then(|node| text(node, "default", "deny or allow", report)),
            rules: rules.map(|node| RuleDocument::read_all(node, report)),
        }))
    }
}

/// The policy that holds once a session of `policy` is tainted.
pub(super) fn meaning(
    document: TaintedDocument,
    policy: &Policy,
    report: &mut Report<'_>,
) -> Option<Arc<Policy>> {
    if policy.secrets.is_empty()
        && let Some(place) = document.place
    {
        let problem = Problem::Misplaced { key: KEY, what: "a policy without secrets" };
        report.at(place, problem, "name the files under secrets: that taint a session");
    }
    let (default, rules) = match document.egress? {
        TaintedEgress::Nothing(_) => (Verdict::Deny, Vec::new()),
        TaintedEgress::By(TaintedRules { default, rules: documents }) => {
            let default = self::default(default.as_ref(), policy, report);
            let rules = rules("tainted.egress", &documents.unwrap_or_default(), report);
            check::rules(&rules, report);
            (default, rules)
        }
    };
    let named = rules.iter().any(|rule| !rule.names.is_empty());
    let dns = policy.egress.lookups().or_else(|| named.then(super::Dns::default));
    let egress = EgressSection { default, rules, dns, tls: policy.egress.tls };
    Some(Arc::new(Policy { egress, is_tainted: true, ..policy.clone() }))
}

fn default(word: Option<&Sited<String>>, policy: &Policy, report: &mut Report<'_>) -> Verdict {
    match word.map(|word| word.value.as_str()) {
        None | Some("deny") => Verdict::Deny,
        Some("allow") => {
            if policy.egress.default != Verdict::Allow
                && let Some(word) = word
            {
                let what = "a policy whose egress denies by default";
                let problem = Problem::Misplaced { key: "default: allow", what };
                report.at(word.place, problem, "write deny: a taint takes away and never gives");
            }
            Verdict::Allow
        }
        Some(_) => {
            bad_word(word, "default", "write deny or allow", report);
            Verdict::Deny
        }
    }
}

/// Says in words what it means.
pub(super) fn in_words(out: &mut String, policy: &Policy) -> std::fmt::Result {
    let Some(tainted) = &policy.tainted else { return Ok(()) };
    writeln!(out, "\nNetwork, once the session has read a secret")?;
    explain::egress(out, &tainted.egress)
}
