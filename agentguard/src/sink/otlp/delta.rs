//! Counters as some products want them: how much was added since they were last taken.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, HistogramDataPoint, Metric, NumberDataPoint,
};

/// What counters and histograms grew by since `taken`; gauges are left as they are.
pub(super) fn since(taken: &[Metric], mut now: Vec<Metric>) -> Vec<Metric> {
    for metric in &mut now {
        let before = taken.iter().find(|before| before.name == metric.name);
        let before = before.and_then(|before| before.data.as_ref());
        match (&mut metric.data, before) {
            (Some(Data::Sum(sum)), before) => {
                sum.aggregation_temporality = AggregationTemporality::Delta as i32;
                let Some(Data::Sum(before)) = before else { continue };
                for point in &mut sum.data_points {
                    if let Some(old) = same(&before.data_points, &point.attributes) {
                        point.value = Some(Value::AsDouble(number(point) - number(old)));
                    }
                }
            }
            (Some(Data::Histogram(histogram)), before) => {
                histogram.aggregation_temporality = AggregationTemporality::Delta as i32;
                let Some(Data::Histogram(before)) = before else { continue };
                for point in &mut histogram.data_points {
                    if let Some(old) = same(&before.data_points, &point.attributes) {
                        less(point, old);
                    }
                }
            }
            _ => {}
        }
    }
    now
}

/// A value with its labels.
trait Point {
    fn labels(&self) -> &[KeyValue];
}

impl Point for NumberDataPoint {
    fn labels(&self) -> &[KeyValue] {
        &self.attributes
    }
}

impl Point for HistogramDataPoint {
    fn labels(&self) -> &[KeyValue] {
        &self.attributes
    }
}

fn same<'a, P: Point>(points: &'a [P], labels: &[KeyValue]) -> Option<&'a P> {
    points.iter().find(|point| point.labels() == labels)
}

fn number(point: &NumberDataPoint) -> f64 {
    match point.value {
        Some(Value::AsDouble(value)) => value,
        _ => 0.0,
    }
}

/// Takes from a histogram what was in it before.
fn less(point: &mut HistogramDataPoint, old: &HistogramDataPoint) {
    for (now, before) in point.bucket_counts.iter_mut().zip(&old.bucket_counts) {
        *now = now.saturating_sub(*before);
    }
    point.count = point.bucket_counts.iter().sum();
    point.sum = point.sum.zip(old.sum).map(|(now, before)| now - before);
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::metrics::v1::{Gauge, Histogram, Sum};

    use super::*;
    use crate::sink::otlp::attributes::text;

    fn metrics(values: &[(&str, f64)], buckets: [u64; 2]) -> Vec<Metric> {
        let point = |(label, value): &(&str, f64)| NumberDataPoint {
            attributes: vec![text("kind", *label)],
            value: Some(Value::AsDouble(*value)),
            ..NumberDataPoint::default()
        };
        let points: Vec<NumberDataPoint> = values.iter().map(point).collect();
        let histogram = HistogramDataPoint {
            count: buckets.iter().sum(),
            sum: Some(9.0),
            bucket_counts: buckets.to_vec(),
            ..HistogramDataPoint::default()
        };
        let all = [
            Data::Sum(Sum { data_points: points.clone(), ..Sum::default() }),
            Data::Gauge(Gauge { data_points: points }),
            Data::Histogram(Histogram { data_points: vec![histogram], ..Histogram::default() }),
        ];
        let named = all.into_iter().zip(["a", "b", "c"]);
        named
            .map(|(data, name)| Metric { name: name.into(), data: Some(data), ..Metric::default() })
            .collect()
    }

    #[test]
    fn counters_say_what_was_added_and_gauges_what_is() {
        let before = metrics(&[("x", 3.0)], [1, 2]);
        let told = since(&before, metrics(&[("x", 5.0), ("new", 7.0)], [1, 4]));
        let [Some(Data::Sum(sum)), Some(Data::Gauge(gauge)), Some(Data::Histogram(of))] =
            [&told[0].data, &told[1].data, &told[2].data]
        else {
            panic!("{told:?}")
        };
        let values = |points: &[NumberDataPoint]| points.iter().map(number).collect::<Vec<_>>();
        assert_eq!(values(&sum.data_points), [2.0, 7.0]);
        assert_eq!(values(&gauge.data_points), [5.0, 7.0]);
        let point = &of.data_points[0];
        assert_eq!((point.bucket_counts.as_slice(), point.count), (&[0, 2][..], 2));
        assert_eq!(point.sum, Some(0.0));
        let delta = AggregationTemporality::Delta as i32;
        assert_eq!((sum.aggregation_temporality, of.aggregation_temporality), (delta, delta));
        let first = since(&[], before.clone());
        let Some(Data::Sum(sum)) = &first[0].data else { panic!() };
        assert_eq!((values(&sum.data_points), sum.aggregation_temporality), (vec![3.0], delta));
    }
}
