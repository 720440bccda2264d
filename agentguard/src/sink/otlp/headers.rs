//! What requests carry in their headers. Secrets are read anew for each request, so a key
//! can be replaced without a restart, and are kept out of every error.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret as _;

use super::OtlpError;
use crate::config::{self, SecretSource, Text};

/// A header's value.
enum Value {
    Plain(HeaderValue),
    Secret(SecretSource),
}

/// The headers of one signal's requests.
pub(super) struct Headers(Vec<(HeaderName, Value)>);

impl Headers {
    /// Finds what the configuration refers to.
    ///
    /// # Errors
    ///
    /// Where a secret cannot be had or sent.
    pub(super) fn new(config: &config::Headers) -> Result<Self, OtlpError> {
        let mut all = Vec::new();
        for (name, text) in config.iter() {
            let unfit = || OtlpError::Header(name.to_owned());
            let value = match text {
                Text::Plain(text) => {
                    Value::Plain(HeaderValue::try_from(text).map_err(|_| unfit())?)
                }
                Text::Secret(reference) => Value::Secret(SecretSource::new(reference)?),
            };
            all.push((HeaderName::try_from(name).map_err(|_| unfit())?, value));
        }
        let headers = Self(all);
        headers.now()?;
        Ok(headers)
    }

    /// The headers as they are now.
    ///
    /// # Errors
    ///
    /// Where a secret cannot be had any more, or not be sent.
    pub(super) fn now(&self) -> Result<HeaderMap, OtlpError> {
        let mut map = HeaderMap::new();
        for (name, value) in &self.0 {
            let value = match value {
                Value::Plain(value) => value.clone(),
                Value::Secret(source) => {
                    let secret = source.get()?;
                    let mut value = HeaderValue::try_from(secret.expose_secret())
                        .map_err(|_| OtlpError::Header(name.to_string()))?;
                    value.set_sensitive(true);
                    value
                }
            };
            map.insert(name.clone(), value);
        }
        Ok(map)
    }
}
