//! The daemon's metrics, as Prometheus would find them, sent now and then. Names, labels
//! and values are the same; there is no second count of anything.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prometheus::proto::{self, MetricFamily, MetricType};

use super::attributes::text;
use super::client::{Client, Failure};
use super::delta;
use super::signal::{self, Signal as _};
use crate::config::Temporality;
use crate::sink::{Health, Metrics};

/// Sends metrics now and then.
pub(super) struct Sender {
    pub(super) metrics: Arc<Metrics>,
    pub(super) client: Client,
    pub(super) resource: Resource,
    /// How often.
    pub(super) every: Duration,
    pub(super) temporality: Temporality,
    pub(super) health: Arc<Health>,
}

impl Sender {
    /// Sends all of them again and again. What is not taken is not tried again: the next
    /// time comes soon, and has all of it.
    pub(super) async fn run(self) {
        let mut since = now();
        let mut taken = Vec::new();
        let mut tick = tokio::time::interval(self.every.max(Duration::from_secs(1)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Not at once: there is nothing to tell yet.
        tick.tick().await;
        loop {
            tick.tick().await;
            let metrics = Arc::clone(&self.metrics);
            // Reading the kernel's tables takes a while, and other sinks are on this thread.
            let gathered = tokio::task::spawn_blocking(move || metrics.gather()).await;
            let (Ok(families), time) = (gathered, now()) else { continue };
            let told = families.iter().filter_map(|family| metric(family, since, time));
            let told: Vec<Metric> = told.collect();
            let sent = match self.temporality {
                Temporality::Cumulative => told.clone(),
                Temporality::Delta => delta::since(&taken, told.clone()),
            };
            if self.send(sent).await && self.temporality == Temporality::Delta {
                (since, taken) = (time, told);
            }
        }
    }

    /// Sends once; true where it was taken.
    async fn send(&self, told: Vec<Metric>) -> bool {
        let count = u64::try_from(told.len()).unwrap_or(u64::MAX);
        let begun = Instant::now();
        let request = signal::Metrics::request(&self.resource, told);
        let sent = self.client.send::<signal::Metrics>(&request).await;
        self.health.took(begun.elapsed());
        // Only now: when the daemon stops, this ends in the middle of a request.
        self.health.add_offered(count);
        let refused = match sent {
            Ok(response) => signal::Metrics::refused(response),
            Err(Failure::Later { why, .. } | Failure::Final(why)) => {
                self.health.failed(&why);
                self.health.add_lost(count);
                return false;
            }
        };
        if let Some((refused, why)) = refused.filter(|(refused, _)| *refused > 0) {
            let why = super::client::said(&why);
            self.health.failed(&format_args!("the receiver refused {refused} points: {why}"));
        }
        self.health.add_written(count);
        true
    }
}

/// A metric with its values; `None` for one that has none, or is of a type that
/// agentguard has none of.
fn metric(family: &MetricFamily, start: u64, time: u64) -> Option<Metric> {
    let all = family.get_metric();
    let points = |value: fn(&proto::Metric) -> f64| {
        let point = |metric: &proto::Metric| NumberDataPoint {
            attributes: labels(metric),
            start_time_unix_nano: start,
            time_unix_nano: time,
            value: Some(Value::AsDouble(value(metric))),
            ..NumberDataPoint::default()
        };
        all.iter().map(point).collect()
    };
    let cumulative = AggregationTemporality::Cumulative as i32;
    let data = match family.get_field_type() {
        _ if all.is_empty() => return None,
        MetricType::COUNTER => Data::Sum(Sum {
            data_points: points(|metric| metric.get_counter().get_value()),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        MetricType::GAUGE => {
            Data::Gauge(Gauge { data_points: points(|metric| metric.get_gauge().get_value()) })
        }
        MetricType::HISTOGRAM => Data::Histogram(Histogram {
            data_points: all.iter().map(|metric| histogram(metric, start, time)).collect(),
            aggregation_temporality: cumulative,
        }),
        _ => return None,
    };
    let name = family.name();
    let unit = match name.strip_suffix("_total").unwrap_or(name) {
        name if name.ends_with("_seconds") => "s",
        name if name.ends_with("_bytes") => "By",
        _ => "",
    };
    Some(Metric {
        name: name.to_owned(),
        description: family.help().to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    })
}

/// Prometheus counts what is at most so much; OTLP counts what is between two bounds.
fn histogram(metric: &proto::Metric, start: u64, time: u64) -> HistogramDataPoint {
    let histogram = metric.get_histogram();
    let buckets = histogram.get_bucket().iter();
    let finite = buckets.filter(|bucket| bucket.upper_bound().is_finite());
    let (mut bounds, mut counts, mut below) = (Vec::new(), Vec::new(), 0);
    for bucket in finite {
        bounds.push(bucket.upper_bound());
        counts.push(bucket.cumulative_count().saturating_sub(below));
        below = bucket.cumulative_count();
    }
    counts.push(histogram.get_sample_count().saturating_sub(below));
    HistogramDataPoint {
        attributes: labels(metric),
        start_time_unix_nano: start,
        time_unix_nano: time,
        // Read bucket by bucket while others count: the sum of them is what is told.
        count: counts.iter().sum(),
        sum: Some(histogram.get_sample_sum()),
        bucket_counts: counts,
        explicit_bounds: bounds,
        ..HistogramDataPoint::default()
    }
}

fn labels(metric: &proto::Metric) -> Vec<KeyValue> {
    metric.get_label().iter().map(|label| text(label.name(), label.value())).collect()
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use prometheus::{HistogramOpts, Opts, Registry};

    use super::*;

    #[test]
    fn metrics_have_the_names_labels_and_values_that_prometheus_finds() {
        let registry = Registry::new();
        let counter = prometheus::CounterVec::new(Opts::new("a_bytes_total", "A."), &["kind"]);
        let counter = counter.unwrap();
        counter.with_label_values(&["x"]).inc_by(3.0);
        let gauge = prometheus::Gauge::new("b", "B.").unwrap();
        gauge.set(-1.5);
        let options = HistogramOpts::new("c_seconds", "C.").buckets(vec![1.0, 2.0]);
        let histogram = prometheus::Histogram::with_opts(options).unwrap();
        [0.5, 1.5, 1.6, 9.0].into_iter().for_each(|value| histogram.observe(value));
        registry.register(Box::new(counter)).unwrap();
        registry.register(Box::new(gauge)).unwrap();
        registry.register(Box::new(histogram)).unwrap();
        let all: Vec<Metric> =
            registry.gather().iter().filter_map(|family| metric(family, 1, 2)).collect();
        let [a, b, c] = &all[..] else { panic!("{all:?}") };
        let (Some(Data::Sum(sum)), "By") = (&a.data, a.unit.as_str()) else { panic!("{a:?}") };
        assert!(sum.is_monotonic);
        assert_eq!(sum.data_points[0].attributes, [text("kind", "x")]);
        assert_eq!(sum.data_points[0].value, Some(Value::AsDouble(3.0)));
        assert!(matches!(&b.data, Some(Data::Gauge(gauge))
            if gauge.data_points[0].value == Some(Value::AsDouble(-1.5))));
        let (Some(Data::Histogram(of)), "s") = (&c.data, c.unit.as_str()) else { panic!("{c:?}") };
        let point = &of.data_points[0];
        assert_eq!((point.count, point.sum), (4, Some(12.6)));
        assert_eq!(point.bucket_counts, [1, 2, 1]);
        assert_eq!(point.explicit_bounds, [1.0, 2.0]);
    }
}
