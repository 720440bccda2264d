//! OTLP over HTTP: protobuf in a POST.

use std::io::Write as _;
use std::time::Duration;

use flate2::write::GzEncoder;
use prost::Message as _;
use prost::bytes::Bytes;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, Url};

use super::OtlpError;
use super::client::{Failure, causes, said};
use super::headers::Headers;
use super::signal::Signal;
use crate::config::{Compression, Target};
use crate::sink::delivery::{TlsError, tls_client};

const PROTOBUF: &str = "application/x-protobuf";
/// How much of an answer is read, in bytes.
const ANSWER: usize = 64 << 10;

/// A receiver behind HTTP.
pub(super) struct Http {
    client: Client,
    url: Url,
    headers: Headers,
    gzip: bool,
}

impl Http {
    pub(super) fn new(target: &Target) -> Result<Self, OtlpError> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls_client(&target.tls)?)
            .timeout(target.timeout)
            // Who is redirected to was not told that he may have the headers.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("agentguard/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| TlsError::Setup(causes(&error)))?;
        Ok(Self {
            client,
            url: target.url.clone(),
            headers: Headers::new(&target.headers)?,
            gzip: target.compression == Compression::Gzip,
        })
    }

    pub(super) async fn send<S: Signal>(
        &self,
        request: &S::Request,
    ) -> Result<S::Response, Failure> {
        let later = |why| Failure::Later { why, after: None };
        let mut headers = self.headers.now().map_err(|error| later(error.to_string()))?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
        let mut body = request.encode_to_vec();
        if self.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            body = compressed(&body).map_err(|error| later(error.to_string()))?;
        }
        let sent = self.client.post(self.url.clone()).headers(headers).body(body).send().await;
        let failed = |error: reqwest::Error| later(causes(&error.without_url()));
        let response = sent.map_err(failed)?;
        let (status, after) = (response.status().as_u16(), retry_after(response.headers()));
        let protobuf = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == PROTOBUF);
        let body = beginning(response).await.map_err(failed)?;
        match status {
            // Some receivers answer with nothing, or with JSON; taken is taken.
            200..=299 if protobuf => Ok(S::Response::decode(body.as_slice()).unwrap_or_default()),
            200..=299 => Ok(S::Response::default()),
            429 | 502 | 503 | 504 => {
                Err(Failure::Later { why: answered(status, &body, protobuf), after })
            }
            _ => Err(Failure::Final(answered(status, &body, protobuf))),
        }
    }
}

fn compressed(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

async fn beginning(mut response: Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = ANSWER.saturating_sub(body.len());
        body.extend(chunk.iter().take(room));
        if chunk.len() >= room {
            break;
        }
    }
    Ok(body)
}

/// Seconds; where it is a date, the usual delay will do.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// What a receiver answered that did not take a request: text, or a status message.
fn answered(status: u16, body: &[u8], protobuf: bool) -> String {
    let text = match protobuf.then(|| RpcStatus::decode(body)) {
        Some(Ok(status)) => status.message,
        _ => String::from_utf8_lossy(body).into_owned(),
    };
    format!("the receiver answered {status}: {}", said(&text)).trim_end_matches(": ").to_owned()
}

/// `google.rpc.Status`, as far as it is of use here.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RpcStatus {
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<RpcDetail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RpcDetail {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
}
