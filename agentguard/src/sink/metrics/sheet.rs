//! Metrics whose values are read when somebody asks for them: a list of what there
//! is, and a function that fills in the values.
//!
//! Labels are bounded by what is declared: agents, kinds, states, tables. Never a
//! process, a path, a session or a free name.

use std::collections::BTreeMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use crate::error::Result;
use crate::sink::{BOUNDS, Reading};

/// A metric, as it is declared.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its name: `agentguard_…`, in base units, `_total` where it only grows.
    pub name: &'static str,
    /// What it says, in one sentence.
    pub help: &'static str,
    /// Its type: [`MetricType::COUNTER`], [`MetricType::GAUGE`] or
    /// [`MetricType::HISTOGRAM`].
    pub kind: MetricType,
    /// The names of its labels.
    pub labels: &'static [&'static str],
}

impl Spec {
    /// A number that only grows.
    #[must_use]
    pub const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, help, kind: MetricType::COUNTER, labels }
    }

    /// A number that goes up and down.
    #[must_use]
    pub const fn gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, help, kind: MetricType::GAUGE, labels }
    }

    /// How long things take, in seconds.
    #[must_use]
    pub const fn histogram(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, help, kind: MetricType::HISTOGRAM, labels }
    }
}

/// The values of one reading.
#[derive(Default)]
pub struct Sheet {
    families: BTreeMap<&'static str, (Spec, Vec<Metric>)>,
}

impl Sheet {
    /// Puts a counter's or a gauge's value down, the labels' values in the order of
    /// their names.
    pub fn put(&mut self, spec: Spec, labels: &[&str], value: f64) {
        let mut metric = labelled(spec, labels);
        match spec.kind {
            MetricType::COUNTER => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            _ => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        self.add(spec, metric);
    }

    /// The same of a whole number. Above 2^53 the last digits are not exact.
    pub fn put_count(&mut self, spec: Spec, labels: &[&str], count: u64) {
        self.put(spec, labels, float(count));
    }

    /// Puts a histogram down.
    pub fn put_histogram(&mut self, spec: Spec, labels: &[&str], reading: &Reading) {
        let buckets = BOUNDS.iter().zip(reading.at_most).map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(float(*bound) / 1e9);
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(reading.count);
        histogram.set_sample_sum(float(reading.nanoseconds) / 1e9);
        let mut metric = labelled(spec, labels);
        metric.set_histogram(histogram);
        self.add(spec, metric);
    }

    fn add(&mut self, spec: Spec, metric: Metric) {
        self.families.entry(spec.name).or_insert((spec, Vec::new())).1.push(metric);
    }
}

fn labelled(spec: Spec, values: &[&str]) -> Metric {
    let pairs = spec.labels.iter().zip(values).map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}

/// Every metric is a float.
#[expect(clippy::cast_precision_loss, reason = "beyond 2^53 the last digits say nothing")]
const fn float(count: u64) -> f64 {
    count as f64
}

/// A collector made of a list and a function.
pub struct Read<F> {
    descriptions: Vec<Desc>,
    read: F,
}

impl<F: Fn(&mut Sheet) + Send + Sync> Read<F> {
    /// Reads these metrics by that function.
    ///
    /// # Errors
    ///
    /// Where a name is none that Prometheus takes.
    pub fn new(specs: &[Spec], read: F) -> Result<Self> {
        let described = specs.iter().map(|spec| {
            let labels = spec.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(spec.name.into(), spec.help.into(), labels, std::collections::HashMap::new())
        });
        Ok(Self { descriptions: described.collect::<std::result::Result<_, _>>()?, read })
    }
}

impl<F: Fn(&mut Sheet) + Send + Sync> Collector for Read<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut sheet = Sheet::default();
        (self.read)(&mut sheet);
        let family = |(spec, metrics): (Spec, Vec<Metric>)| {
            let mut family = MetricFamily::default();
            family.set_name(spec.name.into());
            family.set_help(spec.help.into());
            family.set_field_type(spec.kind);
            family.set_metric(metrics);
            family
        };
        sheet.families.into_values().map(family).collect()
    }
}
