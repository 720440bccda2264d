//! The endpoint: `/metrics` for Prometheus, `/healthz` for whoever restarts services.
//!
//! Neither says anything secret, so there is no password. What an endpoint may cost
//! the daemon is bounded: connections, the time that each may take, and readings at
//! the same time.

use std::net::{SocketAddr, TcpListener as Bound};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Metrics;
use crate::error::{Error, Result};

/// Connections at the same time; more have to wait.
const CONNECTIONS: usize = 16;
/// How long a request's head may take to arrive.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection may last. Each is good for one request.
const CONNECTION: Duration = Duration::from_secs(30);

/// An address that the daemon has got, before it serves on it.
pub struct Endpoint {
    listener: Bound,
}

impl Endpoint {
    /// Takes the address.
    ///
    /// # Errors
    ///
    /// Where it is in use or not this host's.
    pub fn bind(address: SocketAddr) -> Result<Self> {
        let failed = || Error::system(format!("serve metrics on {address} (metrics.listen)"));
        let listener = Bound::bind(address).map_err(failed())?;
        listener.set_nonblocking(true).map_err(failed())?;
        Ok(Self { listener })
    }

    /// The address, with the port that was given out where 0 was asked for.
    ///
    /// # Errors
    ///
    /// Where the system does not say.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(Error::system("find the endpoint's address"))
    }
}

struct Served {
    metrics: Arc<Metrics>,
    /// One reading at a time: each may copy whole tables.
    reading: Semaphore,
}

/// Serves until it is dropped.
pub(in crate::sink) async fn serve(endpoint: Endpoint, metrics: Arc<Metrics>) {
    let listener = match TcpListener::from_std(endpoint.listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "cannot serve metrics");
            return;
        }
    };
    let served = Arc::new(Served { metrics, reading: Semaphore::new(1) });
    let router = Router::new()
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(health))
        .with_state(served);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // Those in progress end with the endpoint.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                connections.spawn(async move {
                    let _place = place;
                    // Whoever is too slow comes again.
                    let _ = tokio::time::timeout(CONNECTION, answer(stream, router)).await;
                });
            }
            Err(error) => {
                // Out of descriptors, for example: those that are open will close.
                tracing::warn!(%error, "cannot accept a connection for metrics");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(stream: TcpStream, router: Router) {
    let done = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
    if let Err(error) = done {
        tracing::debug!(%error, "a connection for metrics ended early");
    }
}

async fn metrics_text(State(served): State<Arc<Served>>) -> Response {
    let Ok(_turn) = served.reading.acquire().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let metrics = Arc::clone(&served.metrics);
    // Reading tables blocks, and the sinks share this thread.
    let text = tokio::task::spawn_blocking(move || metrics.text()).await;
    match text {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn health(State(served): State<Arc<Served>>) -> Response {
    match served.metrics.overview().check() {
        Ok(()) => "ok\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}
