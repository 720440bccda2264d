//! What is told of an alert, whatever the product: names and values.

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::tracker::{Moment, Notice};

/// What a notice says, as names and values. It is what templates see
/// (docs/integrations.md).
#[derive(Clone, Debug, Serialize)]
pub(super) struct Facts {
    /// `firing` or `resolved`.
    pub(super) status: &'static str,
    /// Tells this alert from others; the same when it is over.
    pub(super) key: String,
    pub(super) rule: String,
    pub(super) severity: &'static str,
    pub(super) summary: String,
    pub(super) agent: String,
    /// Empty where it is about no session.
    pub(super) session: String,
    pub(super) host: String,
    pub(super) resource: String,
    /// 0 to 1.
    pub(super) confidence: f64,
    /// The id of the event that raised it.
    pub(super) event: String,
    /// The session's trace id; empty where it is about no session.
    pub(super) correlation_id: String,
    /// How often it was raised.
    pub(super) count: u64,
    /// When, in RFC 3339.
    pub(super) first: String,
    pub(super) last: String,
    /// Where to read what to do; empty where none is configured.
    pub(super) runbook: String,
}

impl Facts {
    /// Of a notice, with what comes before the rule's name in a runbook's address.
    pub(super) fn of(notice: &Notice, runbook: Option<&str>) -> Self {
        let alert = &notice.alert;
        let rule = alert.key.rule.clone();
        Self {
            status: if notice.resolved { "resolved" } else { "firing" },
            key: alert.key.word(),
            severity: alert.severity.as_str(),
            summary: alert.summary.clone(),
            agent: alert.agent.clone(),
            session: alert.key.session.clone().unwrap_or_default(),
            host: alert.key.host.clone(),
            resource: alert.resource.clone(),
            confidence: alert.confidence,
            event: alert.event.clone(),
            correlation_id: alert.correlation_id.clone().unwrap_or_default(),
            count: notice.count,
            first: rfc3339(notice.first),
            last: rfc3339(notice.last),
            runbook: runbook.map(|before| format!("{before}{rule}")).unwrap_or_default(),
            rule,
        }
    }

    /// Those worth showing beside the summary, without empty ones.
    pub(super) fn details(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("agent", self.agent.clone()),
            ("session", self.session.clone()),
            ("host", self.host.clone()),
            ("rule", self.rule.clone()),
            ("severity", self.severity.to_owned()),
            ("resource", self.resource.clone()),
            ("confidence", self.confidence.to_string()),
            ("event", self.event.clone()),
            ("correlation_id", self.correlation_id.clone()),
            ("count", self.count.to_string()),
            ("first", self.first.clone()),
            ("last", self.last.clone()),
            ("runbook", self.runbook.clone()),
        ];
        all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }
}

/// A moment in RFC 3339.
pub(super) fn rfc3339(moment: Moment) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(moment) * 1_000_000);
    time.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

/// The beginning of a text, up to that many characters, where products set limits.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_characters_and_says_so() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüx", 3), "äö…");
        assert_eq!(cut("", 3), "");
    }

    #[test]
    fn moments_are_written_as_rfc_3339() {
        assert_eq!(rfc3339(1_795_383_378_279), "2026-11-22T21:36:18.279Z");
        assert_eq!(rfc3339(u64::MAX), "", "far beyond the calendar");
    }
}
