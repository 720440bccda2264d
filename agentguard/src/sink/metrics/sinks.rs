//! The books of the sinks.

use std::collections::BTreeMap;

use super::Metrics;
use super::sheet::{Read, Spec};
use crate::error::Result;
use crate::sink::{Health, Healths, Reading};

const SINK: &[&str] = &["sink"];
const OFFERED: Spec =
    Spec::counter("agentguard_sink_offered_total", SINK, "Events that a sink was offered.");
const WRITTEN: Spec = Spec::counter(
    "agentguard_sink_written_total",
    SINK,
    "Events that arrived where a sink sends them.",
);
const SAMPLED: Spec =
    Spec::counter("agentguard_sink_sampled_total", SINK, "Events that a sink left out on purpose.");
const LOST: Spec = Spec::counter(
    "agentguard_sink_lost_total",
    SINK,
    "Events that a sink had no room for or gave up.",
);
const ERRORS: Spec = Spec::counter(
    "agentguard_sink_errors_total",
    SINK,
    "How often something went wrong in a sink.",
);
const PENDING: Spec = Spec::gauge(
    "agentguard_sink_pending",
    SINK,
    "Events that a sink was offered and that are neither written, left out nor lost yet.",
);
const LATENCY: Spec = Spec::histogram(
    "agentguard_sink_latency_seconds",
    SINK,
    "How long a sink's writes, requests or batches took.",
);

/// One number of a sink's books.
type Number = fn(&Health) -> u64;

pub(super) fn register(metrics: &Metrics, healths: Healths) -> Result<()> {
    let counted: [(Spec, Number); 6] = [
        (OFFERED, Health::offered),
        (WRITTEN, Health::written),
        (SAMPLED, Health::sampled),
        (LOST, Health::lost),
        (ERRORS, Health::errors),
        (PENDING, Health::pending),
    ];
    let specs: Vec<Spec> = counted.iter().map(|(spec, _)| *spec).chain([LATENCY]).collect();
    metrics.register(Box::new(Read::new(&specs, move |sheet| {
        // One line for each name, or Prometheus would refuse all of them.
        let mut named: BTreeMap<&str, Vec<&Health>> = BTreeMap::new();
        let healths = healths.all();
        for health in &healths {
            named.entry(health.name()).or_default().push(health);
        }
        for (name, healths) in named {
            for (spec, number) in counted {
                sheet.put_count(spec, &[name], healths.iter().copied().map(number).sum());
            }
            let times = healths.iter().map(|health| health.latency().read());
            let together = times.fold(Reading::default(), |sum, more| sum.plus(&more));
            sheet.put_histogram(LATENCY, &[name], &together);
        }
    })?))
}
