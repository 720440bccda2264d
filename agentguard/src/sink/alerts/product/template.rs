//! Any other HTTP receiver: the body comes from a Jinja template, or is the alert's
//! facts as JSON.

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use secrecy::ExposeSecret as _;

use super::{Credentials, Facts, JSON, ProductError, Request, facts};
use crate::config::{HttpConfig, Method};
use crate::event::Severity;
use crate::sink::alerts::alert::{Alert, Key};
use crate::sink::alerts::tracker::Notice;
use crate::sink::delivery::{Headers, Word, check_url};

/// How much work one rendering may be, in the template engine's units.
const FUEL: u64 = 100_000;
const NAME: &str = "template";

/// What is wrong with a template.
#[derive(Debug, thiserror::Error)]
pub(in crate::sink) enum TemplateError {
    /// It is none, or speaks of what there is not.
    #[error(
        "the template cannot be used: {0}\n  = docs/integrations.md lists what a template can speak of"
    )]
    Wrong(String),
    /// It makes something that is no JSON.
    #[error(
        "the template does not make JSON: {0}\n  = write values as {{{{ summary | tojson }}}}, without quotes around, or set content_type"
    )]
    NotJson(String),
}

/// An HTTP receiver.
pub(in crate::sink::alerts) struct Webhook {
    url: Word,
    method: reqwest::Method,
    headers: Headers,
    credentials: Credentials,
    content_type: String,
    template: Option<Environment<'static>>,
}

impl Webhook {
    pub(super) fn new(config: &HttpConfig) -> Result<Self, ProductError> {
        let url = Word::new(&config.url)?;
        check_url(url.get()?.expose_secret())?;
        let content_type = config.content_type.clone().unwrap_or_else(|| JSON.to_owned());
        let template = config.template.clone().map(compile).transpose()?;
        let webhook = Self {
            url,
            method: match config.method {
                Method::Post => reqwest::Method::POST,
                Method::Put => reqwest::Method::PUT,
                Method::Patch => reqwest::Method::PATCH,
            },
            headers: Headers::new(&config.headers)?,
            credentials: Credentials::new(config.login.as_ref())?,
            content_type,
            template,
        };
        webhook.try_out()?;
        Ok(webhook)
    }

    /// Renders it once with texts that need care, so that what is wrong with it is
    /// known now and not at the first alert.
    fn try_out(&self) -> Result<(), TemplateError> {
        let body = self.body(&Facts::of(&awkward(), Some("https://wiki.example/#")))?;
        if self.content_type.starts_with(JSON)
            && let Err(error) = serde_json::from_slice::<serde_json::Value>(&body)
        {
            return Err(TemplateError::NotJson(error.to_string()));
        }
        Ok(())
    }

    pub(super) fn request(&self, facts: &Facts) -> Result<Request, ProductError> {
        let url = self.url.get()?;
        let request = Request::post(url.expose_secret(), JSON, self.body(facts)?)?
            .method(self.method.clone())
            .header("content-type", &self.content_type)?
            .hide(&url);
        Ok(self.credentials.on(self.headers.on(request)?)?)
    }

    fn body(&self, facts: &Facts) -> Result<Vec<u8>, TemplateError> {
        let Some(template) = &self.template else {
            return Ok(serde_json::to_vec(facts).unwrap_or_default());
        };
        let rendered =
            template.get_template(NAME).and_then(|template| template.render(Serde(facts)));
        rendered.map(String::into_bytes).map_err(|error| wrong(&error))
    }
}

fn compile(text: String) -> Result<Environment<'static>, TemplateError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.add_template_owned(NAME, text).map_err(|error| wrong(&error))?;
    Ok(environment)
}

fn wrong(error: &minijinja::Error) -> TemplateError {
    TemplateError::Wrong(error.to_string())
}

/// A notice whose texts have what breaks a careless template.
fn awkward() -> Notice {
    Notice {
        alert: Alert {
            key: Key {
                host: "host".to_owned(),
                session: Some("session".to_owned()),
                rule: "rule".to_owned(),
            },
            severity: Severity::Medium,
            summary: "quote \" backslash \\ line\nend".to_owned(),
            agent: "agent".to_owned(),
            resource: "a \"resource\"".to_owned(),
            confidence: 1.0,
            event: "1-0".to_owned(),
            correlation_id: None,
            timestamp: facts::rfc3339(0),
            lasting: false,
        },
        resolved: false,
        count: 1,
        first: 0,
        last: 0,
        until: 0,
    }
}
