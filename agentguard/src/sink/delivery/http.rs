//! HTTP requests, and what their answers mean for whether to try again.
//!
//! No URL and no header value gets into an error's text: with many products one of
//! them is the secret. What a receiver says in its answer is shown without the secrets
//! of the request.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};

use super::Answer;
use super::tls::{self, TlsError};
use crate::config::{SecretError, TlsConfig};

/// How long a receiver may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How much of an answer is read, in bytes.
const ANSWER: usize = 256 << 10;
/// How much of an answer is shown in an error, in characters.
const SHOWN: usize = 200;

/// One request.
pub(crate) struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    secrets: Vec<SecretString>,
    body: Vec<u8>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the path nor the body, which may be secrets.
        write!(f, "{} to {}", self.method, self.url.host_str().unwrap_or_default())
    }
}

/// Why a request cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// A secret cannot be had.
    #[error("{0}")]
    Secret(#[from] SecretError),
    /// The URL is none. It is not shown, as it may be a secret.
    #[error("the URL cannot be used: {0}\n  = give a whole one, beginning with https://")]
    Url(String),
    /// A header that says who we are has its value in the configuration.
    #[error(
        "the header {0:?} is a secret, which is not written here\n  = say where it is: {{file: PATH}}, {{credential: NAME}} or {{env: NAME}}"
    )]
    Inline(String),
    /// A header's name or value cannot be.
    #[error(
        "the header {0:?} cannot be sent\n  = its name or its value has characters that HTTP does not allow"
    )]
    Header(String),
}

impl RequestError {
    /// What it means for a message: a secret that is gone is about to be put there anew;
    /// anything else stays as it is.
    pub(crate) fn answer(&self) -> Answer {
        match self {
            Self::Secret(error) => Answer::Later { after: None, why: error.to_string() },
            other => Answer::Refused(other.to_string()),
        }
    }
}

impl Request {
    /// A POST of a body of that type.
    ///
    /// # Errors
    ///
    /// Where the URL is none.
    pub(crate) fn post(
        url: &str,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Self, RequestError> {
        let url = parse(url)?;
        let mut headers = HeaderMap::new();
        headers.insert(reqwest::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Ok(Self { method: Method::POST, url, headers, secrets: Vec::new(), body })
    }

    /// Another method.
    pub(crate) fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// With a header more.
    ///
    /// # Errors
    ///
    /// Where it cannot be one.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Result<Self, RequestError> {
        let wrong = || RequestError::Header(name.to_owned());
        let header = HeaderName::try_from(name).map_err(|_| wrong())?;
        self.headers.insert(header, HeaderValue::try_from(value).map_err(|_| wrong())?);
        Ok(self)
    }

    /// With a secret in a header, after a word that is none (`Bearer `).
    ///
    /// # Errors
    ///
    /// Where it cannot be one.
    pub(crate) fn secret(
        mut self,
        name: &str,
        before: &str,
        secret: &SecretString,
    ) -> Result<Self, RequestError> {
        let value = SecretString::from(format!("{before}{}", secret.expose_secret()));
        self = self.header(name, value.expose_secret())?;
        if let Some(value) =
            HeaderName::try_from(name).ok().and_then(|name| self.headers.get_mut(name))
        {
            value.set_sensitive(true);
        }
        self.secrets.push(secret.clone());
        Ok(self)
    }

    /// The URL or the body has this secret in it, which must not be shown.
    pub(crate) fn hide(mut self, secret: &SecretString) -> Self {
        self.secrets.push(secret.clone());
        self
    }
}

/// A URL of a web server.
///
/// # Errors
///
/// Where it is none; the text is not shown.
pub(crate) fn parse(url: &str) -> Result<Url, RequestError> {
    let url = Url::parse(url).map_err(|error| RequestError::Url(error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(RequestError::Url("there is a user or a password in it: use `login`".into()));
    }
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(RequestError::Url("it is neither http nor https".to_owned())),
    }
}

/// An answer that came.
#[derive(Debug)]
pub(crate) struct Response {
    /// Its code.
    pub(crate) status: StatusCode,
    after: Option<Duration>,
    /// The beginning of its body.
    pub(crate) body: Vec<u8>,
    secrets: Vec<SecretString>,
}

/// Sends requests.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    client: Client,
}

impl Http {
    /// With TLS as configured.
    ///
    /// # Errors
    ///
    /// Where TLS cannot be set up.
    pub(crate) fn new(tls: &TlsConfig) -> Result<Self, TlsError> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls::client(tls)?)
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT)
            // Elsewhere nobody has been told that he may have the secret.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("agentguard/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| TlsError::Setup(error.without_url().to_string()))?;
        Ok(Self { client })
    }

    /// Sends a request and says what its answer means. `look` has the say about an
    /// answer that is a success by its code; `None` from it means that it is one.
    pub(crate) async fn send(
        &self,
        request: Request,
        look: impl FnOnce(&Response) -> Option<Answer>,
    ) -> Answer {
        match self.try_send(request).await {
            Ok(response) if response.status.is_success() => {
                look(&response).unwrap_or(Answer::Taken)
            }
            Ok(response) => response.refusal(),
            Err(error) => Answer::Later { after: None, why: told(error) },
        }
    }

    async fn try_send(&self, request: Request) -> reqwest::Result<Response> {
        let Request { method, url, headers, secrets, body } = request;
        let sent = self.client.request(method, url).headers(headers).body(body).send().await?;
        let (status, after) = (sent.status(), retry_after(sent.headers()));
        let body = beginning(sent).await?;
        Ok(Response { status, after, body, secrets })
    }
}

/// Reads an answer, but not more than a sane one has.
async fn beginning(mut response: reqwest::Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = ANSWER.saturating_sub(body.len());
        body.extend(chunk.iter().take(room));
        if room <= chunk.len() {
            break;
        }
    }
    Ok(body)
}

/// Seconds; a date, which is allowed too, is not worth a parser: the backoff will do.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// What went wrong, down to its cause, without the URL.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(&format!(": {next}"));
        cause = next.source();
    }
    text
}

impl Response {
    /// What a code that is no success means. What a person can mend (a wrong key, a
    /// wrong place) is tried again: until he does, the spool keeps the events.
    fn refusal(&self) -> Answer {
        let why = format!("the receiver answered {}: {}", self.status, self.said());
        match self.status.as_u16() {
            401 | 402 | 403 | 404 | 405 | 407 | 408 | 421 | 423 | 425 | 426 | 429 => {
                Answer::Later { after: self.after, why }
            }
            400..=499 => Answer::Refused(why),
            _ => Answer::Later { after: self.after, why },
        }
    }

    /// The beginning of the answer's text, without the request's secrets.
    pub(crate) fn said(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.body).into_owned();
        for secret in &self.secrets {
            text = text.replace(secret.expose_secret(), "[secret]");
        }
        let text = text.trim().chars().take(SHOWN);
        text.map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
