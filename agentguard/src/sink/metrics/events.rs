//! What is counted of each event, on the daemon's thread, so that nothing is missed.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounterVec, Opts, Registry};

use super::sheet::{Read, Spec};
use crate::error::Result;
use crate::event::{Class, Event};
use crate::sink::Latency;

const PUBLISHED: Spec = Spec::histogram(
    "agentguard_publish_latency_seconds",
    &["kind"],
    "Time from the kernel's record of a decision or an activity until every sink was handed it.",
);

pub(super) struct Events {
    decisions: IntCounterVec,
    activity: IntCounterVec,
    lifecycle: IntCounterVec,
    findings: IntCounterVec,
    latency: Arc<Latencies>,
}

#[derive(Default)]
struct Latencies {
    decision: Latency,
    activity: Latency,
}

impl Events {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec> {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let latency: Arc<Latencies> = Arc::default();
        let read = Arc::clone(&latency);
        registry.register(Box::new(Read::new(&[PUBLISHED], move |sheet| {
            for (kind, latency) in [("decision", &read.decision), ("activity", &read.activity)] {
                sheet.put_histogram(PUBLISHED, &[kind], &latency.read());
            }
        })?))?;
        Ok(Self {
            decisions: counter(
                "agentguard_decisions_total",
                "Decisions by agent, action, outcome and reason.",
                &["agent", "action", "outcome", "reason"],
            )?,
            activity: counter(
                "agentguard_activity_total",
                "What sessions did, by agent and action.",
                &["agent", "action"],
            )?,
            lifecycle: counter(
                "agentguard_lifecycle_events_total",
                "Starts and ends of sessions and of the daemon, by agent, action and outcome.",
                &["agent", "action", "outcome"],
            )?,
            findings: counter(
                "agentguard_findings_total",
                "Findings, and alerts that responses asked for, by agent, rule and severity.",
                &["agent", "rule", "severity"],
            )?,
            latency,
        })
    }

    pub(super) fn count(&self, event: &Event) {
        let (agent, action) = (event.agent_role.as_str(), event.action);
        let outcome = event.outcome.as_str();
        let reason = event.reason.unwrap_or("none");
        match event.kind {
            Class::Decision => {
                self.decisions.with_label_values(&[agent, action, outcome, reason]).inc();
            }
            Class::Activity => self.activity.with_label_values(&[agent, action]).inc(),
            Class::Lifecycle => self.lifecycle.with_label_values(&[agent, action, outcome]).inc(),
            Class::Finding => {
                let Some(finding) = &event.finding else { return };
                let of = [agent, finding.rule.as_str(), finding.severity.as_str()];
                self.findings.with_label_values(&of).inc();
            }
        }
    }

    pub(super) fn published(&self, kind: Class, after: Duration) {
        match kind {
            Class::Decision => self.latency.decision.observe(after),
            Class::Activity => self.latency.activity.observe(after),
            // The kernel has no part in it.
            Class::Lifecycle | Class::Finding => {}
        }
    }
}
