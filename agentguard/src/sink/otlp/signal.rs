//! The three signals of OTLP: what a request of each is, and what its answer says.

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

/// The conventions that names of attributes are of.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";

/// One of the three.
pub(super) trait Signal: Send + 'static {
    /// What a request has many of.
    type Item: Clone + Send + 'static;
    /// A request.
    type Request: prost::Message + Clone + Default + 'static;
    /// Its answer.
    type Response: prost::Message + Default + 'static;
    /// The gRPC method.
    const METHOD: &'static str;

    /// A request.
    fn request(resource: &Resource, items: Vec<Self::Item>) -> Self::Request;

    /// How many items were refused of a request that was taken, and why.
    fn refused(response: Self::Response) -> Option<(i64, String)>;
}

/// Who says all this.
fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: "agentguard".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    })
}

/// Traces.
pub(super) struct Traces;

impl Signal for Traces {
    type Item = Span;
    type Request = ExportTraceServiceRequest;
    type Response = ExportTraceServiceResponse;
    const METHOD: &'static str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

    fn request(resource: &Resource, spans: Vec<Span>) -> Self::Request {
        let scope_spans = vec![ScopeSpans { scope: scope(), spans, schema_url: SCHEMA.into() }];
        let resource = Some(resource.clone());
        let all = ResourceSpans { resource, scope_spans, schema_url: SCHEMA.into() };
        ExportTraceServiceRequest { resource_spans: vec![all] }
    }

    fn refused(response: Self::Response) -> Option<(i64, String)> {
        response.partial_success.map(|partial| (partial.rejected_spans, partial.error_message))
    }
}

/// Logs.
pub(super) struct Logs;

impl Signal for Logs {
    type Item = LogRecord;
    type Request = ExportLogsServiceRequest;
    type Response = ExportLogsServiceResponse;
    const METHOD: &'static str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

    fn request(resource: &Resource, log_records: Vec<LogRecord>) -> Self::Request {
        let scope_logs = vec![ScopeLogs { scope: scope(), log_records, schema_url: SCHEMA.into() }];
        let resource = Some(resource.clone());
        let all = ResourceLogs { resource, scope_logs, schema_url: SCHEMA.into() };
        ExportLogsServiceRequest { resource_logs: vec![all] }
    }

    fn refused(response: Self::Response) -> Option<(i64, String)> {
        let partial = response.partial_success;
        partial.map(|partial| (partial.rejected_log_records, partial.error_message))
    }
}

/// Metrics.
pub(super) struct Metrics;

impl Signal for Metrics {
    type Item = Metric;
    type Request = ExportMetricsServiceRequest;
    type Response = ExportMetricsServiceResponse;
    const METHOD: &'static str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

    fn request(resource: &Resource, metrics: Vec<Metric>) -> Self::Request {
        let scope_metrics =
            vec![ScopeMetrics { scope: scope(), metrics, schema_url: SCHEMA.into() }];
        let resource = Some(resource.clone());
        let all = ResourceMetrics { resource, scope_metrics, schema_url: SCHEMA.into() };
        ExportMetricsServiceRequest { resource_metrics: vec![all] }
    }

    fn refused(response: Self::Response) -> Option<(i64, String)> {
        let partial = response.partial_success;
        partial.map(|partial| (partial.rejected_data_points, partial.error_message))
    }
}
