//! OTLP over gRPC.

use std::sync::OnceLock;
use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use prost::Message as _;
use tonic::client::Grpc as Caller;
use tonic::codec::CompressionEncoding;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::OtlpError;
use super::client::{Failure, causes, said};
use super::headers::Headers;
use super::http::RpcStatus;
use super::signal::Signal;
use crate::config::{Compression, Target};
use crate::sink::delivery::{TlsError, tls_client};

/// The detail of a status that says when to come back.
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// A receiver behind gRPC.
pub(super) struct Grpc {
    endpoint: Endpoint,
    connector: HttpsConnector<HttpConnector>,
    /// Made when it is first used: that has to be on the sinks' thread.
    channel: OnceLock<Channel>,
    headers: Headers,
    gzip: bool,
    timeout: Duration,
}

impl Grpc {
    pub(super) fn new(target: &Target) -> Result<Self, OtlpError> {
        let setup = |error: tonic::transport::Error| TlsError::Setup(causes(&error));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls_client(&target.tls)?)
            .https_or_http()
            .enable_http2()
            .build();
        let endpoint = Endpoint::from_shared(target.url.to_string())
            .and_then(|endpoint| {
                endpoint.user_agent(concat!("agentguard/", env!("CARGO_PKG_VERSION")))
            })
            .map_err(setup)?
            .connect_timeout(target.timeout);
        Ok(Self {
            endpoint,
            connector,
            channel: OnceLock::new(),
            headers: Headers::new(&target.headers)?,
            gzip: target.compression == Compression::Gzip,
            timeout: target.timeout,
        })
    }

    pub(super) async fn send<S: Signal>(
        &self,
        request: &S::Request,
    ) -> Result<S::Response, Failure> {
        let later = |why| Failure::Later { why, after: None };
        let headers = self.headers.now().map_err(|error| later(error.to_string()))?;
        let mut request = Request::new(request.clone());
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        let channel = self
            .channel
            .get_or_init(|| self.endpoint.connect_with_connector_lazy(self.connector.clone()));
        let mut caller = Caller::new(channel.clone());
        if self.gzip {
            caller = caller.send_compressed(CompressionEncoding::Gzip);
        }
        let call = async {
            let unready = |error| Status::unavailable(causes(&error));
            caller.ready().await.map_err(unready)?;
            let codec = ProstCodec::<S::Request, S::Response>::default();
            caller.unary(request, PathAndQuery::from_static(S::METHOD), codec).await
        };
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(failure(&status)),
            Err(_) => Err(later("the receiver did not answer in time".into())),
        }
    }
}

/// What a status means. Exhaustion passes only where the receiver says when.
fn failure(status: &Status) -> Failure {
    let cause = std::error::Error::source(status).map(causes).unwrap_or_default();
    let said = said(&format!("{} {cause}", status.message()));
    let why = format!("the receiver answered {:?}: {said}", status.code());
    let after = retry_info(status.details());
    match (status.code(), after) {
        (
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss,
            _,
        )
        | (Code::ResourceExhausted, Some(_)) => Failure::Later { why, after },
        // This is how a connection that breaks is told.
        (Code::Unknown, _) if std::error::Error::source(status).is_some() => {
            Failure::Later { why, after }
        }
        _ => Failure::Final(why),
    }
}

/// When to come back, out of a status's details.
fn retry_info(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let info = status.details.into_iter().find(|detail| detail.type_url == RETRY_INFO)?;
    let delay = RetryInfo::decode(info.value).ok()?.delay?;
    let whole = Duration::from_secs(u64::try_from(delay.seconds).ok()?);
    Some(whole + Duration::from_nanos(u64::try_from(delay.nanos).unwrap_or(0)))
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Length>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Length {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[cfg(test)]
mod tests {
    use prost::bytes::Bytes;

    use super::*;

    fn exhausted(details: Vec<u8>) -> Failure {
        failure(&Status::with_details(Code::ResourceExhausted, "full", details.into()))
    }

    #[test]
    fn exhaustion_passes_where_the_receiver_says_when() {
        let delay = Some(Length { seconds: 3, nanos: 500_000_000 });
        let value = Bytes::from(RetryInfo { delay }.encode_to_vec());
        let detail = super::super::http::RpcDetail { type_url: RETRY_INFO.into(), value };
        let status = RpcStatus { message: "full".into(), details: vec![detail] };
        let Failure::Later { after, why } = exhausted(status.encode_to_vec()) else { panic!() };
        assert_eq!(after, Some(Duration::from_millis(3500)));
        assert!(why.contains("ResourceExhausted") && why.contains("full"));
        assert!(matches!(exhausted(Vec::new()), Failure::Final(_)));
        assert!(matches!(exhausted(vec![0xff; 9]), Failure::Final(_)));
    }

    #[test]
    fn what_will_not_pass_is_final() {
        let of = |code| failure(&Status::new(code, "x"));
        for code in [Code::Unavailable, Code::Aborted, Code::DeadlineExceeded] {
            assert!(matches!(of(code), Failure::Later { .. }), "{code:?}");
        }
        for code in [Code::Unauthenticated, Code::InvalidArgument, Code::Unimplemented] {
            assert!(matches!(of(code), Failure::Final(_)), "{code:?}");
        }
    }
}
