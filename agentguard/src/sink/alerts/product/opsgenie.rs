//! Opsgenie's Alert API v2, and the same at Jira Service Management: created and
//! closed by `alias`.

use reqwest::Url;
use serde_json::{Map, Value, json};

use super::{Facts, JSON, ProductError, Request, Secret, facts};
use crate::config::{OpsgenieConfig, WebAddress};
use crate::event::Severity;
use crate::sink::alerts::tracker::Notice;
use crate::sink::delivery::check_url;

/// Opsgenie's own address.
pub(super) const OPSGENIE: &str = "https://api.opsgenie.com";
/// Jira Service Management's.
pub(super) const JIRA: &str = "https://api.atlassian.com/jsm/ops/integration";

/// Opsgenie or Jira Service Management.
pub(in crate::sink::alerts) struct Opsgenie {
    /// `…/v2/alerts`
    url: Url,
    api_key: Secret,
    teams: Vec<String>,
    tags: Vec<String>,
}

impl Opsgenie {
    pub(super) fn new(config: &OpsgenieConfig, base: &str) -> Result<Self, ProductError> {
        let base = config.url.as_ref().map_or(base, WebAddress::as_str).trim_end_matches('/');
        let url = check_url(&format!("{base}/v2/alerts"))?;
        let api_key = Secret::new(&config.api_key)?;
        Ok(Self { url, api_key, teams: config.teams.clone(), tags: config.tags.clone() })
    }

    pub(super) fn request(&self, notice: &Notice, facts: &Facts) -> Result<Request, ProductError> {
        let alias = facts::cut(&facts.key, 512);
        let (url, body) = match notice.resolved {
            true => (self.close(&alias), closing(facts)),
            false => (self.url.clone(), self.creating(&alias, notice, facts)),
        };
        let request = Request::post(url.as_str(), JSON, super::json(&body))?;
        Ok(request.secret("authorization", "GenieKey ", &self.api_key.get()?)?)
    }

    fn close(&self, alias: &str) -> Url {
        let mut url = self.url.clone();
        // Fails only for addresses that have no path, which ours has.
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend([alias, "close"]);
        }
        url.query_pairs_mut().append_pair("identifierType", "alias");
        url
    }

    fn creating(&self, alias: &str, notice: &Notice, facts: &Facts) -> Value {
        let details: Map<String, Value> = facts
            .details()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        let own = ["agentguard", facts.rule.as_str()].map(str::to_owned);
        let tags = own.iter().chain(&self.tags).take(20);
        let tags: Vec<String> = tags.map(|tag| facts::cut(tag, 50)).collect();
        let mut body = json!({
            "message": facts::cut(&facts.summary, 130),
            "alias": alias,
            "description": facts::cut(&description(facts), 15_000),
            "priority": priority(notice.alert.severity),
            "source": facts::cut(&facts.host, 100),
            "entity": facts::cut(&facts.agent, 512),
            "tags": tags,
            "details": details,
        });
        if !self.teams.is_empty() {
            let team = |name: &String| json!({ "type": "team", "name": name });
            body["responders"] = self.teams.iter().map(team).collect();
        }
        body
    }
}

fn closing(facts: &Facts) -> Value {
    json!({
        "source": facts::cut(&facts.host, 100),
        "user": "agentguard",
        "note": format!("over; it was raised {} times, last at {}", facts.count, facts.last),
    })
}

fn description(facts: &Facts) -> String {
    match facts.runbook.as_str() {
        "" => facts.summary.clone(),
        runbook => format!("{}\nWhat to do: {runbook}", facts.summary),
    }
}

const fn priority(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "P5",
        Severity::Low => "P4",
        Severity::Medium => "P3",
        Severity::High => "P2",
        Severity::Critical => "P1",
    }
}
