//! The log stores: which words each has, how a request to it looks, and what its
//! answers mean.

use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::batch::{self, Frame};
use super::encode::{Cef, Datadog, Ecs, Splunk, ocsf};
use super::syslog::{self, Syslog};
use crate::config::{
    DatadogConfig, ElasticsearchConfig, ExportProduct, ExportSink, HttpStoreConfig, PantherConfig,
    SecretError, SplunkConfig, SumoLogicConfig, WebAddress,
};
use crate::event::Event;
use crate::sink::delivery::{
    Answer, Credentials, Headers, Http, Message, Receiver, Request, RequestError, Response, Secret,
    TlsError, Word, check_url,
};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

/// Why a store cannot be fed as configured.
#[derive(Debug, thiserror::Error)]
pub(in crate::sink) enum StoreError {
    /// A secret cannot be had, or the request not be made.
    #[error("{0}")]
    Request(#[from] RequestError),
    /// TLS cannot be set up.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// The address of a syslog server is none.
    #[error("{0:?} is no address of a syslog server\n  = write HOST:PORT, as syslog.example:6514")]
    Address(String),
}

impl From<SecretError> for StoreError {
    fn from(error: SecretError) -> Self {
        Self::Request(error.into())
    }
}

/// A store, ready to be fed.
pub(super) struct Store {
    word: &'static str,
    encoder: Encoder,
    way: Way,
}

enum Way {
    Http(Box<Web>),
    Syslog(Box<Syslog>),
}

/// How a request to a store looks.
struct Web {
    http: Http,
    gzip: bool,
    url: Word,
    content_type: &'static str,
    headers: Headers,
    /// A header with a secret, and what stands before that.
    key: Option<(String, &'static str, Secret)>,
    credentials: Credentials,
    look: fn(&Response) -> Option<Answer>,
}

/// A store's words.
pub(super) enum Encoder {
    Json,
    Ocsf,
    Ecs(Ecs),
    Splunk(Splunk),
    Datadog(Datadog),
    Cef(Cef, syslog::Framing),
}

impl Encoder {
    /// How events stand together.
    pub(super) const fn frame(&self) -> Frame {
        match self {
            Self::Json | Self::Ocsf | Self::Ecs(_) | Self::Splunk(_) => batch::LINES,
            Self::Datadog(_) => batch::LIST,
            Self::Cef(..) => batch::BARE,
        }
    }

    /// One event.
    pub(super) fn encode(&self, event: &Event) -> Vec<u8> {
        match self {
            Self::Json => event.line().into_bytes(),
            Self::Ocsf => text(&ocsf(event)),
            Self::Ecs(ecs) => ecs.encode(event).map(|value| text(&value)).join(&b'\n'),
            Self::Splunk(splunk) => text(&splunk.encode(event)),
            Self::Datadog(datadog) => text(&datadog.encode(event)),
            Self::Cef(cef, framing) => framing.frame(&cef.encode(event)),
        }
    }
}

fn text(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

impl Store {
    /// Finds the store's secrets and looks at what else can be wrong.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub(super) fn new(config: &ExportSink) -> Result<Self, StoreError> {
        let (word, encoder, web) = match &config.to {
            ExportProduct::Syslog(it) => {
                let syslog = Syslog::new(it, &config.tls)?;
                let cef = Cef { facility: it.facility, pid: std::process::id() };
                let encoder = Encoder::Cef(cef, syslog.framing());
                return Ok(Self { word: "syslog", encoder, way: Way::Syslog(Box::new(syslog)) });
            }
            ExportProduct::Json(it) => ("json", Encoder::Json, lines(config, it)?),
            ExportProduct::Ocsf(it) => ("ocsf", Encoder::Ocsf, lines(config, it)?),
            ExportProduct::Elasticsearch(it) => elasticsearch(config, it)?,
            ExportProduct::Splunk(it) => splunk(config, it)?,
            ExportProduct::SumoLogic(it) => sumo_logic(config, it)?,
            ExportProduct::Panther(it) => panther(config, it)?,
            ExportProduct::Datadog(it) => datadog(config, it)?,
        };
        Ok(Self { word, encoder, way: Way::Http(Box::new(web)) })
    }

    /// The store's word in a configuration.
    pub(super) const fn word(&self) -> &'static str {
        self.word
    }

    /// Whether it takes what is compressed.
    pub(super) const fn may_gzip(&self) -> bool {
        matches!(self.way, Way::Http(_))
    }

    /// Its words. They are asked for once.
    pub(super) fn encoder(&mut self) -> Encoder {
        std::mem::replace(&mut self.encoder, Encoder::Json)
    }
}

impl Receiver for Store {
    async fn send(&mut self, message: &Message) -> Answer {
        match &mut self.way {
            Way::Syslog(syslog) => syslog.send(message).await,
            Way::Http(web) => match web.request(message) {
                Ok(request) => web.http.send(request, web.look).await,
                Err(error) => error.answer(),
            },
        }
    }
}

impl Web {
    fn new(config: &ExportSink, url: Word, content_type: &'static str) -> Result<Self, StoreError> {
        check_url(url.get()?.expose_secret())?;
        Ok(Self {
            http: Http::new(&config.tls)?,
            gzip: config.gzip,
            url,
            content_type,
            headers: Headers::none(),
            key: None,
            credentials: Credentials::None,
            look: |_| None,
        })
    }

    fn plain(
        config: &ExportSink,
        url: &str,
        content_type: &'static str,
    ) -> Result<Self, StoreError> {
        Self::new(config, Word::plain(url), content_type)
    }

    fn request(&self, message: &Message) -> Result<Request, RequestError> {
        let url = self.url.get()?;
        let body = message.body.clone();
        let mut request = Request::post(url.expose_secret(), self.content_type, body)?.hide(&url);
        if self.gzip {
            request = request.header("content-encoding", "gzip")?;
        }
        if let Some((name, before, secret)) = &self.key {
            request = request.secret(name, before, &secret.get()?)?;
        }
        self.credentials.on(self.headers.on(request)?)
    }
}

type Parts = (&'static str, Encoder, Web);

fn lines(config: &ExportSink, it: &HttpStoreConfig) -> Result<Web, StoreError> {
    Ok(Web {
        headers: Headers::new(&it.headers)?,
        credentials: Credentials::new(it.login.as_ref())?,
        ..Web::new(config, Word::new(&it.url)?, NDJSON)?
    })
}

fn elasticsearch(config: &ExportSink, it: &ElasticsearchConfig) -> Result<Parts, StoreError> {
    let index = it.index.clone().unwrap_or_else(|| "logs-agentguard-default".to_owned());
    // Only what is looked at: the answer has a part for each document.
    let url = it.url.with_path("/_bulk?filter_path=errors,items.*.status,items.*.error.type");
    let key = it.api_key.as_ref().map(Secret::new).transpose()?;
    let web = Web {
        key: key.map(|key| ("authorization".to_owned(), "ApiKey ", key)),
        credentials: Credentials::new(it.login.as_ref())?,
        look: bulk_answer,
        ..Web::plain(config, &url, NDJSON)?
    };
    Ok(("elasticsearch", Encoder::Ecs(Ecs { index }), web))
}

fn splunk(config: &ExportSink, it: &SplunkConfig) -> Result<Parts, StoreError> {
    let url = it.url.with_path("/services/collector/event");
    let sourcetype = it.sourcetype.clone().unwrap_or_else(|| "agentguard:event".to_owned());
    let web = Web {
        key: Some(("authorization".to_owned(), "Splunk ", Secret::new(&it.token)?)),
        ..Web::plain(config, &url, JSON)?
    };
    let words = Splunk { index: it.index.clone(), sourcetype };
    Ok(("splunk", Encoder::Splunk(words), web))
}

fn sumo_logic(config: &ExportSink, it: &SumoLogicConfig) -> Result<Parts, StoreError> {
    let mut headers = vec![("X-Sumo-Name", "agentguard".to_owned())];
    let host = nix::unistd::gethostname().unwrap_or_default();
    headers.extend(host.into_string().ok().map(|host| ("X-Sumo-Host", host)));
    headers.extend(it.category.clone().map(|category| ("X-Sumo-Category", category)));
    let web = Web {
        headers: Headers::plain(headers)?,
        ..Web::new(config, Word::Secret(Secret::new(&it.url)?), JSON)?
    };
    Ok(("sumo_logic", Encoder::Json, web))
}

fn panther(config: &ExportSink, it: &PantherConfig) -> Result<Parts, StoreError> {
    let secret = Secret::new(&it.secret)?;
    let key = match &it.header {
        Some(header) => (header.clone(), "", secret),
        None => ("authorization".to_owned(), "Bearer ", secret),
    };
    let web = Web { key: Some(key), ..Web::plain(config, it.url.as_str(), NDJSON)? };
    Ok(("panther", Encoder::Json, web))
}

fn datadog(config: &ExportSink, it: &DatadogConfig) -> Result<Parts, StoreError> {
    let site = it.site.as_deref().unwrap_or("datadoghq.com");
    let own = format!("https://http-intake.logs.{site}/api/v2/logs");
    let web = Web {
        key: Some(("dd-api-key".to_owned(), "", Secret::new(&it.api_key)?)),
        ..Web::plain(config, it.url.as_ref().map_or(own.as_str(), WebAddress::as_str), JSON)?
    };
    let words = Datadog {
        service: it.service.clone().unwrap_or_else(|| "agentguard".to_owned()),
        tags: it.tags.join(","),
    };
    Ok(("datadog", Encoder::Datadog(words), web))
}

/// Elasticsearch answers for each document. What is there already was sent twice and
/// is well; what may do better later has the whole request sent again, which the
/// documents' ids make harmless.
fn bulk_answer(response: &Response) -> Option<Answer> {
    let Ok(answer) = serde_json::from_slice::<Value>(&response.body) else {
        let why = format!("this is no answer of Elasticsearch: {}", response.said());
        return Some(Answer::Later { after: None, why });
    };
    if answer.get("errors") != Some(&Value::Bool(true)) {
        return None;
    }
    let mut refused = 0_u32;
    let mut why = String::new();
    for item in answer.get("items")?.as_array()? {
        let done = item.get("create")?;
        match done.get("status")?.as_u64()? {
            200..=299 | 409 => {}
            429 | 500..=599 => {
                let why = "Elasticsearch is too busy for some of the documents".to_owned();
                return Some(Answer::Later { after: None, why });
            }
            status => {
                refused += 1;
                let kind = done.pointer("/error/type").and_then(Value::as_str).unwrap_or("?");
                why = format!("Elasticsearch refused {refused} documents: {status} {kind}");
            }
        }
    }
    (refused > 0).then_some(Answer::Partly { refused, why })
}
