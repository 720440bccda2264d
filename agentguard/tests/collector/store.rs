//! Where the collector sends on to: keeps what comes, over gRPC.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// How long the collector may take to send on.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came.
#[derive(Clone, Debug, Default)]
pub(crate) struct All {
    pub(crate) spans: Vec<Span>,
    pub(crate) logs: Vec<LogRecord>,
    pub(crate) metrics: Vec<Metric>,
}

/// The store, and what it runs on.
pub(crate) struct Store {
    pub(crate) address: String,
    all: Arc<Mutex<All>>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Clone)]
struct Service(Arc<Mutex<All>>);

impl Store {
    /// Starts it on loopback.
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let all = Arc::new(Mutex::new(All::default()));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (service, gzip) = (Service(Arc::clone(&all)), CompressionEncoding::Gzip);
        let server = Server::builder()
            .add_service(TraceServiceServer::new(service.clone()).accept_compressed(gzip))
            .add_service(LogsServiceServer::new(service.clone()).accept_compressed(gzip))
            .add_service(MetricsServiceServer::new(service).accept_compressed(gzip));
        runtime.spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        Self { address, all, _runtime: runtime }
    }

    /// All that came, once it is enough.
    pub(crate) fn until(&self, enough: impl Fn(&All) -> bool) -> All {
        let begun = Instant::now();
        loop {
            let all = self.all.lock().unwrap().clone();
            if enough(&all) {
                return all;
            }
            assert!(begun.elapsed() < PATIENCE, "not all came: {all:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// All that came, which is forgotten.
    pub(crate) fn take(&self) -> All {
        std::mem::take(&mut self.all.lock().unwrap())
    }
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let sets = request.into_inner().resource_spans.into_iter();
        let scopes = sets.flat_map(|set| set.scope_spans);
        self.0.lock().unwrap().spans.extend(scopes.flat_map(|scope| scope.spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Service {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let scopes = request.into_inner().resource_logs.into_iter().flat_map(|set| set.scope_logs);
        self.0.lock().unwrap().logs.extend(scopes.flat_map(|scope| scope.log_records));
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Service {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let sets = request.into_inner().resource_metrics.into_iter();
        let scopes = sets.flat_map(|set| set.scope_metrics);
        self.0.lock().unwrap().metrics.extend(scopes.flat_map(|scope| scope.metrics));
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}
