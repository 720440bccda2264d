//! A receiver for the tests: takes OTLP over HTTP and gRPC on loopback, with the messages
//! and the services of `opentelemetry-proto`, keeps what came, and answers as it is told.

use std::collections::VecDeque;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
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
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Status};

/// How a request is answered. Without any of these it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Not now.
    Busy,
    /// Never.
    Refuse,
    /// It is taken, but for so many.
    Partly(i64),
    /// There is no answer.
    Hang,
}

/// What came, and what to answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Receiver(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    spans: Vec<Span>,
    logs: Vec<LogRecord>,
    metrics: Vec<Metric>,
    resource: Vec<KeyValue>,
    keys: Vec<String>,
    replies: VecDeque<Reply>,
}

impl Receiver {
    /// The next answers.
    pub(super) fn will(&self, replies: impl IntoIterator<Item = Reply>) {
        self.0.lock().unwrap().replies.extend(replies);
    }

    /// The spans that were taken.
    pub(super) fn spans(&self) -> Vec<Span> {
        self.0.lock().unwrap().spans.clone()
    }

    /// The log records that were taken.
    pub(super) fn logs(&self) -> Vec<LogRecord> {
        self.0.lock().unwrap().logs.clone()
    }

    /// The metrics that were taken.
    pub(super) fn metrics(&self) -> Vec<Metric> {
        self.0.lock().unwrap().metrics.clone()
    }

    /// The last resource.
    pub(super) fn resource(&self) -> Vec<KeyValue> {
        self.0.lock().unwrap().resource.clone()
    }

    /// What the header `api-key` was in each request.
    pub(super) fn keys(&self) -> Vec<String> {
        self.0.lock().unwrap().keys.clone()
    }

    /// Serves HTTP.
    pub(super) async fn http(&self) -> SocketAddr {
        let (traces, logs, metrics) = (self.clone(), self.clone(), self.clone());
        let traces = move |headers: HeaderMap, body: Bytes| async move {
            let request = ExportTraceServiceRequest::decode(plain(&headers, &body).as_slice());
            answer(traces.traces(request.unwrap(), text(headers.get("api-key"))).await)
        };
        let logs = move |headers: HeaderMap, body: Bytes| async move {
            let request = ExportLogsServiceRequest::decode(plain(&headers, &body).as_slice());
            answer(Ok(logs.logs_of(request.unwrap())))
        };
        let metrics = move |headers: HeaderMap, body: Bytes| async move {
            let request = ExportMetricsServiceRequest::decode(plain(&headers, &body).as_slice());
            answer(Ok(metrics.metrics_of(request.unwrap())))
        };
        let app = Router::new()
            .route("/v1/traces", post(traces))
            .route("/v1/logs", post(logs))
            .route("/v1/metrics", post(metrics));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }

    /// Serves gRPC.
    pub(super) async fn grpc(&self) -> SocketAddr {
        let gzip = CompressionEncoding::Gzip;
        let traces = TraceServiceServer::new(self.clone()).accept_compressed(gzip);
        let logs = LogsServiceServer::new(self.clone()).accept_compressed(gzip);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = MetricsServiceServer::new(self.clone()).accept_compressed(gzip);
        let server = Server::builder().add_service(traces).add_service(logs).add_service(metrics);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        address
    }

    async fn traces(
        &self,
        request: ExportTraceServiceRequest,
        key: Option<String>,
    ) -> Result<ExportTraceServiceResponse, Reply> {
        let reply = {
            let mut inner = self.0.lock().unwrap();
            inner.keys.extend(key);
            inner.replies.pop_front()
        };
        let refused = match reply {
            Some(Reply::Hang) => std::future::pending().await,
            Some(reply @ (Reply::Busy | Reply::Refuse)) => return Err(reply),
            Some(Reply::Partly(refused)) => refused,
            None => 0,
        };
        let mut inner = self.0.lock().unwrap();
        for set in request.resource_spans {
            inner.resource = set.resource.unwrap().attributes;
            inner.spans.extend(set.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
        let partial =
            ExportTracePartialSuccess { rejected_spans: refused, error_message: "too long".into() };
        let partial_success = (refused > 0).then_some(partial);
        Ok(ExportTraceServiceResponse { partial_success })
    }

    fn logs_of(&self, request: ExportLogsServiceRequest) -> ExportLogsServiceResponse {
        let scopes = request.resource_logs.into_iter().flat_map(|set| set.scope_logs);
        self.0.lock().unwrap().logs.extend(scopes.flat_map(|scope| scope.log_records));
        ExportLogsServiceResponse::default()
    }

    fn metrics_of(&self, request: ExportMetricsServiceRequest) -> ExportMetricsServiceResponse {
        let scopes = request.resource_metrics.into_iter().flat_map(|set| set.scope_metrics);
        self.0.lock().unwrap().metrics.extend(scopes.flat_map(|scope| scope.metrics));
        ExportMetricsServiceResponse::default()
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        let key = request.metadata().get("api-key");
        let key = key.map(|key| key.to_str().unwrap().to_owned());
        match self.traces(request.into_inner(), key).await {
            Ok(response) => Ok(tonic::Response::new(response)),
            Err(Reply::Busy) => Err(Status::unavailable("busy")),
            Err(_) => Err(Status::invalid_argument("no")),
        }
    }
}

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, Status> {
        Ok(tonic::Response::new(self.logs_of(request.into_inner())))
    }
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, Status> {
        Ok(tonic::Response::new(self.metrics_of(request.into_inner())))
    }
}

fn answer(reply: Result<impl prost::Message, Reply>) -> Response {
    match reply {
        Ok(message) => {
            ([("content-type", "application/x-protobuf")], message.encode_to_vec()).into_response()
        }
        Err(Reply::Busy) => {
            (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")], "busy").into_response()
        }
        Err(_) => (StatusCode::BAD_REQUEST, "no").into_response(),
    }
}

fn text(value: Option<&axum::http::HeaderValue>) -> Option<String> {
    value.map(|value| value.to_str().unwrap().to_owned())
}

fn plain(headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match headers.get("content-encoding") {
        Some(_) => flate2::read::GzDecoder::new(body).read_to_end(&mut plain).unwrap(),
        None => std::io::Cursor::new(body).read_to_end(&mut plain).unwrap(),
    };
    plain
}

/// A file of the tests' own authority.
pub(super) fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sink/otlp/testdata").join(name)
}

/// Speaks TLS in front of a receiver, to clients that have a certificate.
pub(super) async fn behind_tls(plain: SocketAddr) -> SocketAddr {
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(testdata("ca.pem")).unwrap()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_file(testdata("server.pem")).unwrap()],
            PrivateKeyDer::from_pem_file(testdata("server.key")).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut client = acceptor.accept(client).await?;
                let mut server = TcpStream::connect(plain).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    address
}
